"""Leases ahead at a relay: their codes wait here, and each is given out once its time has begun.

What opens a lease is given only to the device whose key signed the question, and that it was given
is durable before it leaves. Normative: ``docs/spec/relay.md``, section 5.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from datetime import datetime

import msgspec

from modelseal.admin import EndedLeases, GivenLeases, HeldLeases
from modelseal.errors import InvalidBytes
from modelseal.license import jws
from modelseal.types import from_numeric, to_numeric

SCHEMA = """
CREATE TABLE IF NOT EXISTS held (
    number INTEGER PRIMARY KEY AUTOINCREMENT, base TEXT NOT NULL UNIQUE, jkt TEXT NOT NULL,
    device TEXT NOT NULL, known INTEGER NOT NULL DEFAULT 0, released INTEGER NOT NULL DEFAULT 0,
    released_at INTEGER, traits TEXT, double INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS held_jkt ON held (jkt);
CREATE TABLE IF NOT EXISTS places (
    base TEXT NOT NULL, place INTEGER NOT NULL, starts INTEGER NOT NULL, ends INTEGER NOT NULL,
    code TEXT NOT NULL, PRIMARY KEY (base, place)
);
"""


def base_of(body: bytes) -> str | None:
    """The id of the lease in an answer that has leases ahead beside it."""
    with contextlib.suppress(msgspec.DecodeError, InvalidBytes, AttributeError, LookupError):
        found = msgspec.json.decode(body)
        if found.get("next"):
            lease = jws.parse(found["lease"], max_bytes=1 << 20).payload["jti"]
            return lease if isinstance(lease, str) else None
    return None


def note(db: sqlite3.Connection, jkt: str, device: str, base: str) -> None:
    """The next sync asks for the codes of the leases ahead that came with ``base``."""
    db.execute(
        "INSERT OR IGNORE INTO held (base, jkt, device) VALUES (?, ?, ?)", (base, jkt, device)
    )


def due(db: sqlite3.Connection, jkt: str, now: datetime) -> tuple[str, int, str] | None:
    """Base, place and code of the lease whose time it is, of the newest answer to this key."""
    newest = "SELECT base FROM held WHERE jkt = ? ORDER BY number DESC LIMIT 1"
    at = to_numeric(now)
    row = db.execute(
        f"SELECT base, place, code FROM places WHERE base = ({newest})"  # noqa: S608 - no input
        " AND starts <= ? AND ends > ? ORDER BY place DESC LIMIT 1",
        (jkt, at, at),
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def release(db: sqlite3.Connection, base: str, place: int, now: datetime) -> bool:
    """The place counts as given out; False when it, or a later one, had been before."""
    done = db.execute(
        "UPDATE held SET released = ?, released_at = ? WHERE base = ? AND released < ?",
        (place, to_numeric(now), base, place),
    )
    return done.rowcount == 1


def held(db: sqlite3.Connection) -> list[HeldLeases]:
    """What the server is told and asked about."""
    rows = db.execute("SELECT device, base, known, released, released_at FROM held ORDER BY number")
    return [
        HeldLeases(
            device=row[0],
            base=row[1],
            known=bool(row[2]),
            released=row[3],
            released_at=None if row[4] is None else from_numeric(row[4]),
        )
        for row in rows
    ]


def keep(db: sqlite3.Connection, given: Iterable[GivenLeases]) -> None:
    """The codes wait for their time; those of answers that are not held are left out."""
    for each in given:
        if db.execute("UPDATE held SET known = 1 WHERE base = ?", (each.base,)).rowcount:
            db.executemany(
                "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?)",
                [
                    (each.base, p.place, to_numeric(p.starts_at), to_numeric(p.ends_at), p.code)
                    for p in each.places
                ],
            )


def end(db: sqlite3.Connection, ended: Iterable[EndedLeases]) -> None:
    """Nothing of these is given out any more. What was given out since stays to be reported."""
    for each in ended:
        db.execute("DELETE FROM places WHERE base = ?", (each.base,))
        db.execute("UPDATE held SET known = 1 WHERE base = ?", (each.base,))
        db.execute(
            "DELETE FROM held WHERE base = ? AND released <= ? AND double = 0",
            (each.base, each.released),
        )
