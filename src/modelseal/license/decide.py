"""One law, two courts: whether a use is allowed, decided by one pure function.

``STEPS`` are asked in order, each about one thing and with one code; the first that refuses
decides. The server refuses with the code, the device only explains with it: what is not granted
is not on the device (design, laws 1 and 2). The steps themselves stand in ``_steps``.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from modelseal.errors import Misuse, ModelsealError, Refused, by_code
from modelseal.license._steps import (
    ALLOWED,
    STEPS,
    Params,
    Step,
    at_level,
    granted,
    judged_at,
    narrowed,
)
from modelseal.license.facts import Action, Facts

__all__ = [
    "ALLOWED", "STEPS", "Decision", "Step", "StepOutcome", "at_level", "decide", "explain",
    "granted", "judged_at", "narrowed",
]  # fmt: skip

_STEPS_OF = {action: tuple(s for s in STEPS if action in s.actions) for action in Action}
_SEATED = (Action.ACTIVATE, Action.TRIAL, Action.RENEW)


class Decision(Struct, frozen=True):
    """The outcome. ``code`` is ``allowed`` or a code of the error tree, ``step`` its number.

    ``params`` are the named values for the text; no secret, nothing of ``None``.
    """

    allowed: bool
    code: str
    step: int
    params: Params = {}

    def error(self, reference: str | None = None) -> ModelsealError:
        """The refusal as an error of our tree; ``Misuse`` when there is none."""
        if self.allowed:
            raise Misuse("what is allowed is no refusal")
        cls = by_code(self.code) or Refused
        params = {name: value for name, value in self.params.items() if name != "reference"}
        known = self.params.get("reference")
        known = reference or (known if isinstance(known, str) else None)
        return cls("", reference=known, **params)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What one step said: ``asked`` False when it does not concern the action."""

    number: int
    code: str
    question: str
    asked: bool
    refused: bool


def decide(facts: Facts) -> Decision:
    """The decision of ``facts``: the first step that refuses, or allowed (step 0).

    The same facts give the same decision, today and in ten years. Raises ``Misuse`` when a fact
    that the action needs was not given: an absent answer never counts as a good one.
    """
    _require(facts)
    for step in _STEPS_OF[facts.action]:
        params = step.judge(facts)
        if params is not None:
            code = str(params.pop("code", step.code))
            shown = {name: value for name, value in params.items() if value not in _EMPTY}
            return Decision(allowed=False, code=code, step=step.number, params=shown)
    return Decision(allowed=True, code=ALLOWED, step=0)


def explain(facts: Facts) -> list[StepOutcome]:
    """Every step with its answer, also those after the one that decided."""
    _require(facts)
    outcomes = []
    for step in STEPS:
        asked = facts.action in step.actions
        refused = asked and step.judge(facts) is not None
        outcomes.append(StepOutcome(step.number, step.code, step.question, asked, refused))
    return outcomes


_EMPTY: tuple[object, ...] = (None, "", (), [])


def _require(facts: Facts) -> None:
    if facts.action is not Action.LOAD and facts.asked_product is None:
        raise Misuse(f"the facts for {facts.action} lack the product asked for")
    if facts.action is Action.TRIAL and facts.license is None:
        raise Misuse("the facts for a trial lack the terms of its plan")
    if facts.action in _SEATED and facts.license is not None and facts.seat is None:
        raise Misuse(f"the facts for {facts.action} lack the outcome for the seat")
