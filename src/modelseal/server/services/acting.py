"""What every device call does with a decision: record it with its facts, then answer or refuse."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from modelseal import strict_json
from modelseal.audit import EventKind
from modelseal.errors import InternalError, NotFound
from modelseal.license.claims import RequestClaims
from modelseal.license.decide import Decision, decide
from modelseal.license.facts import Action, DeviceFacts, Facts
from modelseal.server.services import denials, duplicates, intake, recorder
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.issuing import Answer, Issuing, Terms, has_license
from modelseal.server.services.plans import terms_of
from modelseal.server.services.proving import Proof
from modelseal.server.services.replay import recorded
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import plans as plan_store
from modelseal.server.store.engine import Again
from modelseal.server.store.events import Entry
from modelseal.server.store.rows import DeviceRow, LicenseRow
from modelseal.server.store.together import Group

_REPEATABLE = frozenset({Action.RELEASE, Action.LOOKUP})
"""Allowed once or often, these change nothing."""
_HOLDERS_BYTES = 6000
"""What they may take of a denial, which has 16 KiB with two signatures and base64."""


def terms(tx: Connection, row: LicenseRow) -> Terms:
    """The license with the plan version it was issued with."""
    found = plan_store.terms(tx, row.plan_id, row.plan_version)
    if found is None:
        raise InternalError("a license's plan is missing")
    return Terms(row, found[0], terms_of(found[1]))


def record(
    tx: Connection,
    known: recorder.Recorded,
    kind: EventKind,
    facts: Facts,
    decision: Decision,
    *,
    claims: RequestClaims,
    license_row: LicenseRow | None,
    device_id: str | None,
    more: Mapping[str, Any] | None = None,
    group: Group | None = None,
) -> None:
    """The decision stands in the log with its facts, so that it can be replayed.

    The request counts as answered: it proves nothing when it comes again. Both are written with
    those of the ``group`` where there is one.
    """
    if facts.action not in _REPEATABLE or not decision.allowed:
        duplicates.remember(tx, claims, group)
    entry = entry_of(
        known, kind, facts, decision, claims=claims, license_row=license_row,
        device_id=device_id, more=more,
    )  # fmt: skip
    if group is None:
        recorder.write(tx, [entry])
    else:
        group.later(recorder.write, [entry])


def entry_of(
    known: recorder.Recorded,
    kind: EventKind,
    facts: Facts,
    decision: Decision,
    *,
    claims: RequestClaims,
    license_row: LicenseRow | None,
    device_id: str | None,
    more: Mapping[str, Any] | None = None,
) -> Entry:
    """The event that ``record`` writes."""
    return recorder.entry_of(
        known,
        kind,
        at=facts.now,
        actor=f"device:{device_id}" if device_id else "device",
        subjects={
            "license": license_row.license_id if license_row else None,
            "customer": license_row.customer_id if license_row else None,
            "device": device_id,
            "key": claims.iss,
        },
        params={
            "action": facts.action.value,
            "code": decision.code,
            "step": decision.step,
            "facts": recorded(facts),
            **(more or {}),
        },
        decision=True,
    )


def refuse(
    context: Context,
    tx: Connection,
    facts: Facts,
    *,
    claims: RequestClaims,
    license_row: LicenseRow | None,
    device: DeviceRow | None,
    kind: EventKind,
    more: Mapping[str, object] | None = None,
    changes: Mapping[str, Any] | None = None,
    in_chain: bool = True,
    told: Mapping[str, Any] | None = None,
) -> Refusal:
    """The refusal of ``facts``, recorded; in a chain it takes the next number of the device.

    ``more`` are further parameters of the denial, ``told`` of the event.
    """
    now = facts.now
    known = recorder.fresh(context, now)
    decision = decide(facts)
    chained = in_chain and denials.is_chained(facts.action, device)
    seq = device.seq + 1 if chained and device is not None else 0
    refusal = denials.sign(
        context, claims, decision, known, now,
        chained=chained, device=device, seq=seq, more=more,
    )  # fmt: skip
    record(
        tx, known, kind, facts, decision, claims=claims, license_row=license_row,
        device_id=device.device_id if device else None, more={"seq": seq, **(told or {})},
    )  # fmt: skip
    if chained and device is not None:
        written = device_store.change(
            tx, device, seq=seq, last_jti=refusal.jti, last_contact_at=now,
            event_id=known.event_id, **(changes or {}),
        )  # fmt: skip
        if not written:
            raise Again
    return refusal


def again(
    tx: Connection,
    issuing: Issuing,
    terms: Terms,
    device: DeviceRow,
    claims: RequestClaims,
    now: datetime,
    *,
    license_too: bool,
    proof: Proof,
) -> Answer:
    """The answer to a question whose reply was lost; with a license token where one is needed."""
    device_store.hold(tx, device)
    answer = issuing.again(
        tx, terms, device, intake.kem_key(claims), now, nonce=claims.nonce,
        with_license=license_too, proof=proof,
    )  # fmt: skip
    duplicates.remember_repetition(tx, claims)
    if answer.license is not None and not has_license(device):
        values = {"license_rev": terms.license.rev, "license_iat": now}
        under = [terms.license.plan_id, terms.license.plan_version]
        kept = {**(device.answer or {}), "license": [*answer.kept["license"], *under]}
        if not device_store.change(tx, device, answer=kept, **values):
            raise Again
    return answer


def holders_told(tx: Connection, license_id: str) -> dict[str, object]:
    """Who holds the seats, for whoever entered the license key: labels and last contact.

    Of many those that were silent longest, as many as a denial has room for.
    """
    told: dict[str, list[Any]] = {"holders": [], "devices": []}
    left = _HOLDERS_BYTES
    for row in device_store.holders(tx, license_id):
        device = {
            "device_id": row.device_id,
            "label": row.label or "",
            "last_contact_at": _text(row.last_contact_at),
        }
        name = _named(row)
        left -= len(strict_json.encode_plain([name, device]))
        if left < 0:
            break
        told["holders"].append(name)
        told["devices"].append(device)
    return dict(told)


def _named(row: DeviceRow) -> str:
    label = f"{row.label}, " if row.label else ""
    return f"{label}{row.device_id}, last contact {_text(row.last_contact_at)}"


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def replaced(facts: Facts, **changes: Any) -> Facts:
    """``facts`` with some of them replaced."""
    return msgspec.structs.replace(facts, **changes)


def with_moved(facts: DeviceFacts, moved: tuple[str, ...]) -> DeviceFacts:
    """``facts`` naming the kinds of traits in which two branches differ."""
    return msgspec.structs.replace(facts, moved=moved)


def device(tx: Connection, device_id: str) -> DeviceRow:
    """The device with this id; ``NotFound``."""
    row = device_store.get(tx, device_id)
    if row is None:
        raise NotFound("no such device", device=device_id)
    return row


def license_of(tx: Connection, device_row: DeviceRow) -> LicenseRow:
    """The license of a device."""
    row = license_store.get(tx, device_row.license_id)
    if row is None:
        raise InternalError("a device's license is missing")
    return row


def license_row(tx: Connection, license_id: str) -> LicenseRow:
    """The license with this id."""
    row = license_store.get(tx, license_id)
    if row is None:
        raise InternalError("a license is missing")
    return row
