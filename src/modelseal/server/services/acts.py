"""An act of a relay, verified, and whether it is one that it was let do.

An accusation is made only from what no honest relay can do: a device that asked the license server
in between is there twice and not its relay, and of a server that was restored the store is behind.
Normative: ``docs/spec/protocol.md``, section 4.6.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct
from sqlalchemy import Connection

from modelseal.audit import decode
from modelseal.errors import NotFound, TokenClaims
from modelseal.license import tokens
from modelseal.license.claims import DelegationClaims, LeaseClaims, RequestClaims
from modelseal.server.services.context import Context
from modelseal.server.store import devices as device_store
from modelseal.server.store import events as event_store
from modelseal.server.store import tokens as token_store
from modelseal.server.store.rows import DelegationRow, DeviceRow, LicenseRow

_ID = re.compile(r"(dev|lea)_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class DelegatedAct(Struct, frozen=True, forbid_unknown_fields=True):
    """A device's signed request, and the lease that a relay gave for it."""

    request: Annotated[str, Meta(min_length=1, max_length=65536)]
    lease: Annotated[str, Meta(min_length=1, max_length=16384)]


@dataclass(frozen=True, slots=True)
class Act:
    """One act, verified: the device signed the request, the relay the lease that answers it."""

    claims: RequestClaims
    lease: LeaseClaims
    by: DelegationClaims
    now: datetime

    @property
    def enters(self) -> bool:
        """A device that types its license key takes a place of the budget, others renew."""
        return self.claims.op == "activate"

    @property
    def actor(self) -> str:
        """Who did it, as events name it."""
        return f"relay:{self.by.sub}"


class Why(StrEnum):
    """What no honest relay does; ``docs/spec/protocol.md`` says what each means."""

    SEATS = "seats"
    RENEWALS = "renewals"
    DEVICE_TAKEN = "device_taken"
    DEVICE_UNKNOWN = "device_unknown"
    CHAIN = "chain"


class Place(StrEnum):
    """Where an act that accuses nobody stands in the chain of its device.

    ``behind``: the store forgot what came before. ``forked``: the device got another answer.
    """

    NEXT = "next"
    BEHIND = "behind"
    FORKED = "forked"


def read(context: Context, relay: str, sent: DelegatedAct) -> Act:
    """The act that ``relay`` did.

    Raises token errors for what no relay of ours gave, ``NotFound`` for another relay's.
    """
    lease = tokens.read(sent.lease, LeaseClaims, context.trust)
    if lease.delegation is None:
        raise TokenClaims("the server's own lease")
    if not all(_ID.fullmatch(each) for each in (lease.sub, lease.jti)):
        raise TokenClaims("a relay gives leases and devices ids of their kinds")
    by, _kid = tokens.read_delegation(lease.delegation, context.trust)
    claims = tokens.read_request(sent.request, server_id=context.server_id, any_operation=True)
    if by.sub != relay:
        raise NotFound("no such relay", relay=relay)
    mine = (claims.iss, claims.nonce) == (lease.cnf.jkt, lease.request_nonce)
    known = claims.op == "activate" or (claims.op == "renew" and claims.sub == lease.sub)
    if not mine or not known or claims.product != context.product:
        raise TokenClaims("the lease answers another request")
    return Act(claims, lease, by, context.now())


def device_of(tx: Connection, act: Act) -> DeviceRow | None:
    """The device by its key, under whatever id."""
    return device_store.by_key(tx, act.lease.lic, act.claims.iss)


def judged(
    tx: Connection, act: Act, row: DelegationRow, device: DeviceRow | None, licensed: LicenseRow
) -> Place | Why:
    """Why the relay was not to do it, or where it stands.

    An act counts by the delegation it was done by, of which a restored store may know an older one.
    """
    if act.enters and row.seats_spent >= max(row.seats, act.by.seats):
        return Why.SEATS
    if not act.enters and row.renewals_spent >= max(row.renewals, act.by.renewals):
        return Why.RENEWALS
    other = device_store.get(tx, act.lease.sub)
    if other is not None and (other.license_id, other.jkt) != (act.lease.lic, act.claims.iss):
        return Why.DEVICE_TAKEN
    if act.enters:
        return _entering(tx, act, device)
    if device is None:
        return Place.BEHIND if _is_restored(tx, licensed) else Why.DEVICE_UNKNOWN
    if device.device_id != act.lease.sub:  # it entered elsewhere since
        return Place.FORKED
    if (act.lease.seq, act.lease.prev) == (device.seq + 1, device.last_jti):
        return Place.NEXT
    if act.lease.seq > device.seq + 1:
        return Place.BEHIND if _is_restored(tx, licensed) else Why.CHAIN
    return _twice(tx, act, device)


def _entering(tx: Connection, act: Act, device: DeviceRow | None) -> Place | Why:
    if device is None or device.device_id != act.lease.sub or act.lease.seq > device.seq:
        return Place.NEXT
    return _twice(tx, act, device)


def _twice(tx: Connection, act: Act, device: DeviceRow) -> Place | Why:
    """A place in a chain has two answers: both of this relay, or one of somebody else."""
    newest = event_store.get(tx, device.event_id)
    mine = newest is not None and decode(newest.body).actor == act.actor
    return Why.CHAIN if mine else Place.FORKED


def _is_restored(tx: Connection, licensed: LicenseRow) -> bool:
    """Whether acts of this license may have been booked and forgotten."""
    return token_store.restored_since(tx, licensed.created_at) is not None
