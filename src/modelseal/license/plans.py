"""Plans are data: what a license made of them grants, for how long and on which conditions. Pure.

A ``Plan`` is the terms alone; its name and version stand beside it. A license keeps the version
it was issued with, so that any past decision can be replayed. Normative: ``docs/spec/tokens.md``,
"Plans".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from modelseal.errors import ConfigInvalid, Misuse
from modelseal.license.claims import EnforcementName, Eula, LevelNumber, Time
from modelseal.types import check_entitlement

DAY_SECONDS = 86400
MAX_LEASE_SECONDS = 400 * DAY_SECONDS
NEVER_SECONDS = 400 * DAY_SECONDS
DEFAULT_LEASE_SECONDS = 7 * DAY_SECONDS
DEFAULT_POWER_CUTS = 24
MAX_AHEAD = 12
"""Of the leases that a relay may hold ready for one device."""
MAX_PLAN_BYTES = 64 * 1024
LEASE_LEVEL = 2
"""The highest level that a device proves for a lease; evidence proves more, for one run."""

_Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*\Z")]
_PerQuarter = Annotated[int, Meta(ge=0, le=1000)]


STABLE = ("stable",)
"""Where a model is published, and what a plan gets, unless somebody says otherwise."""
Channels = Annotated[list[_Word], Meta(min_length=1, max_length=32)]


MAX_ENTITLEMENTS_BYTES = 2800
"""What entitlements may take of a lease, as JSON: 150 of eight letters, 26 of the longest."""
MAX_LICENSE_BYTES = 7000
"""What entitlements, minimum releases, channels and agreement may take of a license token."""
MAX_MIN_RELEASES_BYTES = 3000
MinReleases = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=128)],
        Annotated[int, Meta(ge=1, le=2**53 - 1)],
    ],
    Meta(max_length=256),
]
"""By model id, the oldest release whose keys a plan still gives."""


class _Closed(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Frozen and closed: a member not named here is refused."""


