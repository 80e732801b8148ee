"""Why a decision fell as it did: its recorded facts, judged again by the same function."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection

from modelseal.admin import Explanation, TraitShift
from modelseal.errors import InternalError, InvalidBytes, NotFound
from modelseal.ids import normal_reference
from modelseal.license.decide import decide
from modelseal.license.facts import Facts, from_json
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import Context
from modelseal.server.services.log import shown_event
from modelseal.server.store import events as store
from modelseal.server.store.rows import EventRow


class Explaining:
    """Finding decisions for support."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def explain(self, actor: Actor, which: str) -> Explanation:
        """The decision with this reference or event id, or the newest of a license or device."""
        actor.need(Right.READ)
        row = self._context.store.read(_find, which)
        if row is None:
            raise NotFound("no decision of that reference", reference=which[:64])
        event = shown_event(row)
        try:
            facts = from_json(event.params["facts"])
        except (KeyError, InvalidBytes):
            raise InternalError("the recorded facts are not readable") from None
        decision = decide(facts)
        recorded = str(event.params.get("code"))
        return Explanation(
            reference=event.reference,
            event_id=event.event_id,
            at=event.at,
            action=facts.action.value,
            allowed=decision.allowed,
            code=None if decision.allowed else decision.code,
            step=str(decision.step),
            params=_as_sent(decision.params),
            facts=_as_sent(facts.to_builtins()),
            traits=_traits(facts),
            replayed=recorded == decision.code and event.params.get("step") == decision.step,
            license_id=event.subjects.get("license"),
            device_id=event.subjects.get("device"),
        )


def _find(tx: Connection, which: str) -> EventRow | None:
    if which.startswith("evt_"):
        found = store.get(tx, which)
        return found if found is not None and found.decision else None
    if which.startswith("lic_"):
        return store.newest_decision(tx, license_id=which)
    if which.startswith("dev_"):
        return store.newest_decision(tx, device_id=which)
    return store.decision_by_reference(tx, normal_reference(which[:64]))


def _as_sent(value: object) -> Any:
    """``value`` as it comes out of JSON, so that both doors show the same."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _traits(facts: Facts) -> list[TraitShift]:
    moved = [TraitShift(kind=kind, state="moved") for kind in facts.device.moved]
    missing = [_missing(text) for text in facts.device.missing]
    return [*moved, *missing]


def _missing(text: str) -> TraitShift:
    kind, _, why = text.partition(": ")
    return TraitShift(kind=kind, state=f"missing ({why})" if why else "missing")
