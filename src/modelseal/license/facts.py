"""Everything a decision is made from, as closed values that are stored and judged again.

``from_json(facts.to_json()) == facts``: the facts of a decision go into the audit event, so that
``license explain`` replays it. No secret, no raw trait and no label of a person stands here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from modelseal.errors import InvalidBytes, Misuse
from modelseal.license.claims import EnforcementName, Entitlement, LevelNumber
from modelseal.types import check_aware, from_numeric

MAX_BYTES = 256 * 1024
Memory = Literal["none", "locked", "secret"]
Seconds = Annotated[int, Meta(ge=0)]


class Action(StrEnum):
    """What is asked. ``LOAD`` is judged on the device, all others by the server."""

    ACTIVATE = "activate"
    TRIAL = "trial"
    LOOKUP = "lookup"
    RENEW = "renew"
    RELEASE = "release"
    RETURN = "return"
    LOAD = "load"


class Chain(StrEnum):
    """Where a request stands in the chain of its device.

    ``heal``: a fork of which this branch alone matches the enrolment, with a rebind left to spend.
    """

    FIRST = "first"
    NEXT = "next"
    REPEAT = "repeat"
    FORK = "fork"
    HEAL = "heal"


@functools.cache
def _times_of(cls: type[Struct]) -> tuple[str, ...]:
    """The members of a struct that may hold a time."""
    return tuple(info.name for info in msgspec.structs.fields(cls) if "datetime" in str(info.type))


class _Fact(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Frozen and closed. Every time is aware and stands in UTC, or ``Misuse``."""

    def __post_init__(self) -> None:
        for name in _times_of(type(self)):
            value = getattr(self, name)
            if isinstance(value, datetime) and value.tzinfo is not UTC:
                msgspec.structs.force_setattr(self, name, check_aware(value).astimezone(UTC))


class EntitlementFact(_Fact, frozen=True):
    """One granted capability: from which level on, until when (None: as long as its carrier)."""

    id: str
    min_level: LevelNumber = 0
    expires_at: datetime | None = None


class LicenseFacts(_Fact, frozen=True):
    """The license as the court knows it: the server from its store, a device from its token.

    ``expires_at`` None means never. The token's ``exp`` includes ``late_payment_seconds``, so a
    device passes 0. ``min_level`` is the plan's ``binding.min_level``, ``memory`` the plan's.
    """

    id: str
    product: str
    entitlements: tuple[EntitlementFact, ...]
    state: Literal["active", "suspended", "revoked"] = "active"
    reason: str = ""
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    late_payment_seconds: Seconds = 0
    enforcement: EnforcementName = "software"
    min_level: LevelNumber = 0
    memory: Memory = "none"
    eula_digest: str | None = None
    eula_uri: str | None = None
    allow_unbound: bool = True
    allow_vm: bool = True
    allow_container: bool = True
    floating: bool = False
    trial_once_per_device: bool = False


class MatchFacts(_Fact, frozen=True):
    """The outcome of matching traits, as numbers and kinds (``device.tolerance.Match``)."""

    score: float
    enrolled_weight: int
    live: int
    same_computer: bool


class DeviceFacts(_Fact, frozen=True):
    """The device as the court knows it. ``moved`` and ``missing`` are kinds of traits.

    ``jkt`` is the enrolled key (of the license token on a device), ``proved_jkt`` the key that
    signed the request (on a device: the key it holds). ``drift`` counts single-trait changes in a
    row without contact. ``level`` is what the server verified. ``enforcement`` holds the kinds
    that are possible here, ``hardware`` only when proved. ``level_why`` is the code of the verdict
    by which no higher level was reached, empty where none was tried. ``vm`` and ``container`` are
    what the device says, None when it says nothing.
    """

    state: Literal["new", "active", "returned", "replaced", "revoked", "forked"] = "new"
    reason: str = ""
    jkt: str = ""
    proved_jkt: str | None = None
    unbound: bool = False
    operator_identity: bool = False
    drift: Annotated[int, Meta(ge=0)] = 0
    moved: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    match: MatchFacts | None = None
    level: LevelNumber = 0
    level_why: str = ""
    memory: Memory = "none"
    enforcement: tuple[EnforcementName, ...] = ("online", "software")
    eula_digest: str | None = None
    vm: bool | None = None
    container: bool | None = None