class PlanEntitlement(_Closed, frozen=True):
    """One granted capability, from which verified level on and until which NumericDate."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    min_level: LevelNumber = 0
    exp: Time | None = None


class LeaseTerms(_Closed, frozen=True):
    """How long a lease lives and after how long it is renewed (None: a third of its life).

    ``power_cuts`` is how often the TPM of a hardware lease may be reset before it is renewed,
    ``ahead`` how many further leases a relay in a closed network may hold ready for a device.
    """

    max_seconds: Annotated[int, Meta(ge=1, le=MAX_LEASE_SECONDS)] = DEFAULT_LEASE_SECONDS
    renew_after_seconds: Annotated[int, Meta(ge=0, le=MAX_LEASE_SECONDS)] | None = None
    power_cuts: Annotated[int, Meta(ge=0, le=10_000)] = DEFAULT_POWER_CUTS
    ahead: Annotated[int, Meta(ge=0, le=MAX_AHEAD)] = 0

    @property
    def renew_seconds(self) -> int:
        """Seconds after which a device asks for the next lease."""
        third = self.max_seconds // 3
        return third if self.renew_after_seconds is None else self.renew_after_seconds


class Binding(_Closed, frozen=True):
    """What ties a device: the level it must prove, how traits are weighed, how often seats move.

    ``weights`` replace the default weights by trait kind. ``min_score`` is the share of enrolled
    weight that makes it the same computer.
    """

    min_level: LevelNumber = 0
    weights: dict[_Word, Annotated[int, Meta(ge=0, le=100)]] = {}
    min_score: Annotated[float, Meta(gt=0, le=1)] = 0.6
    rebinds_per_90d: _PerQuarter = 3
    instant_returns_per_90d: _PerQuarter = 2
    allow_unbound: bool = True


class Meter(_Closed, frozen=True):
    """So many uses of ``name`` in each ``per`` on all devices of a license together.

    A used-up meter stops the next lease and the next key release. ``license.metering`` says when
    a period begins.
    """

    name: _Word
    limit: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    per: Literal["day", "week", "month", "period", "total"]


class Allow(_Closed, frozen=True):
    """Where it may run. False asks the device to say what it is; silence is then refused."""

    vm: bool = True
    container: bool = True


class Anomaly(_Closed, frozen=True):
    """More than ``limit`` of ``rule`` within ``per_seconds`` leads to ``action``."""

    rule: Literal[
        "fork",
        "activation_farming",
        "too_many_devices",
        "clock_rollback",
        "trait_churn",
        "address_spread",
    ]
    limit: Annotated[int, Meta(ge=1, le=1_000_000)]
    per_seconds: Annotated[int, Meta(ge=1, le=MAX_LEASE_SECONDS)]
    action: Literal["flag", "webhook", "suspend"] = "flag"


class RelayTerms(_Closed, frozen=True):
    """What a relay of a license may give by itself, once it proved ``min_level``.

    Each time it asks it gets ``seats`` new devices and ``renewals`` beyond what it has reported,
    for ``max_seconds``.
    """

    seats: Annotated[int, Meta(ge=0, le=10_000)]
    renewals: Annotated[int, Meta(ge=0, le=1_000_000)]
    max_seconds: Annotated[int, Meta(ge=60, le=MAX_LEASE_SECONDS)]
    min_level: Annotated[int, Meta(ge=3, le=5)] = 3


class Plan(_Closed, frozen=True):
    """The terms of a plan. Durations are seconds; see ``docs/spec/tokens.md`` for every member."""

    entitlements: Annotated[list[PlanEntitlement], Meta(min_length=1, max_length=256)]
    seats: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    floating: bool = False
    starts: Literal["issue", "first_activation"] = "issue"
    period_seconds: Annotated[int, Meta(ge=1, le=100 * 366 * DAY_SECONDS)] | None = None
    late_payment_seconds: Annotated[int, Meta(ge=0, le=MAX_LEASE_SECONDS)] = 0
    trial_once_per_device: bool = False
    lease: LeaseTerms = LeaseTerms()
    enforcement: EnforcementName = "software"
    binding: Binding = Binding()
    on_fork: Literal["hold", "suspend"] = "hold"
    on_expiry: Literal["stop_new", "stop_now"] = "stop_new"
    eula: Eula | None = None
    meters: Annotated[list[Meter], Meta(max_length=64)] = []
    memory: Literal["none", "locked", "secret"] = "none"
    channels: Channels = msgspec.field(default_factory=lambda: list(STABLE))
    min_releases: MinReleases = {}
    allow: Allow = Allow()
    anomalies: Annotated[list[Anomaly], Meta(max_length=64)] = []
    relay: RelayTerms | None = None


def parse(terms: bytes | str | Mapping[str, Any]) -> Plan:
    """The plan in a JSON text or a mapping; ``ConfigInvalid`` says which member is wrong and why.

    ``parse(encode(plan))`` is ``plan`` again.
    """
    try:
        if isinstance(terms, Mapping):
            plan = msgspec.convert(dict(terms), Plan, strict=True)
        else:
            if len(terms) > MAX_PLAN_BYTES:
                raise ConfigInvalid(f"a plan has at most {MAX_PLAN_BYTES} bytes")
            plan = msgspec.json.decode(terms, type=Plan, strict=True)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise ConfigInvalid(f"plan: {error}") from None
    return _consistent(plan)


def check(plan: Plan) -> Plan:
    """``plan`` itself when it is one that ``parse`` would give; ``ConfigInvalid`` otherwise.

    What travels in tokens has a length at which every token of the plan can be signed.
    """
    parse(encode(plan))
    granted, least = _bytes(plan.entitlements), _bytes(plan.min_releases)
    _fits("entitlements fill", granted, MAX_ENTITLEMENTS_BYTES)
    _fits("min_releases fill", least, MAX_MIN_RELEASES_BYTES)
    whole = granted + least + _bytes(plan.channels) + _bytes(plan.eula)
    told = "entitlements, min_releases, channels and eula together fill"
    _fits(told, whole, MAX_LICENSE_BYTES)
    return plan


def _bytes(value: object) -> int:
    return len(msgspec.json.encode(value))


def _fits(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise ConfigInvalid(
            f"plan: {what} {size} bytes of JSON, and tokens have room for {limit}", limit=limit
        )


def encode(plan: Plan) -> bytes:
    """The JSON text of ``plan``; most members that have their default are left out."""
    try:
        return msgspec.json.encode(plan)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise ConfigInvalid(f"plan: {error}") from None


def check_channels(names: object) -> tuple[str, ...]:
    """``names`` as channels, sorted; ``ConfigInvalid`` for what cannot be a list of them."""
    wanted = list(names) if isinstance(names, tuple | set | frozenset) else names
    try:
        return tuple(sorted(set(msgspec.convert(wanted, Channels, strict=True))))
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"channels: {error}") from None


def _consistent(plan: Plan) -> Plan:
    for item in plan.entitlements:
        try:
            check_entitlement(item.id)
        except Misuse as error:
            raise ConfigInvalid(f"plan: {error.detail}", entitlement=item.id) from None
    _distinct("entitlements", [item.id for item in plan.entitlements])
    _distinct("meters", [item.name for item in plan.meters])
    _distinct("channels", list(plan.channels))
    if plan.lease.renew_seconds >= plan.lease.max_seconds:
        raise ConfigInvalid("plan: a lease is renewed before it ends")
    if plan.lease.ahead and (plan.enforcement != "software" or not plan.lease.renew_seconds):
        raise ConfigInvalid(
            "plan: leases ahead are software leases that are renewed after a second or later"
        )
    if plan.late_payment_seconds and plan.period_seconds is None:
        raise ConfigInvalid("plan: late payment needs a period")
    if plan.period_seconds is None and any(meter.per == "period" for meter in plan.meters):
        raise ConfigInvalid("plan: a meter per period needs a period")
    if plan.relay is not None and (
        plan.enforcement != "software" or plan.floating or plan.meters or plan.binding.min_level
    ):
        raise ConfigInvalid(
            "plan: a relay gives software leases of L0, without meters, to seats that do not float"
        )
    if plan.eula is not None and plan.eula.uri is None:
        raise ConfigInvalid("plan: an agreement needs an address where it can be read")
    return plan


def _distinct(member: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise ConfigInvalid(f"plan: {member} names the same thing twice")
