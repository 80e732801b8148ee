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
from modelseal.server.relay.counting import Counting

_SCHEMA = """
CREATE TABLE IF NOT EXISTS acts (
    id INTEGER PRIMARY KEY, jkt TEXT NOT NULL, nonce TEXT NOT NULL, device TEXT NOT NULL,
    body BLOB NOT NULL, kind TEXT NOT NULL, told INTEGER NOT NULL DEFAULT 0, refused TEXT,
    UNIQUE (jkt, nonce)
);
CREATE TABLE IF NOT EXISTS given (
    jkt TEXT PRIMARY KEY, nonce TEXT NOT NULL, kem TEXT NOT NULL, status INTEGER NOT NULL,
    body BLOB NOT NULL, device TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS left_to_server (jkt TEXT PRIMARY KEY, nonce TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS stopped (device TEXT PRIMARY KEY);
"""
_UNTOLD = "told != 1 AND refused IS NULL"
_STATES = frozenset({"booked", "again", "forked", "overdrawn"})
_PAGE = 64
MAX_TOLD = 4096
"""Acts that are kept though the server was told of them: it may be restored, a courier may lie."""


@dataclass(frozen=True, slots=True)
class Act:
    """What the relay gave by itself: to which question, and what the server is to book."""

    jkt: str
    nonce: str
    device: str
    body: bytes = field(repr=False)
    kem: str
    reply: Reply