class SeatFacts(_Fact, frozen=True):
    """The outcome of the one conditional write. ``holders`` are device ids.

    Their labels belong into the answer only: facts stay in the log for ever.
    """

    outcome: Literal["held", "free", "none", "replace_pending", "rebinds_used_up"]
    seats: int = 1
    holders: tuple[str, ...] = ()
    free_at: datetime | None = None
    limit: int = 0


class LeaseFacts(_Fact, frozen=True):
    """The lease that is used (``LOAD``, ``RELEASE``). ``superseded``: a higher seq exists."""

    expires_at: datetime
    entitlements: tuple[EntitlementFact, ...]
    enforcement: EnforcementName = "software"
    superseded: bool = False


class DenialFacts(_Fact, frozen=True):
    """A verified denial with a higher ``seq`` than the lease (``LOAD``)."""

    code: str
    reference: str = ""


class SectionFacts(_Fact, frozen=True):
    """What one section of a sealed model demands. ``alternatives`` empty: nothing.

    ``min_release`` is the catalog's. ``key_present``: the lease carries the key (for an *online*
    lease: the key release does).
    """

    product: str
    model: str
    alternatives: tuple[tuple[str, ...], ...] = ()
    min_level: LevelNumber = 0
    memory: Memory = "none"
    release: int = 0
    min_release: int = 0
    together_missing: tuple[str, ...] = ()
    key_present: bool = True

    def __post_init__(self) -> None:
        if not all(self.alternatives):
            raise Misuse("an entitlement expression cannot be empty")


class MeterFacts(_Fact, frozen=True):
    """One meter of the plan in its present period."""

    name: str
    used: int
    limit: int
    resets_at: datetime | None = None


class Facts(_Fact, frozen=True):
    """One question with all that answers it.

    ``product`` is the court's own. ``asked_product`` is what the request says, None on a device.
    ``status`` is the status list's entry for this device, None without a list.
    """

    action: Action
    now: datetime
    product: str
    asked_product: str | None = None
    license: LicenseFacts | None = None
    device: DeviceFacts = DeviceFacts()
    chain: Chain = Chain.FIRST
    seat: SeatFacts | None = None
    lease: LeaseFacts | None = None
    denial: DenialFacts | None = None
    status: Annotated[int, Meta(ge=0, le=3)] | None = None
    clock_floor: datetime | None = None
    trial_used: bool = False
    meters: tuple[MeterFacts, ...] = ()
    section: SectionFacts | None = None

    def to_json(self) -> bytes:
        """Canonical JSON; ``from_json`` undoes it."""
        return msgspec.json.encode(self, order="deterministic")

    def to_builtins(self) -> dict[str, Any]:
        """The same as plain values, for an audit event."""
        value: dict[str, Any] = msgspec.to_builtins(self, order="deterministic")
        return value


def from_json(data: bytes | str | dict[str, Any]) -> Facts:
    """The facts of ``data`` (JSON or what ``to_builtins`` gave); ``InvalidBytes`` for all else."""
    try:
        if isinstance(data, dict):
            return msgspec.convert(data, Facts, strict=True)
        if len(data) > MAX_BYTES:
            raise InvalidBytes(f"the facts of a decision have at most {MAX_BYTES} bytes")
        return msgspec.json.decode(data, type=Facts, strict=True)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, Misuse):
        raise InvalidBytes("these are no facts of a decision") from None


def entitlement_facts(entitlements: Iterable[Entitlement]) -> tuple[EntitlementFact, ...]:
    """The ``ent`` of a license or lease token as facts."""
    return tuple(
        EntitlementFact(
            id=item.id,
            min_level=item.min_level,
            expires_at=None if item.exp is None else from_numeric(item.exp),
        )
        for item in entitlements
    )
