"""Plans: what a license grants, as versioned data with closed schemas (design, section 6)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from modelseal.errors import Misuse
from modelseal.license.claims import EnforcementName, LevelNumber, Thumbprint
from modelseal.types import check_entitlement

DAY_SECONDS = 86400
MAX_LEASE_SECONDS = 400 * DAY_SECONDS
MIN_LEASE_SECONDS = 1
DEFAULT_LEASE_SECONDS = 7 * DAY_SECONDS
MAX_ENTITLEMENTS = 256

Seconds = Annotated[int, Meta(ge=0, le=100 * 366 * DAY_SECONDS)]
ShortText = Annotated[str, Meta(min_length=1, max_length=64)]
Weight = Annotated[int, Meta(ge=0, le=16)]


class _Closed(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen; an unknown member is refused, because a mistyped term must not grant anything."""


class PlanEntitlement(_Closed, frozen=True):
    """One capability, from which verified level on, and for how many seconds from the start."""

    id: ShortText
    min_level: LevelNumber = 0
    exp: Seconds | None = None


class LeaseTerms(_Closed, frozen=True):
    """How long a device works without contact, and when it asks again (default: a third)."""

    max_seconds: Annotated[int, Meta(ge=MIN_LEASE_SECONDS, le=MAX_LEASE_SECONDS)] = (
        DEFAULT_LEASE_SECONDS
    )
    renew_after_seconds: Annotated[int, Meta(ge=0, le=MAX_LEASE_SECONDS)] | None = None

    @property
    def renew_after(self) -> int:
        """Seconds after ``iat`` from which a device renews."""
        return (
            self.max_seconds // 3 if self.renew_after_seconds is None else self.renew_after_seconds
        )


class Binding(_Closed, frozen=True):
    """How a device is recognised, and how often a seat may move."""

    min_level: LevelNumber = 0
    weights: dict[ShortText, Weight] = {}
    min_score: Annotated[int, Meta(ge=1, le=100)] = 60
    rebinds_per_90d: Annotated[int, Meta(ge=0, le=1000)] = 2
    instant_returns_per_90d: Annotated[int, Meta(ge=0, le=1000)] = 2
    allow_unbound: bool = True


class EulaTerms(_Closed, frozen=True):
    """The agreement that activation binds: SHA-256 of its bytes, base64url."""

    digest: Thumbprint
    uri: Annotated[str, Meta(max_length=512)] | None = None


class Meter(_Closed, frozen=True):
    """At most ``limit`` uses ``per`` period (seconds; None: for the license's whole life)."""

    name: ShortText
    limit: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    per: Seconds | None = None


class Allow(_Closed, frozen=True):
    """Where the app may run."""

    vm: bool = True
    container: bool = True


class Plan(_Closed, frozen=True):
    """The terms of a plan. ``check`` refuses what no license could be issued under."""

    entitlements: Annotated[list[PlanEntitlement], Meta(min_length=1, max_length=MAX_ENTITLEMENTS)]
    seats: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    floating: bool = False
    starts: Literal["issue", "first_activation"] = "issue"
    period_seconds: Seconds | None = None
    late_payment_seconds: Seconds = 0
    trial: bool = False
    trial_once_per_device: bool = False
    lease: LeaseTerms = LeaseTerms()
    enforcement: EnforcementName = "software"
    binding: Binding = Binding()
    on_fork: Literal["hold", "suspend"] = "hold"
    on_expiry: Literal["stop_new", "stop_now"] = "stop_new"
    eula: EulaTerms | None = None
    meters: Annotated[list[Meter], Meta(max_length=32)] = []
    memory: Literal["none", "locked", "secret"] = "none"
    channels: Annotated[list[ShortText], Meta(max_length=32)] = []
    allow: Allow = Allow()
    anomalies: Annotated[list[dict[str, Any]], Meta(max_length=32)] = []

    def __post_init__(self) -> None:
        names = [entitlement.id for entitlement in self.entitlements]
        for name in names:
            check_entitlement(name)
        if len(set(names)) != len(names):
            raise Misuse("a plan names an entitlement twice")
        if self.lease.renew_after > self.lease.max_seconds:
            raise Misuse("a lease must be renewed before it ends")
        meters = [meter.name for meter in self.meters]
        if len(set(meters)) != len(meters):
            raise Misuse("a plan names a meter twice")


def encode(plan: Plan) -> bytes:
    """Canonical JSON of ``plan``; ``decode`` undoes it."""
    return msgspec.json.encode(plan, order="deterministic")


def decode(data: bytes) -> Plan:
    """The plan of ``data``; ``Misuse`` for an unknown member, a wrong type or an odd value."""
    try:
        return msgspec.json.decode(data, type=Plan)
    except msgspec.MsgspecError as error:
        raise Misuse(f"the plan is not acceptable: {error}") from None
