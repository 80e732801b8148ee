"""Rows as typed values: what a query answers and what a service may look at."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Row

T = TypeVar("T")


def one(cls: type[T], row: Row[Any] | None) -> T | None:
    """``row`` as a ``cls`` whose fields bear the names of the columns."""
    return None if row is None else cls(**row._mapping)


def many(cls: type[T], rows: Any) -> list[T]:
    """Every row as a ``cls``."""
    return [cls(**row._mapping) for row in rows]


def values(row: Any) -> dict[str, Any]:
    """What ``one`` made a row of: its columns by name."""
    return {field.name: getattr(row, field.name) for field in fields(row)}


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The newest version of a plan."""

    plan_id: str
    name: str
    version: int
    terms: dict[str, Any]
    created_at: datetime
    changed_at: datetime
    event_id: str


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer; ``customer`` is None once erased."""

    customer_id: str
    customer: str | None
    created_at: datetime
    erased_at: datetime | None


@dataclass(frozen=True, slots=True)
class LicenseRow:
    """A license. ``rev`` counts what a license token says, ``version`` every change."""

    license_id: str
    key_hash: bytes
    plan_id: str
    plan_version: int
    customer_id: str
    label: str | None
    metadata: dict[str, str]
    seats: int
    state: str
    starts_at: datetime | None
    ends_at: datetime | None
    period_seconds: int | None
    reason: str | None
    rev: int
    version: int
    created_at: datetime
    changed_at: datetime
    event_id: str
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device of a license; it stays as a tombstone when it is over.

    ``seq`` and ``last_jti`` are of the newest answer, lease or denial. What begins with ``lease``
    is of the newest lease. ``seat_no``, ``free_at`` and ``prior_until`` are of its ``SeatRow``.
    Times are of whole seconds, rounded down. ``held`` is a fork not yet healed. ``tpm`` is the
    attestation key that its TPM proved, and by which root. ``traits`` and ``presented`` are packed
    (``packing``).

    The newest lease can be given again: to the question ``asked_seq`` and ``question`` (a hash of
    its nonce) with the KEM key ``recipient``, it was given ``under`` a version of a plan
    (``packing.under``) and stood on ``prev``. ``answer`` holds what else was in it, or followed it:

    - ``event_id`` of the lease, once the row's is another's; ``exp``, once ``lease_exp`` is;
    - ``license``: ``jti``, ``nbf`` and ``exp`` of the license token that came along, and plan and
      version where it was signed after the lease;
    - ``hardware``: the TPM's key (a JWK) and its ``end``;
    - ``returned``: event and time of a return;
    - ``whole``: the claims of lease and license token, as a store before 0010 kept them.
    """

    license_id: str
    device_id: str
    jkt: str
    jwk: dict[str, str]
    label: str | None
    state: str
    held: bool
    traits: bytes
    presented: bytes
    bound: bool
    drift: int
    level: int
    enforcement: str
    status_list: int
    status_idx: int
    status_value: int
    seat_no: int | None
    seq: int
    last_jti: str | None
    lease_id: str | None
    lease_seq: int | None
    lease_iat: datetime | None
    lease_exp: datetime | None
    bundle: str | None
    question: bytes
    license_rev: int
    license_iat: datetime | None
    activated_at: datetime
    last_contact_at: datetime
    ended_at: datetime | None
    reason: str | None
    event_id: str
    tpm: dict[str, Any] | None = None
    asked_seq: int | None = None
    recipient: bytes | None = None
    under: bytes | None = None
    prev: str | None = None
    renew_after_at: datetime | None = None
    answer: dict[str, Any] | None = None
    free_at: datetime | None = None
    prior_until: datetime | None = None

    @property
    def lease_event(self) -> str:
        """The event of the newest lease."""
        return str((self.answer or {}).get("event_id", self.event_id))


