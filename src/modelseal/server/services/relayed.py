"""Leases ahead whose codes a relay in a closed network gives out, and what is found about it.

They are those of the air gap (``airgap_ahead``), made with an answer that a relay carries, as many
as the plan allows. Their codes go to the relay alone, and it reports which it gave out.
Normative: ``docs/spec/relay.md``, section 5.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from modelseal.admin import (
    AskRelayed,
    EndedLeases,
    GivenLeases,
    HeldLeases,
    LeasePlace,
    Relayed,
)
from modelseal.audit import EventKind
from modelseal.errors import NoNextLease
from modelseal.license import tokens
from modelseal.license.air_gap import NextLease
from modelseal.license.claims import LeaseClaims, RequestClaims
from modelseal.server.services import acting, overdrawing, recorder
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.airgap_ahead import Ahead, check_terms, shown
from modelseal.server.services.context import Context
from modelseal.server.services.overdrawing import Finding
from modelseal.server.services.plans import terms_of
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import plans as plan_store
from modelseal.server.store import prepared as prepared_store
from modelseal.server.store import relayed as store
from modelseal.server.store.rows import DeviceRow, PreparedRow, RelayedRow
from modelseal.types import to_numeric

_PAGE = 200


class RelayedLeases:
    """See the module."""

    def __init__(self, context: Context, ahead: Ahead) -> None:
        self._context = context
        self._ahead = ahead

    # -- with the answer to a device

    def made(self, claims: RequestClaims, token: str) -> list[NextLease]:
        """The leases ahead that go with ``token``, the lease that answers ``claims``.

        None where the request asks for none or the plan allows none.
        """
        if not claims.next_count:
            return []
        context, now = self._context, self._context.now()
        lease = tokens.read(token, LeaseClaims, context.trust)

        def act(tx: Connection) -> list[PreparedRow]:
            before = prepared_store.of_device(tx, lease.lic, lease.sub)
            rows = self._ahead.prepare(tx, claims, lease, now, relayed=True)
            if rows and rows != before:
                self._record_made(tx, lease, rows, now)
            return rows

        return [shown(place, row) for place, row in enumerate(context.store.write(act), start=1)]

    def _record_made(
        self, tx: Connection, lease: LeaseClaims, rows: list[PreparedRow], now: datetime
    ) -> None:
        recorder.record(
            tx, recorder.fresh(self._context, now), EventKind.LEASES_MADE_AHEAD, at=now,
            actor=f"device:{lease.sub}",
            subjects={"license": lease.lic, "device": lease.sub},
            params={
                "base": lease.jti,
                "seq": lease.seq,
                "ahead": len(rows),
                "ends": to_numeric(rows[-1].ends_at),
            },
        )  # fmt: skip

    # -- what a relay tells and is told

    def leases(self, actor: Actor, asked: AskRelayed) -> Relayed:
        """What of the relay's leases is in force, with the codes it lacks; what it gave out is
        noted. The same question again has the same answer.
        """
        actor.need(Right.RELAYS)
        context, now = self._context, self._context.now()
        given: list[GivenLeases] = []
        ended: list[EndedLeases] = []
        for held in asked.held:
            if context.store.read(self._is_quiet, asked.relay, held, now):
                continue
            found = context.store.write(self._one, actor, asked.relay, held, now)
            if isinstance(found, EndedLeases):
                ended.append(found)
            elif found is not None:
                given.append(found)
        return Relayed(ahead=context.store.read(_most_ahead), given=given, ended=ended)

    def _is_quiet(self, tx: Connection, relay: str, held: HeldLeases, now: datetime) -> bool:
        """True where nothing is to be said and nothing to be written, which is the usual case."""
        device = device_store.get(tx, held.device) if held.known else None
        if device is None or acting.terms(tx, acting.license_of(tx, device)).plan.floating:
            return False
        known = _held_by(tx, device, held.base, relay)
        told = known is not None and held.released <= known.released
        rows = _rows(tx, device, held.base)
        return told and self._in_force(tx, device, held.base, rows, now)

    def _one(
        self, tx: Connection, actor: Actor, relay: str, held: HeldLeases, now: datetime
    ) -> GivenLeases | EndedLeases | None:
        over = EndedLeases(device=held.device, base=held.base, released=held.released)
        device = device_store.get(tx, held.device)
        if device is None:
            return over
        license_store.lock(tx, device.license_id)
        device = acting.device(tx, held.device)
        rows = _rows(tx, device, held.base)
        known = _held_by(tx, device, held.base, relay)
        in_force = self._in_force(tx, device, held.base, rows, now)
        if known is None and rows and (in_force or held.known):
            known = _row(relay, held.base, rows, now)
            store.add(tx, known)
        if known is not None:
            self._reported(tx, actor, known, held, now)
        if not in_force:
            if known is not None and known.told_at is None:
                store.change(tx, known, told_at=now)
            return over
        return None if held.known else self._given(held, rows, now)

    def _in_force(
        self, tx: Connection, device: DeviceRow, base: str, rows: list[PreparedRow], now: datetime
    ) -> bool:
        """True while the device's newest lease is ``base`` and it would be renewed now."""
        left = [row for row in rows if row.ends_at > now]
        if not left or device.lease_id != base or device.state != device_store.ACTIVE:
            return False
        terms = acting.terms(tx, acting.license_of(tx, device))
        _facts, decision = self._ahead.decided(tx, device, terms, left[0], now)
        if not decision.allowed:
            return False
        try:
            for row in left:
                check_terms(row, terms, now)
        except NoNextLease:
            return False
        return True

    def _given(self, held: HeldLeases, rows: list[PreparedRow], now: datetime) -> GivenLeases:
        places = [
            LeasePlace(
                place=place, starts_at=row.starts_at, ends_at=row.ends_at,
                code=self._ahead.code_of(row),
            )
            for place, row in enumerate(rows, start=1)
            if row.ends_at > now
        ]  # fmt: skip
        return GivenLeases(device=held.device, base=held.base, places=places)

    def _reported(
        self, tx: Connection, actor: Actor, row: RelayedRow, held: HeldLeases, now: datetime
    ) -> None:
        """What the relay says that it gave out is noted, and what its own word shows is found."""
        place = min(held.released, len(row.places))
        if place and overdrawing.is_early(row, place, min(held.released_at or now, now)):
            overdrawing.find(self._context, tx, actor.name, row, Finding.EARLY, place)
        if place > row.released:
            store.change(tx, row, released=place)
            if row.closed_at is not None:
                overdrawing.find(self._context, tx, actor.name, row, Finding.AFTER_END, place)


