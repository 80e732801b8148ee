"""``on_expiry: stop_now``: sessions that run stop with the right to run them.

Explains a refusal to an honest program; what holds against others is that the keys are gone. The
law is asked at most once a second, before an inference, so that the last one begins at most a
second after the end. Where it says no, the session gives its weights back and stays refused.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from modelseal.errors import ModelsealError
from modelseal.runtime import default, report

EVERY_SECONDS = 1.0


class Watch:
    """Asks ``may`` again from time to time; what it once refused stays refused."""

    def __init__(
        self, may: Callable[[], None], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._may = may
        self._monotonic = monotonic
        self._ask_at = monotonic() + EVERY_SECONDS
        self._ended: ModelsealError | None = None

    def check(self) -> None:
        """Returns while it may run; raises the refusal from the end on."""
        if self._ended is not None:
            raise self._ended.with_traceback(None)
        now = self._monotonic()
        if now < self._ask_at:
            return
        self._ask_at = now + EVERY_SECONDS
        try:
            self._may()
        except ModelsealError as error:
            self._ended = error
            raise


def bind(
    session: Any,
    watch: Watch,
    methods: Sequence[str],
    release: Callable[[Any], None],
    path: str | None,
) -> None:
    """``methods`` of this one session ask ``watch`` first; at the end ``release`` drops its
    weights. A refusal has been told before it leaves."""
    known = weakref.ref(session)
    for name in methods:
        plain = getattr(type(session), name, None)
        if plain is not None:
            session.__dict__[name] = _guarded(known, plain, watch, release, path)


def _guarded(
    known: weakref.ref[Any],
    plain: Callable[..., Any],
    watch: Watch,
    release: Callable[[Any], None],
    path: str | None,
) -> Callable[..., Any]:
    @functools.wraps(plain)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        session = known()
        with report.told(default.for_record, path):
            try:
                watch.check()
            except ModelsealError:
                release(session)
                raise
        return plain(session, *args, **kwargs)

    return guarded
