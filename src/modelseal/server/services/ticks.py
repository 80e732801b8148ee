"""Renewals of a tick: judged from one snapshot, written as one durable transaction.

Only the ordinary ones. Whatever else comes is left to ``Renewal``, which answers it alone; both ask
``decide``. Between snapshot and write nobody may have moved on: neither a device, its license, nor
the trust.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from modelseal.errors import ModelsealError, ProviderUnavailable, RateLimited, StorageFailed
from modelseal.server.services import duplicates, recorder
from modelseal.server.services.context import Context
from modelseal.server.services.ordinary import Asked, Ordinary, Ready, Snapshot, Waits
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.trusted import COUNTER
from modelseal.server.store import ticks as store
from modelseal.server.store.engine import Again

MOST = 64
"""Renewals of one tick."""
_TRIES = 2
Outcome = Renewed | ModelsealError | None


class Tick:
    """Renewals on their way: looked up and written where waiting is allowed, judged in between.

    ``look``, ``judge_some`` until nothing is left for it, ``judge`` what ``is_left``, ``write``
    what ``is_ready``, and all of it again until ``is_done``.
    """

    def __init__(self, context: Context, ordinary: Ordinary, asked: Sequence[Asked]) -> None:
        self._context = context
        self._ordinary = ordinary
        self._asked = asked
        self._first = {item.device_id: item for item in reversed(asked)}
        self._found: dict[str, Outcome] = {}
        self._tries = _TRIES
        self._left = deque(self._first.values())
        self._waiting: list[Asked] = []
        self._ready: dict[str, Ready] = {}
        self._seen: Snapshot | None = None

    @property
    def is_left(self) -> bool:
        """True while somebody has to be judged by ``judge``."""
        return bool(self._left or self._waiting)

    @property
    def is_ready(self) -> bool:
        """True where there is something to write."""
        return bool(self._ready)

    @property
    def is_done(self) -> bool:
        """True once ``outcomes`` says all."""
        return not self.is_left and not self.is_ready

    def look(self) -> None:
        """What the store knows of those who are left is known."""
        self._seen = None
        try:
            self._context.trusted.freshen()
            ids = [item.device_id for item in self._left]
            self._seen = self._context.store.read(self._ordinary.look, ids)
        except ModelsealError as error:
            self._fail(error)
        if self._seen is None:
            self._left.clear()

    def judge_some(self, most: int) -> bool:
        """So many more are judged, as far as that is arithmetic alone and waits for nobody; True
        while there is more of it.
        """
        if self._seen is None or not self._seen.is_quick:
            return False
        for _ in range(min(most, len(self._left))):
            item = self._left.popleft()
            try:
                self._judge(self._seen, item, may_wait=False)
            except Waits:
                self._waiting.append(item)
        return bool(self._left)

    def judge(self) -> None:
        """Nobody is left."""
        left = [*self._left, *self._waiting]
        self._left.clear()
        self._waiting.clear()
        if self._seen is None:
            return
        for item in left:
            self._judge(self._seen, item, may_wait=True)

    def write(self, written: Callable[[], None] = lambda: None) -> None:
        """What was judged is durable, or has to be looked up anew.

        ``written`` is called when all of it only has to become durable.
        """
        ready, self._ready = self._ready, {}
        self._tries -= 1
        try:
            names = self._context.store.write(self._write, ready, written)
        except ModelsealError as error:
            self._fail(error)
            return
        if names is None and self._tries:
            self._left.extend(item for n, item in self._first.items() if n not in self._found)
        self._found |= {name: ready[name].renewed for name in names or ()}

    def outcomes(self) -> list[Outcome]:
        """What each is answered, in the order they came. None: it has to be asked alone."""
        first, found = self._first, self._found
        return [found.get(i.device_id) if first[i.device_id] is i else None for i in self._asked]

    def _fail(self, error: ModelsealError) -> None:
        """Everybody who has no answer yet is told so."""
        self._found |= {name: error for name in self._first if name not in self._found}
        self._left.clear()
        self._waiting.clear()
        self._ready = {}

    def _judge(self, seen: Snapshot, item: Asked, *, may_wait: bool) -> None:
        try:
            one = self._ordinary.judge(seen, item, may_wait=may_wait)
        except Waits:
            raise
        except RateLimited as error:
            self._found[item.device_id] = error
            return
        except (ProviderUnavailable, StorageFailed) as error:  # so it is for all of them
            self._fail(error)
            return
        except ModelsealError:  # whoever asks alone is told what is wrong
            return
        except Exception:  # noqa: BLE001 - a fault that one request finds is not that of the others
            return
        if one is not None and item.device_id not in self._found:
            self._ready[item.device_id] = one

    def _write(
        self, tx: Connection, ready: dict[str, Ready], written: Callable[[], None]
    ) -> list[str] | None:
        """The devices that have their next lease; None when the trust is another by now."""
        number, now = store.places(tx, list(ready), COUNTER)
        if self._seen is None or (now and number != self._seen.number):
            return None
        kept = [
            one for name, one in ready.items()
            if now.get(name) == store.place_of(one.device, one.license)
        ]  # fmt: skip
        if not kept:
            return []
        if not store.advance(tx, [(one.device, one.values) for one in kept]):
            raise Again
        names = [one.device.device_id for one in kept]
        store.drop_bundles(tx, names, min(one.entry.event.at for one in kept))
        duplicates.remember_all(tx, [one.claims for one in kept])
        recorder.write(tx, [one.entry for one in kept])
        written()
        return names


def finish(tick: Tick) -> list[Outcome]:
    """What each renewal of ``tick`` is answered, once all of it is durable."""
    while not tick.is_done:
        tick.look()
        tick.judge()
        if tick.is_ready:
            tick.write()
    return tick.outcomes()
