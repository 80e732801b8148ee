"""Unwrapped working keys in locked memory, each for a limited time, wiped when it is over."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping

from modelseal.memory import SecretBytes

MAX_KEPT = 128
Name = tuple[tuple[tuple[str, str], ...], bytes]
_all: weakref.WeakSet[WorkingKeys] = weakref.WeakSet()


class WorkingKeys:
    """Working keys by what they are bound to and their wrapped form, for ``seconds`` each.

    A timer wipes what has ended, whether anybody asks or not. With 0 seconds nothing is kept. A
    forked child begins with nothing.
    """

    __slots__ = ("__weakref__", "_clock", "_guard", "_kept", "_newest", "_timer", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self.begin()
        _all.add(self)

    def begin(self) -> None:
        """Nothing is kept and nobody holds the lock."""
        self._guard = threading.RLock()
        self._kept: dict[Name, tuple[float, SecretBytes]] = {}
        self._newest: dict[tuple[tuple[str, str], ...], bytes] = {}
        self._timer: threading.Timer | None = None

    def keep(
        self, bound: Mapping[str, str], wrapped: bytes, key: SecretBytes, *, newest: bool = False
    ) -> None:
        """Afterwards ``find`` knows ``key``, and ``newest`` does when it was made just now."""
        if not self.seconds:
            return
        with self._guard:
            self._clean()
            while len(self._kept) >= MAX_KEPT:
                self._drop(next(iter(self._kept)))
            group = _group(bound)
            self._kept[group, wrapped] = (self._clock() + self.seconds, key)
            if newest:
                self._newest[group] = wrapped
            if self._timer is None:
                self._schedule(self.seconds)

    def find(self, bound: Mapping[str, str], wrapped: bytes) -> SecretBytes | None:
        """The key that was wrapped so, while it is kept."""
        with self._guard:
            self._clean()
            found = self._kept.get((_group(bound), wrapped))
            return None if found is None else found[1]

    def newest(self, bound: Mapping[str, str]) -> tuple[SecretBytes, bytes] | None:
        """The key that wraps for ``bound`` now, and its wrapped form."""
        with self._guard:
            self._clean()
            wrapped = self._newest.get(_group(bound))
            if wrapped is None:
                return None
            return self._kept[_group(bound), wrapped][1], wrapped

    def wipe(self) -> None:
        """Afterwards nothing is kept."""
        with self._guard:
            self._clean()
            for name in list(self._kept):
                self._drop(name)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def __len__(self) -> int:
        with self._guard:
            self._clean()
            return len(self._kept)

    def _clean(self) -> None:
        now = self._clock()
        for name in [name for name, (end, _key) in self._kept.items() if end <= now]:
            self._drop(name)

    def _drop(self, name: Name) -> None:
        """Whoever works with the key just now still holds it; it is wiped when nobody does."""
        del self._kept[name]
        if self._newest.get(name[0]) == name[1]:
            del self._newest[name[0]]

    def _schedule(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, _expire, [weakref.ref(self)])
        self._timer.daemon = True
        self._timer.start()

    def expire(self) -> None:
        """What has ended is gone; called by the timer."""
        with self._guard:
            self._clean()
            self._timer = None
            if self._kept:
                soonest = min(end for end, _key in self._kept.values())
                self._schedule(max(soonest - self._clock(), 0.05))


def _expire(found: weakref.ref[WorkingKeys]) -> None:
    kept = found()
    if kept is not None:
        kept.expire()


def _in_child() -> None:
    """A child has none of the parent's threads: neither its timers nor whoever held a lock."""
    for each in list(_all):
        each.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _group(bound: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(bound.items()))
