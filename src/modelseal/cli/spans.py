"""Durations and ends as people type them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from modelseal.errors import Misuse

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_SPAN = re.compile(r"([0-9]{1,9})\s*([smhdwy])")
_LONGEST_SECONDS = 100 * 365 * 86400


@dataclass(frozen=True, slots=True)
class End:
    """When something ends: after a time, at an instant, or never. At most one is set."""

    in_seconds: int | None = None
    at: datetime | None = None
    never: bool = False


def seconds(text: str) -> int:
    """Seconds of ``text`` such as ``45s``, ``90m``, ``12h``, ``30d``, ``2w``, ``1y``."""
    match = _SPAN.fullmatch(text.strip().lower())
    value = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= value <= _LONGEST_SECONDS:
        raise Misuse(f"{text!r} is no duration; write it like 12h, 30d, 2w or 1y")
    return value


def end(text: str | None) -> End:
    """The end written as ``text``: a duration, ``never``, or a date (RFC 3339, UTC unless told)."""
    if text is None:
        return End()
    if text.strip().lower() == "never":
        return End(never=True)
    if _SPAN.fullmatch(text.strip().lower()):
        return End(in_seconds=seconds(text))
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Misuse(
            f"{text!r} is neither a duration (30d), a date (2027-01-31) nor 'never'"
        ) from None
    return End(at=at if at.tzinfo else at.replace(tzinfo=UTC))
