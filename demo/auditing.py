"""Chapter 6: the log of all this, and what happens to who edits it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections import Counter
from typing import Any

from demo.world import World

NEWEST = 8


def audit(world: World) -> None:
    """The log was shown and proved; one edited row was found and named."""
    telling, ours = world.telling, world.publisher
    telling.chapter("The log", "Every act above is in it: a Merkle log that only grows.")
    world.server.stop()
    with telling.doing("The newest events", "modelseal audit list --home shop") as step:
        words = ["modelseal", "audit", "list", "--all", "--home", "shop", "--json"]
        events = ours.runs(words).json["items"]
        kinds = Counter(event["kind"] for event in events)
        step.table = [["#", "event", "by", "reference"]]
        for event in events[-NEWEST:]:
            step.table.append(
                [str(event["index"]), event["kind"], _short(event["actor"]), event["reference"]]
            )
        step.said = [f"{len(events)} events of {len(kinds)} kinds"]
    ours.types(
        "Verified (that is an event too)", ["modelseal", "audit", "verify", "--home", "shop"],
        lines=2,
    )  # fmt: skip
    edited = _edit(world)
    done = ours.types(
        f"One row edited in a copy of the database (event {edited['index']}): found and named",
        ["modelseal", "audit", "verify", "--home", "edited"], code=4, lines=3,
    )  # fmt: skip
    named = str(edited["index"]) in done.stderr or edited["event_id"] in done.stderr
    telling.must(named, f"the edited row is not named: {done.stderr}")
    world.found["edited_row"] = edited


def _edit(world: World) -> dict[str, Any]:
    """One seat becomes nine in the row that records how the license was issued."""
    shop = world.publisher.folder / "shop"
    copy = world.publisher.folder / "edited"
    shutil.copytree(shop, copy, ignore=shutil.ignore_patterns("desk", "blobs", "recovery-kit.txt"))
    with contextlib.closing(sqlite3.connect(copy / "server" / "modelseal.db")) as database:
        index, event_id, body = database.execute(
            "SELECT idx, e.event_id, body FROM events e JOIN log_entries l"
            " ON l.event_id = e.event_id WHERE kind = 'license_issued' ORDER BY idx LIMIT 1"
        ).fetchone()
        changed = bytes(body).replace(b'"seats":1', b'"seats":9')
        world.telling.must(changed != body, "the row has no seats to edit")
        database.execute("UPDATE events SET body = ? WHERE event_id = ?", (changed, event_id))
        database.commit()
    return {"index": index, "event_id": event_id, "change": "seats 1 to 9"}


def _short(actor: str) -> str:
    kind, colon, name = actor.partition(":")
    return f"{kind}:…{name[-6:]}" if colon else kind
