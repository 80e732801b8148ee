"""Small frozen values shared by every floor. Pure: no clock, file, socket or random source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum

from modelseal.errors import Misuse

_ENTITLEMENT = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)*")


class Level(IntEnum):
    """Assurance level; counts only when the server verified it (design, section 2)."""

    L0 = 0
    L1 = 1
    L2 = 2
    L3 = 3
    L4 = 4
    L5 = 5


class Enforcement(StrEnum):
    """How the end of a lease is held."""

    ONLINE = "online"
    HARDWARE = "hardware"
    SOFTWARE = "software"


class MemoryProtection(StrEnum):
    """What keeps opened bytes out of swap, dumps and other processes."""

    NONE = "none"
    LOCKED = "locked"
    SECRET = "secret"


class LeaseState(StrEnum):
    """The one word that says where a device stands (design, section 6)."""

    NOT_ACTIVATED = "NOT_ACTIVATED"
    ACTIVE = "ACTIVE"
    RENEW_DUE = "RENEW_DUE"
    OVERDUE = "OVERDUE"
    EXPIRED = "EXPIRED"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"
    FORKED = "FORKED"
    RETURNED = "RETURNED"


@dataclass(frozen=True, slots=True)
class EntitlementExpression:
    """Entitlements in disjunctive form: any one of ``alternatives``, each wanting all its names.

    Written ``a+b`` for both, several texts for either. Empty expressions do not exist:
    what needs no entitlement has no expression.
    """

    alternatives: tuple[frozenset[str], ...]

    def __post_init__(self) -> None:
        if not self.alternatives or not all(self.alternatives):
            raise Misuse("an entitlement expression cannot be empty")
        for name in (name for group in self.alternatives for name in group):
            check_entitlement(name)

    @classmethod
    def parse(cls, texts: list[str] | tuple[str, ...]) -> EntitlementExpression:
        """The expression written as ``texts``; raises ``Misuse`` for an empty or odd name."""
        return cls(tuple(frozenset(part.strip() for part in t.split("+")) for t in texts))

    def texts(self) -> list[str]:
        """The texts that parse back to this expression, in one canonical order."""
        return sorted("+".join(sorted(group)) for group in set(self.alternatives))

    def satisfied_by(self, granted: frozenset[str]) -> bool:
        """True when one alternative is wholly inside ``granted``."""
        return any(group <= granted for group in self.alternatives)


def check_entitlement(name: str) -> str:
    """``name`` itself when it is a well-formed entitlement id (like ``face.swap``)."""
    if not isinstance(name, str) or len(name) > 64 or not _ENTITLEMENT.fullmatch(name):
        raise Misuse(
            "an entitlement is lower-case words joined by dots", entitlement=str(name)[:64]
        )
    return name


def check_aware(at: datetime) -> datetime:
    """``at`` in UTC; raises ``Misuse`` for a naive one, and for one that UTC has no year for."""
    if type(at) is datetime and at.tzinfo is UTC:
        return at
    if not isinstance(at, datetime) or at.tzinfo is None or at.utcoffset() is None:
        raise Misuse("times must be aware datetimes")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise Misuse("that time lies beyond the calendar") from None


def to_numeric(at: datetime) -> int:
    """NumericDate (RFC 7519, whole seconds, rounded down) of an aware instant."""
    return int(check_aware(at).timestamp() // 1)


def from_numeric(seconds: int) -> datetime:
    """The aware UTC instant of a NumericDate between 1970 and 9999."""
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds < 253402300800:
        raise Misuse("a NumericDate lies between 1970 and 9999")
    return datetime.fromtimestamp(seconds, UTC)
