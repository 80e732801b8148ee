"""A recorded decision as support reads it: the step that decided, every other step, the scores.

With another moment it is a dry run: the recorded facts, judged as if they were asked then.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelseal.cli import spans, tables, talk
from modelseal.errors import Misuse

if TYPE_CHECKING:
    from modelseal.admin import Explanation
    from modelseal.license.facts import Facts


def again(found: Explanation, at: str | None) -> dict[str, Any]:
    """What ``--json`` shows: the explanation, the steps, and the dry run where one is wanted."""
    from modelseal.license.facts import from_json

    facts = from_json(found.facts)
    shown: dict[str, Any] = {**talk.plain(found), "steps": _steps(facts), "dry_run": None}
    if at is not None:
        shown["dry_run"] = _dry_run(facts, _moment(at, facts.now))
    return shown


def tell(shown: dict[str, Any]) -> None:
    """The same for people, on stdout."""
    dry = shown["dry_run"]
    match = shown["facts"].get("device", {}).get("match")
    lines: list[tuple[str, object]] = [
        ("reference", shown["reference"]),
        ("at", shown["at"]),
        ("action", shown["action"]),
        ("decision", _decision(shown)),
        ("step", shown["step"]),
        ("license", shown["license_id"]),
        ("device", shown["device_id"]),
        ("parameters", shown["params"]),
        ("judged again", "the same answer" if shown["replayed"] else "a different answer"),
        ("traits matched", None if match is None else _score(match)),
    ]
    if dry is not None:
        lines += [("dry run at", dry["at"]), ("it would be", _decision(dry))]
        lines += [("at step", dry["step"]), ("with", dry["params"])]
    tables.pairs(lines)
    if shown["traits"]:
        traits = [(each["kind"], each["state"]) for each in shown["traits"]]
        tables.table("Traits", ("trait", "state"), traits)
    steps = shown["steps"] if dry is None else dry["steps"]
    rows = [(each["step"], each["question"], each["answer"], each["code"]) for each in steps]
    tables.table("Steps", ("step", "question", "answer", "code"), rows)


def _dry_run(facts: Facts, at: datetime) -> dict[str, Any]:
    import msgspec

    from modelseal.license.decide import decide

    then = msgspec.structs.replace(facts, now=at)
    decision = decide(then)
    return {
        "at": talk.plain(at),
        "allowed": decision.allowed,
        "code": None if decision.allowed else decision.code,
        "step": str(decision.step),
        "params": talk.plain(decision.params),
        "steps": _steps(then),
    }


def _steps(facts: Facts) -> list[dict[str, object]]:
    """The steps that concern the action, also those after the one that decided."""
    from modelseal.license.decide import explain

    return [
        {
            "step": each.number,
            "question": each.question,
            "answer": "no" if each.refused else "yes",
            "code": each.code if each.refused else None,
        }
        for each in explain(facts)
        if each.asked
    ]


def _moment(text: str, decided: datetime) -> datetime:
    end = spans.end(text)
    if end.never:
        raise Misuse("--at is a date, or a time after the decision such as 30d")
    return end.at or decided + timedelta(seconds=end.in_seconds or 0)


def _decision(shown: dict[str, Any]) -> str:
    return "allowed" if shown["allowed"] else f"refused: {shown['code']}"


def _score(match: dict[str, Any]) -> str:
    same = "the same computer" if match["same_computer"] else "not enough for the same computer"
    share = f"{match['score']:.0%} of weight {match['enrolled_weight']}"
    return f"{share}, {match['live']} live: {same}"
