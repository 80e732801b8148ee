"""Rows as typed values: what a query answers and what a service may look at."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device of a license; it stays as a tombstone when it is over.

    ``seq`` and ``last_jti`` are of the newest answer, lease or denial, to the request ``nonce``;
    ``answer`` is what is needed to give that answer again. ``held`` is a fork not yet healed.
    """

    license_id: str
    device_id: str
    jkt: str
    jwk: dict[str, str]
    label: str | None
    state: str
    held: bool
    traits: list[dict[str, Any]]
    presented: list[dict[str, Any]]
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
    answer: dict[str, Any] | None
    lease_id: str | None
    lease_seq: int | None
    lease_iat: datetime | None
    lease_exp: datetime | None
    bundle: str | None
    nonce: str
    license_rev: int
    license_iat: datetime | None
    activated_at: datetime
    last_contact_at: datetime
    ended_at: datetime | None
    reason: str | None
    event_id: str


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


@dataclass(frozen=True, slots=True)
class PreparedRow:
    """A lease made ahead for an air-gapped device, sealed under a code that support reads out.

    It follows the answer ``prev`` in the chain; ``base`` is the lease it was made with. ``asked``
    is what the request said of the device; ``wrapped`` the code; ``given_at`` when it was told.
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