@dataclass(slots=True)
class Spending:
    """One act that is being given; ``is_noted``: it was before, and ``reply`` was the answer."""

    is_noted: bool
    reply: Reply | None
    _db: sqlite3.Connection = field(repr=False)
    _held: bytes = field(default=b"", repr=False)

    def spent(self, kind: str) -> int:
        """How many ``seats`` or ``renewals`` were ever given."""
        return int(noted_in(self._db, f"spent_{kind}") or 0)

    def settle(self, counting: Counting | None) -> None:
        """The counts that lie here are the newest ones; ``RolledBack``."""
        if counting is not None:
            self._held = counting.settle(self._db)

    def note(self, kind: str, act: Act, counting: Counting | None) -> None:
        """One more is given: this act."""
        note_in(self._db, f"spent_{kind}", str(self.spent(kind) + 1))
        self._db.execute(
            "INSERT INTO acts (jkt, nonce, device, body, kind) VALUES (?, ?, ?, ?, ?)",
            (act.jkt, act.nonce, act.device, act.body, kind),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO given (jkt, nonce, kem, status, body, device)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (act.jkt, act.nonce, act.kem, act.reply.status, act.reply.body, act.device),
        )
        if counting is not None:
            counting.note(self._db, self._held)


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
    def spending(self, jkt: str, nonce: str, kem: str) -> Iterator[Spending]:
        """What is given inside is spent once, durably, or not at all; one act at a time."""
        with self._box.writing() as db:
            row = db.execute(
                "SELECT status, body, device, kem FROM given WHERE jkt = ? AND nonce = ?",
                (jkt, nonce),
            ).fetchone()
            reply = None
            if row is not None and row[3] == kem:
                reply = Reply(row[0], "application/json", row[1], device=row[2])
            yield Spending(row is not None, reply, db)

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
                f"SELECT jkt, nonce, body FROM acts WHERE {_UNTOLD} ORDER BY id LIMIT ?",  # noqa: S608 - no input
                (most,),
            ).fetchall()
        return [Question(jkt, nonce, "POST", path, body) for jkt, nonce, body in rows]

    def each(self) -> Iterator[Question]:
        """The same, a few in memory at a time, each of them once."""
        path, last = f"/v1/relays/{self._box.about.relay}/acts", 0
        while True:
            with self._box.reading() as db:
                rows = db.execute(
                    f"SELECT id, jkt, nonce, body FROM acts WHERE {_UNTOLD} AND id > ?"  # noqa: S608 - no input
                    " ORDER BY id LIMIT ?",
                    (last, _PAGE),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for _id, jkt, nonce, body in rows:
                yield Question(jkt, nonce, "POST", path, body)

    def untold(self) -> int:
        """How many acts the server is to be told."""
        with self._box.reading() as db:
            return _untold(db, "seats") + _untold(db, "renewals")

    def refused(self) -> tuple[int, str | None]:
        """How many acts the server refuses to look at, and with which code the newest."""
        with self._box.reading() as db:
            rows = db.execute(
                "SELECT refused FROM acts WHERE refused IS NOT NULL ORDER BY id"
            ).fetchall()
        return len(rows), (rows[-1][0] if rows else None)

    def booked(self, asked: Sent, reply: Reply | None) -> None:
        """What the server said to an act: it is booked, or the server refuses to look at it.

        It is kept: a restored server may ask for it once more.
        """
        if reply is None or reply.status >= 500:
            return
        said = _said(reply.body)
        key = (asked.jkt, asked.nonce)
        with self._box.writing() as db:
            row = db.execute(
                "SELECT device, told FROM acts WHERE jkt = ? AND nonce = ?", key
            ).fetchone()
            if row is None or (said.state is None and said.code is None):
                return
            device, told = row
            if said.state is None and not told:
                db.execute(
                    "UPDATE acts SET refused = ? WHERE jkt = ? AND nonce = ?", (said.code, *key)
                )
                return
            db.execute("UPDATE acts SET told = 1 WHERE jkt = ? AND nonce = ?", key)
            db.execute(
                "DELETE FROM acts WHERE told = 1 AND id NOT IN"
                " (SELECT id FROM acts WHERE told = 1 ORDER BY id DESC LIMIT ?)",
                (MAX_TOLD,),
            )
            if not said.goes_on:
                db.execute("INSERT OR IGNORE INTO stopped VALUES (?)", (device,))
            if said.state == "overdrawn" and not told:
                count_in(db, "budget_overdrawn")
                note_in(db, "budget_why", str(said.why)[:64])

    def tell_again(self) -> None:
        """Every act that is kept is told at the next sync: the server has forgotten some."""
        with self._box.writing() as db:
            tell_again_in(db)

    def take(
        self, budget: str, kek: str, *, seats: int, renewals: int, counting: Counting | None
    ) -> None:
        """A new delegation is noted; so much the server has booked by all of them."""
        with self._box.writing() as db:
            settle_in(db, "seats", seats)
            settle_in(db, "renewals", renewals)
            note_in(db, "budget", budget)
            note_in(db, "kek", kek)
            note_in(db, "stopped_why", "")
            if counting is not None:
                counting.begin(db)
        self.settle(counting)

    def settle(self, counting: Counting | None) -> None:
        """What was noted last counts in the TPM, too, from now on."""
        if counting is not None:
            with self._box.writing() as db:
                counting.settle(db)

    def note(self, **values: str) -> None:
        """``values`` are noted under their names."""
        with self._box.writing() as db:
            for name, value in values.items():
                note_in(db, name, value)


@dataclass(frozen=True, slots=True)
class _Said:
    state: str | None = None
    code: str | None = None
    goes_on: bool = True
    why: object = None


def _said(body: bytes) -> _Said:
    """What an answer to an act says; nothing where it has an unknown form."""
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return _Said()
    if not isinstance(said, dict):
        return _Said()
    state, code = said.get("state"), said.get("code")
    return _Said(
        state if isinstance(state, str) and state in _STATES else None,
        code[:64] if isinstance(code, str) else None,
        said.get("goes_on") is not False,
        said.get("why"),
    )


def tell_again_in(db: sqlite3.Connection) -> None:
    """See ``Given.tell_again``."""
    db.execute("UPDATE acts SET told = 2 WHERE told = 1")
    db.execute("UPDATE acts SET refused = NULL")


def settle_in(db: sqlite3.Connection, kind: str, booked: int) -> None:
    """``spent`` is what the server has booked and what it is still to be told.

    Where it has booked less than it once said, it is told all of it again; where it has booked
    more than this folder knows, the folder is an older one.
    """
    spent = int(noted_in(db, f"spent_{kind}") or 0)
    if booked < spent - _untold(db, kind):
        tell_again_in(db)
    note_in(db, f"spent_{kind}", str(booked + _untold(db, kind)))


def _untold(db: sqlite3.Connection, kind: str) -> int:
    count = f"SELECT count(*) FROM acts WHERE kind = ? AND {_UNTOLD}"  # noqa: S608 - no input
    return int(db.execute(count, (kind,)).fetchone()[0])
