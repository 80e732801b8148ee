"""What a license key is worth, asked before anything is spent: plan, end, seats, agreement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.license.claims import Eula, RequestClaims
from modelseal.license.decide import decide
from modelseal.license.facts import Action, Facts
from modelseal.server.services import acting, intake, judging, recorder
from modelseal.server.services.context import Context
from modelseal.server.services.denials import Refusal
from modelseal.server.services.licensing import hash_key
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store


class Holder(Struct, frozen=True, kw_only=True):
    """A device that holds a seat, by the label its user chose."""

    device_id: str
    label: str | None
    last_contact_at: datetime


class Looked(Struct, frozen=True, kw_only=True):
    """The answer to a lookup."""

    product: str
    license_id: str
    plan: str
    license_expires_at: datetime | None
    seats: int
    holders: list[Holder]
    eula: Eula | None
    event_id: str


class Lookup:
    """Telling whoever has a license key what it is for."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def look(
        self, claims: RequestClaims, opened: Callable[[bytes], None] = lambda _key_hash: None
    ) -> Looked | Refusal:
        """Plan, end, seats and holders of the license; changes nothing but the log.

        ``opened`` is told the keyed hash of the license key, known or not, and may refuse.
        """
        context, now = self._context, self._context.now()
        key_hash = hash_key(context, intake.typed_key(context, claims))
        opened(key_hash)

        def act(tx: Connection) -> Looked | Refusal:
            row = license_store.by_key_hash(tx, key_hash)
            terms = None if row is None else acting.terms(tx, row)
            known_license = None
            if terms is not None:
                known_license = judging.license_facts(terms.license, terms.plan, context.product)
            facts = Facts(
                action=Action.LOOKUP,
                now=now,
                product=context.product,
                asked_product=claims.product,
                license=known_license,
            )  # fmt: skip
            decision = decide(facts)
            if row is None or terms is None or not decision.allowed:
                return acting.refuse(
                    context, tx, facts, claims=claims, license_row=row, device=None,
                    kind=EventKind.LEASE_DENIED,
                )  # fmt: skip
            known = recorder.fresh(context, now)
            acting.record(
                tx, known, EventKind.LICENSE_LOOKED_UP, facts, decision, claims=claims,
                license_row=row, device_id=None,
            )  # fmt: skip
            return Looked(
                product=context.product,
                license_id=row.license_id,
                plan=terms.plan_name,
                license_expires_at=row.ends_at,
                seats=row.seats,
                holders=[
                    Holder(
                        device_id=device.device_id,
                        label=device.label,
                        last_contact_at=device.last_contact_at,
                    )
                    for device in device_store.holders(tx, row.license_id)
                ],
                eula=terms.plan.eula,
                event_id=known.event_id,
            )

        return context.store.write(act)
