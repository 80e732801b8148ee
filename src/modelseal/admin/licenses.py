"""Plans, licenses, devices and explained decisions as the admin calls show them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from modelseal.admin._base import (
    Answered,
    Asked,
    Customer,
    Label,
    Metadata,
    Name,
    Seats,
    Seconds,
)
from modelseal.license.plans import Plan


class LicenseState(StrEnum):
    """Where a license stands by itself; a device's lease state is another matter."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"


class PlanDraft(Asked, frozen=True):
    """A plan to be: its name and its terms. ``update_plan`` makes the next version of it."""

    name: Name
    terms: Plan


class PlanRecord(Answered, frozen=True):
    """The newest version of a plan. Licenses keep the version they were issued with."""

    plan_id: str
    name: str
    version: int
    terms: Plan
    created_at: datetime
    changed_at: datetime
    event_id: str


class IssueLicense(Asked, frozen=True):
    """A license to be. At most one of the three ends; none means the plan's period decides.

    ``customer`` is an opaque reference or an e-mail address. ``never`` is signed as 400 days at
    a time. ``idempotency_key`` makes the same call twice give the same license.
    """

    plan: Name
    customer: Customer
    label: Label | None = None
    expires_in_seconds: Seconds | None = None
    expires_at: datetime | None = None
    never: bool = False
    seats: Seats | None = None
    metadata: Metadata = {}
    idempotency_key: str | None = None


class IssuedLicense(Answered, frozen=True):
    """A new license; ``license_key`` is shown this once and stored only as a keyed hash."""

    license_id: str
    license_key: str
    plan: str
    plan_version: int
    customer: str
    seats: int
    expires_at: datetime | None
    created_at: datetime
    event_id: str
    label: str | None = None


class RekeyedLicense(Answered, frozen=True):
    """The new license key of a license; the old one opens nothing from now on."""

    license_id: str
    license_key: str
    event_id: str


class MeterUse(Answered, frozen=True):
    """One meter of a plan: what all devices of the license have counted in its present period.

    ``resets_at`` is when the next period begins; None for a meter that counts in all.
    """

    name: str
    used: int
    limit: int
    per: str
    resets_at: datetime | None


class LicenseRecord(Answered, frozen=True):
    """A license as it stands. ``expires_at`` None: never, or counted from the first activation.

    ``overage`` counts the seats on which an earlier holder's lease still lives beside the holder's:
    at most so many leases beyond ``seats`` are alive. ``flags`` are the plan's anomaly rules that
    fired in the last 90 days.
    """

    license_id: str
    customer: str | None
    plan: str
    plan_version: int
    state: LicenseState
    entitlements: list[str]
    seats: int
    seats_used: int
    expires_at: datetime | None
    created_at: datetime
    changed_at: datetime
    version: int
    lease_max_seconds: int
    enforcement: str
    starts_at: datetime | None = None
    label: str | None = None
    metadata: dict[str, str] = {}
    overage: int = 0
    meters: list[MeterUse] = []
    flags: list[str] = []
    reason: str | None = None
    event_id: str | None = None


class LicenseChange(Asked, frozen=True):
    """What to change; what is None stays. At most one of the three ends.

    ``version`` (of the record last read) makes the call a ``Conflict`` when somebody changed the
    license in between.
    """

    plan: Name | None = None
    expires_in_seconds: Seconds | None = None
    expires_at: datetime | None = None
    never: bool = False
    seats: Seats | None = None
    label: Label | None = None
    metadata: Metadata | None = None
    version: int | None = None


class DeviceRecord(Answered, frozen=True):
    """A licensed device as the server knows it. ``traits`` are kinds, never values or digests.

    ``drift`` counts the latest contacts in a row that each found the computer changed.
    """

    device_id: str
    license_id: str
    label: str | None
    state: str
    bound: bool
    level: int
    enforcement: str
    seq: int
    activated_at: datetime
    last_contact_at: datetime
    lease_expires_at: datetime | None
    traits: list[str]
    moved: list[str] = []
    drift: int = 0
    reason: str | None = None
    event_id: str | None = None


class TraitShift(Answered, frozen=True):
    """One kind of trait at the time of a decision: ``same``, ``moved``, ``missing`` or ``new``."""

    kind: str
    state: str


class Explanation(Answered, frozen=True):
    """Why a decision fell as it did: the recorded facts, judged again by the same function.

    ``replayed`` is True when judging the recorded facts again gave the same answer.
    """

    reference: str
    event_id: str
    at: datetime
    action: str
    allowed: bool
    code: str | None
    step: str
    params: dict[str, Any]
    facts: dict[str, Any]
    traits: list[TraitShift]
    replayed: bool
    license_id: str | None = None
    device_id: str | None = None
