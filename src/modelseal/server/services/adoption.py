"""A restored server is not a thief: what to do with a device that knows more than the store.

A lease of ours that the store does not know, or with a higher number, is adopted when it was given
out between snapshot and restore of a recorded restore; otherwise nothing is decided (503).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.errors import InvalidBytes, NotFound, StoreBehind
from modelseal.license import tokens
from modelseal.license.claims import LeaseClaims, RequestClaims
from modelseal.server.services import judging, recorder, statuses
from modelseal.server.services.context import Context
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import packing
from modelseal.server.store import prepared as prepared_store
from modelseal.server.store import seats as seat_store
from modelseal.server.store import tokens as token_store
from modelseal.server.store.engine import settle
from modelseal.server.store.rows import DeviceRow
from modelseal.types import from_numeric

MAX_AHEAD = 100_000
"""How many denials may have followed the lease that is shown: years of them, asked for in vain."""


def knows(row: DeviceRow | None, claims: RequestClaims) -> bool:
    """True when the store knows the device and has seen its newest number."""
    return row is not None and claims.seq <= row.seq


def adopt(context: Context, claims: RequestClaims, device_id: str, now: datetime) -> None:
    """The device stands in the store as its lease says it does.

    Raises ``StoreBehind`` when the request shows no lease (the client then shows it) or no
    recorded restore explains it, and ``NotFound`` when what it shows is no lease of this device.
    """
    if claims.seq == 0:  # whoever was answered once knows a number
        raise NotFound("no such device", device=device_id)
    if claims.lease_token is None:
        raise StoreBehind("the store does not know this lease", device=device_id)
    try:
        lease = tokens.read(claims.lease_token, LeaseClaims, context.trust)
    except InvalidBytes:
        raise NotFound("no such device", device=device_id) from None
    if claims.seq > lease.seq + MAX_AHEAD:
        raise StoreBehind("no answer has the number that the device names", device=device_id)
    mine = (lease.sub, lease.cnf.jkt) == (device_id, claims.iss)
    if not mine or lease.seq > claims.seq or lease.exp <= now.timestamp():
        raise NotFound("no such device", device=device_id)
    behind = context.store.write(lambda tx: _adopt(context, tx, claims, lease, now))
    if not behind:
        raise StoreBehind("the store is behind this lease", device=device_id)


def _adopt(
    context: Context, tx: Connection, claims: RequestClaims, lease: LeaseClaims, now: datetime
) -> bool:
    """True when adopted; either way the alarm stands in the log."""
    known = recorder.fresh(context, now)
    restore = token_store.restore_covering(tx, from_numeric(lease.iat))
    if restore is None:
        # Made ahead by this very store, which forgot that it told the code.
        restore = prepared_store.lease(tx, lease.lic, lease.sub, lease.jti)
    license_row = license_store.get(tx, lease.lic)
    if license_row is not None:
        license_store.lock(tx, lease.lic)
    row = device_store.get(tx, lease.sub, lease.lic)
    if knows(row, claims):
        return True  # another request of the device was faster
    done = restore is not None and license_row is not None
    if done and row is None:
        seat = seat_store.offer(tx, lease.lic, now)
        done = seat is not None
        if seat is not None:
            row = _row(claims, lease, known, seat, now)
            status_list, status_idx = statuses.place(context, tx, lease.status)
            row = replace(row, status_list=status_list, status_idx=status_idx)
            settle(device_store.add(tx, row, now))
    if done and row is not None:
        settle(device_store.change(
            tx, row, seq=claims.seq, lease_id=lease.jti, lease_seq=lease.seq,
            last_jti=claims.prev or lease.jti, lease_iat=from_numeric(lease.iat),
            lease_exp=from_numeric(lease.exp), asked_seq=None, answer=None,
            question=packing.question(lease.request_nonce), last_contact_at=now,
            jkt=claims.iss, jwk=dict(claims.jwk),
        ))  # fmt: skip
    kind = EventKind.LEASE_ADOPTED if done else EventKind.STORE_BEHIND
    recorder.record(
        tx, known, kind, at=now, actor=f"device:{lease.sub}",
        subjects={"license": lease.lic, "device": lease.sub},
        params={"lease": lease.jti, "seq": claims.seq, "adopted": done, "restore": restore},
    )  # fmt: skip
    return done


def _row(
    claims: RequestClaims,
    lease: LeaseClaims,
    known: recorder.Recorded,
    seat: seat_store.Offer,
    now: datetime,
) -> DeviceRow:
    return DeviceRow(
        license_id=lease.lic,
        device_id=lease.sub,
        jkt=claims.iss,
        jwk=dict(claims.jwk),
        label=claims.label,
        state=device_store.ACTIVE,
        held=False,
        traits=judging.stored(claims.traits),
        presented=judging.stored(claims.traits),
        bound=lease.bound,
        drift=0,
        level=lease.level,
        enforcement=lease.enforcement,
        status_list=0,
        status_idx=0,
        status_value=0,
        seat_no=seat.seat_no,
        prior_until=seat.prior_until,
        seq=lease.seq,
        last_jti=lease.jti,
        lease_id=lease.jti,
        lease_seq=lease.seq,
        lease_iat=from_numeric(lease.iat),
        lease_exp=from_numeric(lease.exp),
        bundle=None,
        question=packing.question(lease.request_nonce),
        license_rev=0,
        license_iat=None,
        activated_at=from_numeric(lease.iat),
        last_contact_at=now,
        ended_at=None,
        reason=None,
        event_id=known.event_id,
    )