@dataclass(frozen=True, slots=True)
class SeatRow:
    """A seat that has been taken once. Free from ``free_at`` on; None: held.

    Until ``prior_until`` a lease of an earlier holder may still be alive beside the holder's own.
    """

    license_id: str
    seat_no: int
    device_id: str
    free_at: datetime | None
    prior_until: datetime | None


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A published model."""

    record_id: str
    product: str
    model: str
    release: int
    model_version: str
    name: str
    file_id: bytes
    blob_digest: str
    size_bytes: int
    entitlements: list[str]
    published_at: datetime
    withdrawn_at: datetime | None
    event_id: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """A stored audit event and, once sequenced, its place in the log."""

    event_id: str
    at: datetime
    kind: str
    reference: str
    decision: bool
    body: bytes
    personal: dict[str, Any] | None
    idx: int | None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An admin token by its hash."""

    token_id: str
    role: str
    label: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    person: str | None = None
    idle_seconds: int | None = None
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PreparedRow:
    """A lease made ahead for an air-gapped device, sealed under a code that support reads out.

    It follows the answer ``prev`` in the chain; ``base`` is the lease it was made with. ``asked``
    is what the request said of the device; ``wrapped`` the code; ``given_at`` when it was told.
    ``relayed``: it was made for a relay, which gives the code out.
    """

    license_id: str
    device_id: str
    seq: int
    lease_id: str
    prev: str
    base: str
    starts_at: datetime
    renew_after_at: datetime
    ends_at: datetime
    plan_id: str
    plan_version: int
    asked: dict[str, Any]
    sealed: bytes
    wrapped: bytes
    given_at: datetime | None
    relayed: bool | None = None


@dataclass(frozen=True, slots=True)
class RelayedRow:
    """That a relay has the codes of the leases ahead made with the answer ``base``.

    ``places`` are [seq, lease id, starts, ends] of each, times as NumericDate. ``told_at`` is when
    the relay was first told that they are in force no more, ``closed_at`` when it reported for the
    first time after that. ``released`` is the highest place that it reported as given out, or that
    support told, whose start is then no later than that;
    ``shown`` the highest that the device showed, first at ``shown_at``; the relay has told of all
    that it gave out until ``settled_at``. ``found`` is what does not fit.
    """

    license_id: str
    device_id: str
    base: str
    relay: str
    places: list[list[Any]]
    ends_at: datetime
    given_at: datetime
    told_at: datetime | None = None
    closed_at: datetime | None = None
    released: int = 0
    shown: int = 0
    shown_at: datetime | None = None
    settled_at: datetime | None = None
    found: list[str] | None = None


@dataclass(frozen=True, slots=True)
class DelegationRow:
    """What a relay may give of a license by itself, and what of it was reported and booked.

    ``seats`` and ``renewals`` are totals over all its delegations, of which ``delegation_id`` is
    the newest. ``reserved`` seats of the license wait for it until ``ends_at``; ``overdrawn``
    counts what it gave beyond.
    """

    license_id: str
    relay: str
    device_id: str
    delegation_id: str
    number: int
    state: str
    seats: int
    renewals: int
    seats_spent: int
    renewals_spent: int
    reserved: int
    overdrawn: int
    level: int
    issued_at: datetime
    ends_at: datetime
    status_list: int
    status_idx: int
    status_value: int
    event_id: str


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """One version of a TUF role."""

    role: str
    version: int
    data: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class HeadRow:
    """A signed checkpoint of the log."""

    size: int
    root_hash: bytes
    at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """Where events of some kinds are told, while it is enabled."""

    webhook_id: str
    url: str
    label: str
    kinds: list[str]
    enabled: bool
    created_at: datetime
    changed_at: datetime
    event_id: str


@dataclass(frozen=True, slots=True)
class WebhookSecretRow:
    """A wrapped secret of a webhook; it signs until ``ends_at``, None: no end yet."""

    webhook_id: str
    number: int
    wrapped: bytes
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One event for one webhook. Due from ``due_at`` on; None: delivered or given up."""

    webhook_id: str
    event_id: str
    kind: str
    at: datetime
    attempts: int
    due_at: datetime | None
    tried_at: datetime | None
    status: int | None
    failure: str | None
    delivered_at: datetime | None
    given_up_at: datetime | None
