"""What a relay with a budget gave by itself, beside what it carries: acts, counts, whom it leaves.

In the same file as the rest, so that an act, its count and its request are durable as one.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from modelseal.server.relay.box import (
    MAX_UNKNOWN,
    Box,
    Question,
    Reply,
    Sent,
    count_in,
    note_in,
    noted_in,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS acts (
    id INTEGER PRIMARY KEY, jkt TEXT NOT NULL, nonce TEXT NOT NULL, device TEXT NOT NULL,
    body BLOB NOT NULL, refused TEXT, UNIQUE (jkt, nonce)
);
CREATE TABLE IF NOT EXISTS given (jkt TEXT PRIMARY KEY, nonce TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS left_to_server (jkt TEXT PRIMARY KEY, nonce TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS stopped (device TEXT PRIMARY KEY);
"""


@dataclass(frozen=True, slots=True)
class Act:
    """What the relay gave by itself: to which question, and what the server is to book."""

    jkt: str
    nonce: str
    device: str
    body: bytes = field(repr=False)


@dataclass(slots=True)
class Spending:
    """One act that is being given; ``is_noted``: it was noted before, and is given again."""

    is_noted: bool
    _db: sqlite3.Connection = field(repr=False)

    def spent(self, kind: str) -> int:
        """How many ``seats`` or ``renewals`` were ever given."""
        return int(noted_in(self._db, f"spent_{kind}") or 0)

    def note(self, kind: str, act: Act) -> None:
        """One more is given: this act."""
        note_in(self._db, f"spent_{kind}", str(self.spent(kind) + 1))
        self._db.execute(
            "INSERT INTO acts (jkt, nonce, device, body) VALUES (?, ?, ?, ?)",
            (act.jkt, act.nonce, act.device, act.body),
        )
        self._db.execute("INSERT OR REPLACE INTO given VALUES (?, ?)", (act.jkt, act.nonce))


class Given:
    """See the module. As safe for several threads and processes as the box is."""

    def __init__(self, box: Box) -> None:
        self._box = box
        with box.reading() as db:
            db.executescript(_SCHEMA)

    def has_answer(self, question: Question) -> bool:
        """Whether the license server's answer to this very question is there."""
        with self._box.reading() as db:
            row = db.execute(
                "SELECT 1 FROM answers WHERE jkt = ? AND nonce = ? AND path = ?",
                (question.jkt, question.nonce, question.path),
            )
            return row.fetchone() is not None

    @contextlib.contextmanager
    def spending(self, jkt: str, nonce: str) -> Iterator[Spending]:
        """What is given inside is spent once, durably, or not at all; one act at a time."""
        with self._box.writing() as db:
            row = db.execute("SELECT nonce FROM given WHERE jkt = ?", (jkt,)).fetchone()
            yield Spending(row is not None and row[0] == nonce, db)

    def spent(self, kind: str) -> int:
        """How many ``seats`` or ``renewals`` were ever given."""
        return int(self._box.noted(f"spent_{kind}") or 0)

    def leaves(self, jkt: str, nonce: str) -> bool:
        """Whether a question is left to the server: it said so, or one of that key waits."""
        with self._box.reading() as db:
            left = db.execute("SELECT nonce FROM left_to_server WHERE jkt = ?", (jkt,)).fetchone()
            if left is not None and left[0] == nonce:
                return True
            row = db.execute("SELECT 1 FROM questions WHERE jkt = ? LIMIT 1", (jkt,))
            return row.fetchone() is not None

    def leave(self, jkt: str, nonce: str) -> None:
        """The question is for the server to answer, under this nonce."""
        with self._box.writing() as db:
            db.execute("INSERT OR REPLACE INTO left_to_server VALUES (?, ?)", (jkt, nonce))
            db.execute(
                "DELETE FROM left_to_server WHERE rowid NOT IN"
                " (SELECT rowid FROM left_to_server ORDER BY rowid DESC LIMIT ?)",
                (MAX_UNKNOWN,),
            )

    def is_stopped(self, device: str) -> bool:
        """Whether only the server answers the device from now on."""
        with self._box.reading() as db:
            row = db.execute("SELECT 1 FROM stopped WHERE device = ?", (device,))
            return row.fetchone() is not None

    def stop(self, devices: Iterable[str]) -> None:
        """Only the server answers these devices from now on."""
        with self._box.writing() as db:
            db.executemany("INSERT OR IGNORE INTO stopped VALUES (?)", [(d,) for d in devices])

    def go_on(self, device: str) -> None:
        """The device may be answered here again."""
        with self._box.writing() as db:
            db.execute("DELETE FROM stopped WHERE device = ?", (device,))

    def acts(self, most: int = -1) -> list[Question]:
        """What was given and is not booked yet, the oldest first, as calls of the server."""
        path = f"/v1/relays/{self._box.about.relay}/acts"
        with self._box.reading() as db:
            rows = db.execute(
                "SELECT jkt, nonce, body FROM acts WHERE refused IS NULL ORDER BY id LIMIT ?",
                (most,),
            ).fetchall()
        return [Question(jkt, nonce, "POST", path, body) for jkt, nonce, body in rows]

    def booked(self, asked: Sent, reply: Reply | None) -> None:
        """What the server said to an act: it is booked, or the server refuses to look at it."""
        if reply is None or reply.status >= 500:
            return
        key = (asked.jkt, asked.nonce)
        try:
            said = msgspec.json.decode(reply.body)
            code, state = str(said.get("code", "")), said.get("state")
        except (msgspec.DecodeError, AttributeError):
            return
        with self._box.writing() as db:
            if state is None:
                db.execute("UPDATE acts SET refused = ? WHERE jkt = ? AND nonce = ?", (code, *key))
                return
            row = db.execute("SELECT device FROM acts WHERE jkt = ? AND nonce = ?", key).fetchone()
            db.execute("DELETE FROM acts WHERE jkt = ? AND nonce = ?", key)
            if row is not None and said.get("goes_on") is False:
                db.execute("INSERT OR IGNORE INTO stopped VALUES (?)", row)
            if state == "overdrawn" and row is not None:
                count_in(db, "budget_overdrawn")
                note_in(db, "budget_why", str(said.get("why"))[:64])

    def note(self, **values: str) -> None:
        """``values`` are noted under their names."""
        with self._box.writing() as db:
            for name, value in values.items():
                note_in(db, name, value)
