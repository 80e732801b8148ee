"""What the app is told while it runs, from one named thread of its own.

``notify`` never waits and never raises: the callback runs elsewhere, a slow one only delays later
events, a failing one is journalled and forgotten, and a queue that is full loses its oldest event.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from modelseal.errors import ModelsealError
from modelseal.types import LeaseState

THREAD_NAME = "modelseal-events"
_MAX_WAITING = 256


class EventName(StrEnum):
    """The closed list of events (design, section 8)."""

    RENEWED = "renewed"
    RENEW_DUE = "renew_due"
    OVERDUE = "overdue"
    OFFLINE = "offline"
    REFUSED = "refused"
    EXPIRING = "expiring"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: when, the lease's state and end then, and the error where there was one."""

    name: EventName
    at: datetime
    state: LeaseState
    expires_at: datetime | None = None
    error: ModelsealError | None = None


Callback = Callable[[Event], object]
Failed = Callable[[BaseException], object]


class Events:
    """Hands events to ``callback`` in order; without one they go nowhere."""

    def __init__(self, callback: Callback | None, failed: Failed) -> None:
        self._callback = callback
        self._failed = failed
        self._waiting: deque[Event] = deque(maxlen=_MAX_WAITING)
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._closed = False

    def notify(self, event: Event) -> None:
        """``event`` will reach the callback; returns at once."""
        if self._callback is None:
            return
        with self._wake:
            if self._closed:
                return
            self._waiting.append(event)
            self._ensure_thread()
            self._wake.notify_all()

    def drain(self, seconds: float) -> bool:
        """Waits at most ``seconds`` until every event so far was delivered; whether it was."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def after_fork(self) -> None:
        """In a forked child: nothing waits, and the thread of the parent is not here."""
        self._wake = threading.Condition()
        self._waiting.clear()
        self._thread, self._busy = None, False

    def close(self, seconds: float = 1.0) -> None:
        """What waits is delivered if that takes no longer than ``seconds``; then nothing more."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                event = self._waiting.popleft()
                self._busy = True
            try:
                self._deliver(event)
            finally:
                with self._wake:
                    self._busy = False
                    self._wake.notify_all()

    def _deliver(self, event: Event) -> None:
        try:
            if self._callback is not None:
                self._callback(event)
        except BaseException as error:  # noqa: BLE001 - also a callback that wants to exit
            self._failed(error)