def _rows(tx: Connection, device: DeviceRow, base: str) -> list[PreparedRow]:
    """The leases ahead that were made for a relay with the answer ``base``."""
    rows = prepared_store.of_device(tx, device.license_id, device.device_id)
    return [row for row in rows if row.base == base and row.relayed]


def _held_by(tx: Connection, device: DeviceRow, base: str, relay: str) -> RelayedRow | None:
    rows = store.of_device(tx, device.license_id, device.device_id, base)
    return next((row for row in rows if row.relay == relay), None)


def _row(relay: str, base: str, rows: list[PreparedRow], now: datetime) -> RelayedRow:
    """What a relay holds from now on; what support told before counts as given out in its time."""
    places: list[list[Any]] = [
        [row.seq, row.lease_id, to_numeric(_begins(row)), to_numeric(row.ends_at)] for row in rows
    ]
    told = [place for place, row in enumerate(rows, start=1) if row.given_at is not None]
    return RelayedRow(
        license_id=rows[0].license_id,
        device_id=rows[0].device_id,
        base=base,
        relay=relay,
        places=places,
        ends_at=rows[-1].ends_at,
        given_at=now,
        released=max(told, default=0),
    )


def _begins(row: PreparedRow) -> datetime:
    return row.starts_at if row.given_at is None else min(row.starts_at, row.given_at)


def _most_ahead(tx: Connection) -> int:
    """The most leases ahead that the newest version of any plan allows."""
    most, after = 0, ""
    while rows := plan_store.page(tx, after, _PAGE):
        most = max(most, *(terms_of(row.terms).lease.ahead for row in rows))
        after = rows[-1].plan_id
    return most
