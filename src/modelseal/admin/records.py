"""Pages, audit events, customers and admin tokens as the admin calls show them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from msgspec import Struct

from modelseal.admin._base import Answered
from modelseal.admin.licenses import DeviceRecord, LicenseRecord

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """Some items in their order; ``next_cursor`` continues, None when nothing follows."""

    items: list[T]
    next_cursor: str | None = None


class Role(StrEnum):
    """What an admin token may do; the table stands in ``docs/spec/protocol.md``.

    owner: everything · support: reads, and changes to licenses and devices · auditor: reads
    only · automation: issues, changes and renews licenses, publishes models · relay: reports what
    a relay in a closed network did, and nothing else.
    """

    OWNER = "owner"
    SUPPORT = "support"
    AUDITOR = "auditor"
    AUTOMATION = "automation"
    RELAY = "relay"


class EventRecord(Answered, frozen=True):
    """One audit event; ``index`` is its place in the Merkle log once it is sequenced."""

    event_id: str
    at: datetime
    kind: str
    actor: str
    subjects: dict[str, str]
    reference: str
    params: dict[str, Any]
    index: int | None = None


class AttestationVerdict(Answered, frozen=True):
    """One verdict over a machine's evidence: the signed result (EAR), and the policy's text.

    With the evidence and the endorsements of that day the verdict can be come to again.
    """

    ear: str
    policy: str


class Attestation(Answered, frozen=True):
    """The verdicts beside one event of an attested key release, given or refused."""

    event_id: str
    verdicts: list[AttestationVerdict]


class CheckpointRecord(Answered, frozen=True):
    """A signed head of the log: ``note`` is the C2SP signed note."""

    size: int
    root_hash: str
    note: str


class CustomerExport(Answered, frozen=True):
    """All that is stored about one customer."""

    customer_id: str
    customer: str
    exported_at: datetime
    licenses: list[LicenseRecord]
    devices: list[DeviceRecord]
    events: list[EventRecord]
    attestations: list[Attestation] = []


class ErasedCustomer(Answered, frozen=True):
    """What erasing a customer removed; the audit log stays verifiable."""

    customer_id: str
    licenses: int
    devices: int
    event_id: str


class TokenRecord(Answered, frozen=True):
    """An admin token without its secret."""

    token_id: str
    role: Role
    label: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    person: str | None = None


class IssuedToken(Answered, frozen=True):
    """A new admin token; ``token`` is shown this once and stored only as a hash."""

    token_id: str
    token: str
    role: Role
    label: str
    created_at: datetime
    expires_at: datetime
    event_id: str


class SignInOffer(Answered, frozen=True):
    """Where and as which client people sign in. ``device``: also by a code on another screen."""

    issuer: str
    client_id: str
    scopes: list[str]
    device: bool


class Session(Answered, frozen=True):
    """An admin token of a person who signed in; ``token`` is shown this once.

    It ends at ``expires_at``, or after ``idle_seconds`` without a call. ``person`` is a pseudonym.
    """

    token_id: str
    token: str
    role: Role
    person: str
    created_at: datetime
    expires_at: datetime
    idle_seconds: int
    event_id: str


class EndedSession(Answered, frozen=True):
    """A session that opens nothing any more."""

    token_id: str
    ended_at: datetime
