"""Plans: versioned data; a license keeps the version it was issued with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from modelseal.admin import Page, PlanDraft, PlanRecord
from modelseal.audit import EventKind
from modelseal.errors import ConfigInvalid, Conflict, InternalError, Misuse, NotFound
from modelseal.license import plans as plan_rules
from modelseal.license.plans import Plan
from modelseal.server.services import recorder, replay
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import Context, plain
from modelseal.server.services.idempotency import once
from modelseal.server.services.paging import page_of
from modelseal.server.store import plans as store
from modelseal.server.store.rows import PlanRow

_MAX_KEPT = 1000


def terms_of(value: dict[str, Any]) -> Plan:
    """The terms in a stored plan."""
    try:
        return plan_rules.parse(value)
    except ConfigInvalid:
        raise InternalError("a stored plan is not readable") from None


class KeptPlans:
    """Versions of plans, which never change but by a restore.

    A restore moves the number of the trust; what was kept under another one is forgotten.
    """

    def __init__(self) -> None:
        self._kept: tuple[int, dict[tuple[str, int], tuple[str, Plan]]] = (-1, {})

    def terms(self, tx: Connection, number: int, plan_id: str, version: int) -> tuple[str, Plan]:
        """Name and terms of a version; ``number`` is that of the trust in this transaction."""
        kept, plans = self._kept
        if kept != number or len(plans) > _MAX_KEPT:
            plans = {}
            self._kept = (number, plans)
        plan = plans.get((plan_id, version))
        if plan is None:
            row = store.terms(tx, plan_id, version)
            if row is None:
                raise InternalError("a license's plan is missing")
            plan = plans[plan_id, version] = (row[0], terms_of(row[1]))
        return plan


def check(terms: Plan) -> None:
    """Returns when this release carries out every term; ``ConfigInvalid`` names the first other.

    A term that nothing enforces would be a promise to the publisher that nobody keeps.
    """
    plan_rules.check(terms)
    level, most = terms.binding.min_level, plan_rules.LEASE_LEVEL
    if level > most:
        raise ConfigInvalid(
            f"plan: binding.min_level is at most {most}, what a device proves for a lease; demand"
            f" more of each entitlement: --entitlement NAME@L{level}"
        )


class Plans:
    """Creating, changing and showing plans."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(self, actor: Actor, draft: PlanDraft) -> PlanRecord:
        """Version 1 of a new plan; the same draft again is answered with what is there."""
        actor.need(Right.PLANS)
        check(draft.terms)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)
        row = PlanRow(
            plan_id=context.new_id("pln", now),
            name=draft.name,
            version=1,
            terms=plain(draft.terms),
            created_at=now,
            changed_at=now,
            event_id=known.event_id,
        )

        def act(tx: Connection) -> PlanRow:
            if not store.add(tx, row):
                found = _find(tx, draft.name)
                if found.version == 1 and terms_of(found.terms) == draft.terms:
                    return found
                raise Conflict("a plan of this name exists", name=draft.name)
            self._record(tx, known, EventKind.PLAN_CREATED, actor, row)
            return row

        return _shown(context.store.write(act))

    def update(
        self,
        actor: Actor,
        which: str,
        draft: PlanDraft,
        *,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> PlanRecord:
        """The next version; licenses issued before keep theirs.

        ``version`` is the one that was read; ``Conflict`` when another is in force.
        """
        actor.need(Right.PLANS)
        check(draft.terms)
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> PlanRecord:
            found = _find(tx, which)
            if version is not None and version != found.version:
                raise Conflict("the plan was changed since it was read", version=found.version)
            if found.name != draft.name:
                raise Misuse("a plan keeps its name", name=found.name)
            if not store.add_version(tx, found, plain(draft.terms), now, known.event_id):
                raise Conflict("the plan was changed at the same moment", name=found.name)
            row = _find(tx, which)
            self._record(tx, known, EventKind.PLAN_CHANGED, actor, row)
            return _shown(row)

        question = ["plan_update", which, draft, version]
        return once(context, actor.name, idempotency_key, question, act, PlanRecord)

    def show(self, actor: Actor, which: str) -> PlanRecord:
        """The newest version of a plan, by name or id."""
        actor.need(Right.READ)
        return _shown(self._context.store.read(_find, which))

    def list(self, actor: Actor, cursor: str | None) -> Page[PlanRecord]:
        """Every plan."""
        actor.need(Right.READ)
        rows = page_of(self._context, cursor, store.page, lambda row: row.plan_id)
        return Page(items=[_shown(row) for row in rows.items], next_cursor=rows.next_cursor)

    def _record(
        self,
        tx: Connection,
        known: recorder.Recorded,
        kind: EventKind,
        actor: Actor,
        row: PlanRow,
    ) -> None:
        recorder.record(
            tx, known, kind, at=row.changed_at, actor=actor.name,
            subjects={"plan": row.plan_id},
            params={"name": row.name, "version": row.version, "terms": _told(row.terms)},
        )  # fmt: skip


def _told(terms: dict[str, Any]) -> dict[str, Any]:
    """The terms as the log holds them: without floats, and under no names but the house's."""
    told = dict(terms)
    if least := terms.get("min_releases"):
        told["min_releases"] = [{"model": m, "release": r} for m, r in sorted(least.items())]
    binding = terms.get("binding")
    if binding and (weights := binding.get("weights")):
        each = [{"trait": kind, "weight": weight} for kind, weight in sorted(weights.items())]
        told["binding"] = {**binding, "weights": each}
    return dict(replay.floatless(told))


def _find(tx: Connection, which: str) -> PlanRow:
    row = store.find(tx, which)
    if row is None:
        raise NotFound("no such plan", name=which)
    return row


def _shown(row: PlanRow) -> PlanRecord:
    return PlanRecord(
        plan_id=row.plan_id,
        name=row.name,
        version=row.version,
        terms=terms_of(row.terms),
        created_at=row.created_at,
        changed_at=row.changed_at,
        event_id=row.event_id,
    )
