"""Containers and services: activated from the environment, the seat given back at SIGTERM.

Only for a process that activated itself by ``MODELSEAL_LICENSE_KEY``. The program stays its own
master: without a handler of its own it still dies of SIGTERM, once the seat is free; a handler of
its own is called a moment later and decides. A program that goes on activates itself again at its
next load, and gives back when it exits. Children of a fork give nothing back.
(``docs/adr/0077-the-seat-goes-back-as-the-program-ends.md``.)
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType

from modelseal.client import activation, renewal
from modelseal.client.activation import Wish
from modelseal.client.core import Core
from modelseal.errors import ModelsealError

KEY_VARIABLE = "MODELSEAL_LICENSE_KEY"
EULA_VARIABLE = "MODELSEAL_EULA"
THREAD_NAME = "modelseal-return"
PATIENCE_SECONDS = 8.0
"""How long SIGTERM may be delayed: container runtimes kill after ten seconds."""
HANDLER_SECONDS = 3.0
"""How long the program's own handler may be delayed: it needs what is left for its own end."""

_QUESTION_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 15.0

Handler = Callable[[int, FrameType | None], object]
_waiting: deque[Callable[[], object]] = deque()


class Unattended:
    """One client's activation from the environment. Safe for several threads."""

    def __init__(
        self,
        core: Core,
        activated: Callable[[str], object],
        refusal: Callable[[ModelsealError], ModelsealError],
    ) -> None:
        self._core = core
        self._activated = activated
        self._refusal = refusal
        self._guard = threading.Lock()
        self._failed: tuple[float, ModelsealError] | None = None
        self._arranged = False

    def activate(self) -> None:
        """Where the environment has a license key and the state folder no lease, it has one now.

        Raises what ``Client.activate`` raises, and for some seconds again without asking.
        """
        key = self._core.ports.environ.get(KEY_VARIABLE)
        if key:
            with self._guard:
                self._activate(key)

    def _activate(self, key: str) -> None:
        core = self._core
        if core.has_trust and core.held(tolerant=True).lease is not None:
            return
        if self._failed is not None and core.ports.monotonic() < self._failed[0]:
            raise self._failed[1].with_traceback(None)
        eula = core.ports.environ.get(EULA_VARIABLE) or None
        try:
            lease = activation.activate(core, key, Wish(eula=eula))
        except ModelsealError as error:
            self._failed = (core.ports.monotonic() + _ASK_AGAIN_SECONDS, self._refusal(error))
            raise
        self._activated(lease.jti)
        self._arranged = self._arranged or give_back_at_sigterm(self._give_back)

    def after_fork(self) -> None:
        """In a forked child: no lock is held, and what it activates itself it gives back itself."""
        self._guard = threading.Lock()
        self._arranged = False

    def _give_back(self) -> None:
        """The process ends: the seat is given back if that takes no longer than a moment."""
        core = self._core
        self._arranged = False
        try:
            if core.held(tolerant=True).lease is None:
                return
            returned = renewal.give_back(
                core, seconds=_QUESTION_SECONDS, lock_seconds=_QUESTION_SECONDS
            )
        except ModelsealError as error:
            core.journal.write("seat_not_returned", durable=True, code=error.code)
            return
        core.journal.write("returned", durable=True, event=returned.event_id)


def give_back_at_sigterm(give_back: Callable[[], object]) -> bool:
    """``give_back`` runs once, when SIGTERM ends this process.

    Returns whether that could be arranged: only from the main thread, and not over a signal that
    is ignored or that somebody handles outside Python.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_IGN or before is None:
        return False
    if not (isinstance(before, _Ending) and before.mine):
        signal.signal(signal.SIGTERM, _Ending(before if callable(before) else None))
    _waiting.append(give_back)
    return True


class _Ending:
    """Stands where the program's own handler stood, ``before``; None was the default."""

    def __init__(self, before: Handler | None) -> None:
        self._before = before
        self._owner = os.getpid()
        self._told = False
        if before is not None:
            atexit.register(self._at_exit)

    @property
    def mine(self) -> bool:
        """Whether this process arranged it, and not the parent of a fork."""
        return os.getpid() == self._owner

    def __call__(self, number: int, frame: FrameType | None) -> object:
        """The program's handler decides; without one the process dies once the seat is free."""
        if self._before is not None:
            if self.mine:
                self._told = True
                _give_back_within(HANDLER_SECONDS)
            return self._before(number, frame)
        signal.signal(number, signal.SIG_DFL)  # a second SIGTERM ends the process at once
        if not self.mine:
            os.kill(os.getpid(), number)
            return None
        try:
            threading.Thread(target=_end, args=(number,), name=THREAD_NAME).start()
        except RuntimeError:  # the interpreter is going down and starts no thread any more
            os.kill(os.getpid(), number)
        return None

    def _at_exit(self) -> None:
        if self._told and self.mine:
            _give_back_all()


def _end(number: int) -> None:
    _give_back_within(PATIENCE_SECONDS)
    os.kill(os.getpid(), number)


def _give_back_within(seconds: float) -> None:
    """In a thread: the interrupted code may hold a lock that is needed, and keeps it meanwhile."""
    giving = threading.Thread(target=_give_back_all, name=THREAD_NAME, daemon=True)
    with contextlib.suppress(RuntimeError):  # the interpreter is going down
        giving.start()
        giving.join(seconds)


def _give_back_all() -> None:
    with contextlib.suppress(IndexError):
        while True:
            give_back = _waiting.popleft()
            with contextlib.suppress(Exception):
                give_back()
