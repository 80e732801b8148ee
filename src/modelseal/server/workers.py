"""Several processes behind one socket: forked, watched, forked anew when one dies, ended together.

One that serves and then is not heard of for a minute hangs: it is killed, and another one starts.

The parent holds the socket and the board and nothing else: no key, no store, no thread, so that it
can fork at any time. A worker that finds its parent gone stops as if it had been told to.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from socket import socket
from types import FrameType
from typing import NoReturn, Protocol

from modelseal.errors import ConfigInvalid, InternalError, ModelsealError, Unavailable
from modelseal.keys import Ask
from modelseal.server.board import Board, Place

PAUSES = (0.5, 1, 2, 5, 10, 30)
"""Seconds before a worker is started again, by how many died in its place one after the other."""
STEADY_SECONDS = 60
"""Whoever lived so long begins the pauses anew."""
STOP_SECONDS = 38
"""How long workers may take to stop; those that need longer are killed."""
HUNG_SECONDS = 60.0
"""A worker beats every second, whatever its database does; without a beat for so long it hangs."""
_LOOK_SECONDS = 0.2
_LONGEST_LOOK_SECONDS = 2.0
_HANGUP = getattr(signal, "SIGHUP", None)
_SIGNALS = tuple(each for each in (signal.SIGINT, signal.SIGTERM, _HANGUP) if each is not None)
_log = logging.getLogger("modelseal.server")


class Serving(Protocol):
    """One server, bound and open."""

    def run(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


class Worker:
    """What a worker process knows of the house it is in."""

    def __init__(
        self, place: Place, board: Board, pipe: Connection, bound: socket, asked: dict[str, str],
        ask: Ask | None,
    ) -> None:  # fmt: skip
        self.place = place
        self.socket = bound
        self._board = board
        self._pipe = pipe
        self._asked = asked
        self._ask = ask

    @property
    def ask(self) -> Ask | None:
        """Asks a person once, whichever worker needs to know and however often it is restarted."""
        return None if self._ask is None else self._answer

    def is_up(self, _url: str) -> None:
        """The worker answers calls."""
        self._board.set_up(self.place.number, True)
        self._pipe.send(("up", None))

    def live(self, serving: Serving) -> None:
        """Serves until told to stop, or until the parent is gone."""
        threading.Thread(target=self._watch, args=(serving,), daemon=True).start()
        serving.run()

    def _answer(self, purpose: str) -> str:
        if purpose not in self._asked and self._ask is not None:
            self._asked[purpose] = self._ask(purpose)
            self._pipe.send(("asked", (purpose, self._asked[purpose])))
        return self._asked[purpose]

    def _watch(self, serving: Serving) -> None:
        with suppress(EOFError, OSError):
            self._pipe.recv()
        serving.stop()


class Silence:
    """How long one worker has not been heard of, while somebody listened.

    Time in which nobody looked counts little: the whole house may have been stopped, or starved.
    """

    def __init__(self, at: float) -> None:
        self._beats: int | None = None
        self._looked_at = at
        self.seconds = 0.0

    def look(self, beats: int, at: float) -> None:
        """``beats`` at the monotonic time ``at``."""
        passed = min(at - self._looked_at, _LONGEST_LOOK_SECONDS)
        self.seconds = self.seconds + passed if beats == self._beats else 0.0
        self._beats, self._looked_at = beats, at


class _Child:
    """A worker as the parent sees it."""

    def __init__(self, pid: int, pipe: Connection) -> None:
        self.pid = pid
        self.pipe = pipe
        self.began_at = time.monotonic()
        self.failure: ModelsealError | None = None
        self.silence: Silence | None = None


class Workers:
    """See the module. ``open_one`` is called in each worker; here ``on_ready`` once all serve, and
    ``on_beat`` several times a second."""

    def __init__(
        self,
        count: int,
        open_one: Callable[[Worker], Serving],
        bound: socket,
        *,
        ask: Ask | None,
        on_ready: Callable[[], None],
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        if not hasattr(os, "fork"):
            bound.close()
            raise ConfigInvalid("this system knows no fork: one process serves", setting="workers")
        self._count = count
        self._open = open_one
        self._socket = bound
        self._ask = ask
        self._on_ready = on_ready
        self._on_beat = on_beat
        self._board = Board(count)
        self._asked: dict[str, str] = {}
        self._children: dict[int, _Child] = {}
        self._due: dict[int, float] = {}
        self._deaths: dict[int, int] = {}
        self._told: list[int] = []
        self._handled = [  # not those that nohup has ignored
            each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN
        ]

    def run(self) -> None:
        """Until SIGINT, SIGTERM or SIGHUP; then what is under way is answered, and the signal acts.

        Raises what kept a worker from its first start. Later failures are logged and tried again.
        """
        with self._signals():
            try:
                self._fork(0)  # alone, so that it migrates and asks for all of them
                self._until(lambda: self._board.count_up() > 0)
                for number in range(1, self._count):
                    self._fork(number)
                self._until(lambda: self._board.complete)
                if not self._told:
                    self._on_ready()
                self._until(lambda: False)
            finally:
                self._end()
        for number in self._told[:1]:
            signal.raise_signal(number)

    def _until(self, done: Callable[[], bool]) -> None:
        while not self._told and not done():
            self._on_beat()
            self._look()
            for number in [n for n, at in self._due.items() if at <= time.monotonic()]:
                self._fork(number)

    def _look(self) -> None:
        """What the workers say, and which are dead."""
        heard = wait([child.pipe for child in self._children.values()], _LOOK_SECONDS)
        if not self._children:
            time.sleep(_LOOK_SECONDS)
        for number, child in list(self._children.items()):
            if child.pipe not in heard:
                continue
            try:
                what, value = child.pipe.recv()
            except (EOFError, OSError):
                self._dead(number, child)
                continue
            if what == "up":
                child.silence = Silence(time.monotonic())
            elif what == "asked":
                self._asked.update([value])
            elif what == "failed":
                child.failure = value
        self._listen()

    def _listen(self) -> None:
        """Whoever serves and hangs is killed; its end is then seen like any other."""
        for number, child in self._children.items():
            if child.silence is None:
                continue
            child.silence.look(self._board.beats(number), time.monotonic())
            if child.silence.seconds > HUNG_SECONDS:
                _log.error("worker %d hangs: nothing was heard for %d s", number, HUNG_SECONDS)
                os.kill(child.pid, signal.SIGKILL)
                child.silence = None

    def _dead(self, number: int, child: _Child) -> None:
        status = self._bury(number, child)
        if not self._board.complete:
            raise child.failure or Unavailable("a worker process ended as it started")
        if time.monotonic() - child.began_at > STEADY_SECONDS:
            self._deaths[number] = 0
        again = PAUSES[min(self._deaths.get(number, 0), len(PAUSES) - 1)]
        self._deaths[number] = self._deaths.get(number, 0) + 1
        self._due[number] = time.monotonic() + again
        why = f"status {status}" if child.failure is None else str(child.failure)
        _log.error("worker %d ended (%s); another one starts in %s s", number, why, again)

    def _bury(self, number: int, child: _Child) -> int:
        _pid, status = os.waitpid(child.pid, 0)
        child.pipe.close()
        del self._children[number]
        self._board.set_up(number, False)
        return os.waitstatus_to_exitcode(status)

    def _fork(self, number: int) -> None:
        self._due.pop(number, None)
        ours, theirs = Pipe()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        pid = os.fork()
        if pid == 0:
            self._live(number, theirs, [ours, *(child.pipe for child in self._children.values())])
        theirs.close()
        self._children[number] = _Child(pid, ours)

    def _live(self, number: int, pipe: Connection, parents: list[Connection]) -> NoReturn:
        """The life of a worker; ends its process."""
        code = 1
        try:
            for each in self._handled:
                signal.signal(each, signal.SIG_IGN if each == _HANGUP else _leave)
            for end in parents:  # as long as one is open, nobody sees that the parent is gone
                end.close()
            worker = Worker(
                Place(self._board, number), self._board, pipe, self._socket, self._asked, self._ask
            )
            serving = self._open(worker)
            try:
                worker.live(serving)
            finally:
                serving.close()
            code = 0
        except SystemExit:
            code = 0
        except ModelsealError as error:
            pipe.send(("failed", error))
        except BaseException as error:  # noqa: BLE001 - whatever it is, this process ends here
            _log.exception("worker %d failed", number)
            pipe.send(("failed", InternalError(type(error).__name__)))
        finally:
            logging.shutdown()
            with suppress(Exception):
                sys.stdout.flush()
            os._exit(code)

    def _end(self) -> None:
        """No worker is left, and nobody is let in any more."""
        self._socket.close()
        for child in self._children.values():
            os.kill(child.pid, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while self._children:
            late = time.monotonic() > end
            for number, child in list(self._children.items()):
                if late:
                    os.kill(child.pid, signal.SIGKILL)
                if late or _is_over(child.pid):
                    self._bury(number, child)
            time.sleep(0.02)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals are remembered; outside of this they act as before."""
        before = {each: signal.signal(each, self._remember) for each in self._handled}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self._told.append(number)


def _is_over(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
