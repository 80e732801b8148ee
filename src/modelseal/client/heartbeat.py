"""The background: one named daemon thread that renews in time, polls the status list and erases
what has ended. Loads never wait for it, except for the one renewal of an ended lease.

What is due when is decided by ``next_step``, which is pure; the thread carries it out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from modelseal.client.standing import Standing
from modelseal.errors import RateLimited, Unavailable
from modelseal.license.clock import SET_BACK_SECONDS
from modelseal.types import LeaseState, from_numeric

THREAD_NAME = "modelseal-heartbeat"
POLL_SECONDS = 300
MAX_SLEEP_SECONDS = 300.0
MIN_SLEEP_SECONDS = 1.0
RETRY_SECONDS = 30
MAX_RETRY_SECONDS = 900
JITTER_PARTS = 10
EXPIRING_PARTS = 10
_ASKS = frozenset(
    {LeaseState.RENEW_DUE, LeaseState.OVERDUE, LeaseState.EXPIRED, LeaseState.SUSPENDED}
)


class Step(Enum):
    """What the thread does next."""

    WAIT = "wait"
    RENEW = "renew"
    POLL = "poll"


@dataclass(frozen=True, slots=True)
class Plan:
    """The next step and how many seconds to wait when it is ``WAIT``."""

    step: Step
    seconds: float = 0.0


@dataclass(slots=True)
class Progress:
    """What the thread remembers between steps: when it may ask again, and how often it failed."""

    poll_at: datetime
    renew_at: datetime | None = None
    failures: int = 0


def next_step(standing: Standing, progress: Progress, spread: float) -> Plan:
    """What is due at ``standing.now``; ``spread`` (0 to 1) is this device's own jitter.

    Renewal is due from ``renew_after_at`` plus up to a tenth of the lease's life, at once when
    overdue or ended; after a failure not before ``progress.renew_at``.
    """
    now = standing.now
    due = now if clock_went_back(standing) else renewal_due_at(standing, spread)
    if due is not None and progress.renew_at is not None:
        due = max(due, progress.renew_at)
    if due is not None and now >= due:
        return Plan(Step.RENEW)
    polls = standing.lease is not None
    if polls and now >= progress.poll_at:
        return Plan(Step.POLL)
    moments = [m for m in (due, progress.poll_at if polls else None, ends_at(standing)) if m]
    ahead = [(m - now).total_seconds() for m in moments if m > now]
    seconds = min([*ahead, MAX_SLEEP_SECONDS])
    return Plan(Step.WAIT, max(seconds, MIN_SLEEP_SECONDS))


def renewal_due_at(standing: Standing, spread: float) -> datetime | None:
    """When this device asks for the next lease; None when there is nothing to ask for."""
    if standing.held.device_id is None or standing.state not in _ASKS | {LeaseState.ACTIVE}:
        return None
    lease = standing.lease
    if lease is None or standing.state in (LeaseState.EXPIRED, LeaseState.SUSPENDED):
        return standing.now
    after = from_numeric(lease.renew_after_at)
    if standing.state is LeaseState.OVERDUE:
        return after
    life = max(lease.exp - lease.iat, 0)
    room = max(lease.exp - lease.renew_after_at, 0) / 2
    return after + timedelta(seconds=min(life / JITTER_PARTS, room) * spread)


def clock_went_back(standing: Standing) -> bool:
    """Whether the clock is behind the last time noted: no lock, but a reason to ask."""
    record = standing.record
    if record is None or record.last_seen is None or standing.lease is None:
        return False
    seen = from_numeric(record.last_seen)
    return standing.now < seen - timedelta(seconds=SET_BACK_SECONDS)


def ends_at(standing: Standing) -> datetime | None:
    """When the lease ends."""
    return standing.expires_at


def retry_at(now: datetime, progress: Progress, error: Unavailable, spread: float) -> datetime:
    """When to ask again after ``error``: doubling, at most a quarter of an hour, with jitter."""
    if isinstance(error, RateLimited):
        wait = error.params.get("retry_after_seconds")
        if isinstance(wait, int) and wait > 0:
            return now + timedelta(seconds=wait)
    seconds = min(RETRY_SECONDS * 2 ** min(progress.failures, 10), MAX_RETRY_SECONDS)
    return now + timedelta(seconds=seconds * (0.75 + spread / 2))


def is_expiring(standing: Standing) -> bool:
    """Whether less than a tenth of the lease's life is left."""
    lease = standing.lease
    if lease is None or not standing.running:
        return False
    left = from_numeric(lease.exp) - standing.now
    return left < timedelta(seconds=max(lease.exp - lease.iat, 0) / EXPIRING_PARTS)


class Heartbeat:
    """The thread. ``beat`` does one step and returns the seconds to wait before the next.

    It ends when ``wanted`` says no: nobody can use the client any more.
    """

    def __init__(
        self,
        beat: Callable[[], float],
        wait: Callable[[threading.Event, float], bool],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._beat = beat
        self._wait = wait
        self._wanted = wanted
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """In a forked child: the parent's thread is not here; ``start`` makes another."""
        self._wake, self._stop, self._guard = threading.Event(), threading.Event(), threading.Lock()
        self._thread = None

    def start(self) -> None:
        """The thread runs; doing it again changes nothing."""
        with self._guard:
            alive = self._thread is not None and self._thread.is_alive()
            if self._stop.is_set() or alive:
                return
            self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        with self._guard:
            return self._thread is not None and self._thread.is_alive()

    def wake(self) -> None:
        """The next step is done now."""
        self._wake.set()

    def stop(self, seconds: float = 5.0) -> None:
        """The thread ends; waits for it at most ``seconds``."""
        self._stop.set()
        self._wake.set()
        with self._guard:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.is_set() and self._wanted():
            self._wake.clear()
            seconds = self._beat()
            if not self._stop.is_set():
                self._wait(self._wake, seconds)
