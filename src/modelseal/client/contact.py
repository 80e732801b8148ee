"""When a use of a model is worth asking the server, and how long that may take."""

from __future__ import annotations

import threading

from modelseal.client import standing, trusting
from modelseal.client.background import Keeper
from modelseal.client.clock import RunClock
from modelseal.client.core import Core
from modelseal.client.standing import Standing
from modelseal.errors import DeviceChanged, ModelsealError, StateDamaged, Unavailable

EXPIRED_SECONDS = 10.0
ASK_AGAIN_SECONDS = 15.0


class Contact:
    """Renewals that loads wait for: one at a time, none again within some seconds."""

    def __init__(self, core: Core, clock: RunClock, keeper: Keeper) -> None:
        self._core = core
        self._clock = clock
        self._keeper = keeper
        self._renewing = threading.Lock()
        self._ask_again_at = float("-inf")

    def after_fork(self) -> None:
        """In a forked child: the lock may have been held by a thread that is not here."""
        self._renewing = threading.Lock()

    def due(self) -> bool:
        """True once in a while: many models are loaded at once, and one question is enough."""
        now = self._core.ports.monotonic()
        if now < self._ask_again_at:
            return False
        self._ask_again_at = now + ASK_AGAIN_SECONDS
        return True

    def renewed_in_time(self, found: Standing) -> Standing:
        """The standing after one renewal that took at most ten seconds, whatever it brought."""
        done = threading.Event()

        def attempt() -> None:
            try:
                with self._renewing:
                    self._renew(found)
            except ModelsealError:
                pass  # told and on the record; what counts is where the device stands now
            except Exception as error:  # noqa: BLE001 - a thread of ours prints nothing
                self._core.journal.write("renewal_failed", error=type(error).__name__)
            finally:
                done.set()

        threading.Thread(target=attempt, name="modelseal-renewal", daemon=True).start()
        self._core.ports.wait(done, EXPIRED_SECONDS)
        return self._keeper.observe(standing.take(self._core, self._clock.now()))

    def renewed_for(self, file_id: bytes, found: Standing) -> bool:
        """Whether the lease was renewed because the catalog has this file and it is granted."""
        if not trusting.is_granted(self._core, file_id, found.license):
            return False
        self._renew(found)
        return True

    def put_right(self, found: Standing) -> bool:
        """Whether the server gave a lease for what changed on this computer or in its folder."""
        if not self.due():
            return False
        try:
            self._renew(found)
        except (DeviceChanged, StateDamaged, Unavailable):
            return False
        return True

    def _renew(self, found: Standing) -> None:
        seen = None if found.lease is None else found.lease.jti
        self._keeper.renew(seconds=EXPIRED_SECONDS, seen=seen)
