"""What a relay holds: questions on their way out, answers on their way in, signed documents.

One SQLite file, written durably before anything is said to anybody, so that a stop at any moment
loses nothing; the sealed models lie beside it as files named by their digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from modelseal import ids
from modelseal.admin import HeldLeases, Relayed, RelayReport, RelaySynced, ServedDevice
from modelseal.device import tolerance
from modelseal.errors import DiskFull, InputMissing, OutputExists, StorageFailed
from modelseal.license.claims import RequestClaims, TraitDigest
from modelseal.server.relay import ahead
from modelseal.server.relay.documents import is_newer
from modelseal.types import to_numeric

FILE = "relay.sqlite3"
MAX_QUESTIONS = 100_000
MAX_UNKNOWN = 10_000
"""Of these, from device keys that no answer was ever given to: anybody can make one."""
MAX_OF_ONE = 4
MAX_WANTED = 100_000
MAX_ASKED_FOR = 64
"""Of these, because somebody asked for them: everybody can."""
_ANSWER_BYTES, _ANSWER_PARTS = 32 << 10, 8
"""What an answer may take of a courier's file: a lease, and one ahead for each key asked with."""
_BUSY_SECONDS = 15.0
_NAMED = 64
_COUNTS = ("carried", "handed", "repeated", "released")
_RENEWALS = "/v1/leases/"
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE questions (
    jkt TEXT NOT NULL, nonce TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
    known INTEGER NOT NULL, at INTEGER NOT NULL, token BLOB NOT NULL, PRIMARY KEY (jkt, nonce)
);
CREATE INDEX questions_known ON questions (known);
CREATE TABLE answers (
    jkt TEXT NOT NULL, nonce TEXT NOT NULL, path TEXT NOT NULL, device TEXT,
    status INTEGER NOT NULL, media TEXT NOT NULL, body BLOB NOT NULL, final INTEGER NOT NULL,
    handed INTEGER NOT NULL, traits TEXT, double INTEGER NOT NULL, PRIMARY KEY (jkt, nonce)
);
CREATE TABLE devices (jkt TEXT PRIMARY KEY);
CREATE TABLE documents (path TEXT PRIMARY KEY, media TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE wanted (path TEXT PRIMARY KEY);
"""


@dataclass(frozen=True, slots=True)
class About:
    """Whose relay it is."""

    relay: str
    server: str
    product: str


@dataclass(frozen=True, slots=True)
class Question:
    """One device call on its way to the server, as it came."""

    jkt: str
    nonce: str
    method: str
    path: str
    token: bytes = field(repr=False)

    @property
    def sent(self) -> Sent:
        """What its answer names."""
        return Sent(self.jkt, self.nonce, self.path, digest(self.token))


@dataclass(frozen=True, slots=True)
class Sent:
    """The sending that an answer is to."""

    jkt: str
    nonce: str
    path: str
    digest: bytes


def digest(token: bytes) -> bytes:
    """What tells one sending of a question from another."""
    return hashlib.sha256(token).digest()


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's answer to a device call, as it came. ``final``: it ends the question."""

    status: int
    media: str
    body: bytes = field(repr=False)
    final: bool = True
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Something signed, as the server has it under ``path``."""

    path: str
    media: str
    body: bytes = field(repr=False)


def make(folder: Path, *, server: str, product: str, now: datetime, random: ids.Random) -> About:
    """A fresh relay in ``folder``; ``OutputExists`` where one is."""
    path = folder / FILE
    if path.exists():
        raise OutputExists("a relay is there", path=str(folder))
    about = About(ids.new_id("rly", now, random), server, product)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "models").mkdir(mode=0o700, exist_ok=True)
        with contextlib.closing(_connect(path)) as db:
            db.executescript("BEGIN IMMEDIATE;" + _SCHEMA + ahead.SCHEMA)
            rows = [("relay", about.relay), ("server", server), ("product", product)]
            db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
            db.execute("COMMIT")
        path.chmod(0o600)
    except (OSError, sqlite3.Error) as error:
        raise _translate(error, folder) from None
    return about


class Box:
    """The relay in ``folder``. Safe for several threads and processes; close it when done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = folder / "models"
        if not (folder / FILE).is_file():
            raise InputMissing("there is no relay; `modelseal server relay init` makes one",
                               path=str(folder))  # fmt: skip
        self._lock = threading.RLock()  # what is given looks at the box while it is noted
        try:
            self._db = _connect(folder / FILE)
            self._db.executescript(ahead.SCHEMA)  # a folder that an older release made
        except sqlite3.Error as error:
            raise _translate(error, folder) from None
        self.about = About(*(self.noted(name) or "" for name in ("relay", "server", "product")))

    def close(self) -> None:
        """The file is given back."""
        self._db.close()

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # -- what devices do

    def ask(self, question: Question, claims: RequestClaims, now: datetime) -> Reply | None:
        """The answer that is there for this very question; None when it waits now.

        A renewal that waits is given the code of its lease ahead, once that has begun.
        A question that follows an answer which was handed out ends that answer: whoever still asks
        for it is another holder of the key, and the server is to hear of that.
        """
        with self.writing() as db:
            row = db.execute(
                "SELECT status, media, body, final, device, path, handed FROM answers"
                " WHERE jkt = ? AND nonce = ?",
                (question.jkt, question.nonce),
            ).fetchone()
            if row is not None and row[5] == question.path:
                self._hand(db, question, claims, final=bool(row[3]), handed=row[6])
                return Reply(row[0], row[1], row[2], bool(row[3]), row[4])
            released = self._release(db, question, claims, now)
            try:
                self._wait(db, question, now)
            except DiskFull:
                if released is None:
                    raise
        return released

    def _release(
        self, db: sqlite3.Connection, question: Question, claims: RequestClaims, now: datetime
    ) -> Reply | None:
        due = ahead.due(db, question.jkt, now) if question.path.startswith(_RENEWALS) else None
        if due is None:
            return None
        base, place, code = due
        if ahead.release(db, base, place, now):
            count_in(db, "released")
        _see(db, "held", "base = ?", (base,), claims)
        told = {"next_code": code, "ahead": int(noted_in(db, "ahead") or 0)}
        return Reply(200, "application/json", msgspec.json.encode(told), final=False)

    def _hand(
        self, db: sqlite3.Connection, question: Question, claims: RequestClaims, *, final: bool,
        handed: int,
    ) -> None:  # fmt: skip
        key = (question.jkt, question.nonce)
        count_in(db, "repeated" if handed else "handed")
        if not final:
            db.execute("DELETE FROM answers WHERE jkt = ? AND nonce = ?", key)
            return
        db.execute("UPDATE answers SET handed = handed + 1 WHERE jkt = ? AND nonce = ?", key)
        _see(db, "answers", "jkt = ? AND nonce = ?", key, claims)

    def _wait(self, db: sqlite3.Connection, question: Question, now: datetime) -> None:
        db.execute(
            "DELETE FROM answers WHERE jkt = ? AND nonce != ? AND handed > 0 AND double = 0",
            (question.jkt, question.nonce),
        )
        seen = db.execute("SELECT 1 FROM devices WHERE jkt = ?", (question.jkt,)).fetchone()
        known = seen is not None
        mine = "SELECT count(*) FROM questions WHERE jkt = ? AND nonce != ?"
        if db.execute(mine, (question.jkt, question.nonce)).fetchone()[0] >= MAX_OF_ONE:
            db.execute(
                "DELETE FROM questions WHERE rowid = (SELECT rowid FROM questions WHERE jkt = ?"
                " AND nonce != ? ORDER BY at LIMIT 1)",
                (question.jkt, question.nonce),
            )
        held = db.execute("SELECT count(*) FROM questions").fetchone()[0]
        strangers = db.execute("SELECT count(*) FROM questions WHERE known = 0").fetchone()[0]
        if held >= MAX_QUESTIONS or (not known and strangers >= MAX_UNKNOWN):
            raise DiskFull("the relay holds as many questions as it may; synchronise it")
        db.execute(
            "INSERT OR REPLACE INTO questions VALUES (?, ?, ?, ?, ?, ?, ?)",
            (question.jkt, question.nonce, question.method, question.path, int(known),
             to_numeric(now), question.token),
        )  # fmt: skip

    def document(self, path: str) -> Document | None:
        """What lies under ``path``."""
        with self.reading() as db:
            row = db.execute("SELECT path, media, body FROM documents WHERE path = ?", (path,))
            found = row.fetchone()
        return None if found is None else Document(*found)

    def want(self, path: str, most: int) -> None:
        """The next sync brings ``path``, if it is not there and fewer than ``most`` are wanted."""
        if self.document(path) is not None:
            return
        with self.writing() as db:
            if db.execute("SELECT count(*) FROM wanted").fetchone()[0] < most:
                db.execute("INSERT OR IGNORE INTO wanted VALUES (?)", (path,))

    # -- what a sync does

    def questions(self, room: int | None = None) -> list[Question]:
        """What waits: known devices first, then the oldest; as many as ``room`` can answer."""
        found, left = list[Question](), room
        with self.reading() as db:
            for row in db.execute(
                "SELECT jkt, nonce, method, path, token FROM questions"
                " ORDER BY known DESC, at, rowid"
            ):
                question = Question(*row)
                if left is not None:
                    left -= _ANSWER_BYTES + _ANSWER_PARTS * len(question.token)
                    if left < 0:
                        break
                found.append(question)
        return found

    def settle(self, asked: Sent, reply: Reply | None) -> None:
        """``reply`` waits for the device. None: the sending is dropped, the device sends another.

        A sending that came after the one that was carried stays, unless the answer ends the
        question.
        """
        key = (asked.jkt, asked.nonce)
        with self.writing() as db:
            row = db.execute("SELECT token FROM questions WHERE jkt = ? AND nonce = ?", key)
            waiting = row.fetchone()
            same = waiting is not None and digest(waiting[0]) == asked.digest
            if same or (reply is not None and reply.final):
                db.execute("DELETE FROM questions WHERE jkt = ? AND nonce = ?", key)
            count_in(db, "carried")
            if reply is not None:
                _keep(db, asked, reply)
                base = ahead.base_of(reply.body) if reply.final else None
                if base is not None and reply.device is not None:
                    ahead.note(db, asked.jkt, reply.device, base)

    def held(self) -> list[HeldLeases]:
        """The leases ahead that lie here or were given out, oldest first."""
        with self.reading() as db:
            return ahead.held(db)

    def keep_leases(self, told: Relayed) -> None:
        """The codes that came wait for their time; what has ended is given out no more."""
        with self.writing() as db:
            ahead.keep(db, told.given)
            ahead.end(db, told.ended)
            note_in(db, "ahead", str(told.ahead))

    def put(self, document: Document) -> bool:
        """False for one that is older than what lies there, which stays."""
        with self.writing() as db:
            row = db.execute("SELECT body FROM documents WHERE path = ?", (document.path,))
            before = row.fetchone()
            if before is not None and not is_newer(document.path, document.body, before[0]):
                return False
            db.execute(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)",
                (document.path, document.media, document.body),
            )
            db.execute("DELETE FROM wanted WHERE path = ?", (document.path,))
        return True

    def paths(self) -> list[str]:
        """Where documents lie."""
        with self.reading() as db:
            return [row[0] for row in db.execute("SELECT path FROM documents ORDER BY path")]

    def wanted(self) -> list[str]:
        """What leases name, or devices asked for, and is not there."""
        with self.reading() as db:
            return [row[0] for row in db.execute("SELECT path FROM wanted ORDER BY path")]

    def digests(self) -> list[str]:
        """The sealed models that lie here, whole."""
        return sorted(each.name for each in self.models.iterdir() if len(each.name) == 64)

    def report(
        self, now: datetime, random: ids.Random, serves: Sequence[ServedDevice] = ()
    ) -> RelayReport:
        """What the server is to know: the report that it has not acknowledged yet, or a new one.

        ``serves`` are the devices that get leases here.
        """
        with self.writing() as db:
            kept = noted_in(db, "report")
            if kept is not None:
                return msgspec.json.decode(kept, type=RelayReport)
            twice = "SELECT device FROM answers WHERE double > 0 UNION ALL"
            twice += " SELECT device FROM held WHERE double > 0"
            doubles = [row[0] for row in db.execute(twice)]
            named = sorted({device for device in doubles if device is not None})
            many = "SELECT count(DISTINCT jkt) FROM answers WHERE handed > 0"
            made = RelayReport(
                relay=self.about.relay,
                sync=ids.new_id("syn", now, random),
                after=noted_in(db, "after"),
                waiting=db.execute("SELECT count(*) FROM questions").fetchone()[0],
                devices=db.execute(many).fetchone()[0],
                double_count=len(doubles),
                doubles=named[:_NAMED],
                serves=list(serves),
            )
            counts = {name: int(noted_in(db, name) or 0) for name in _COUNTS}
            made = msgspec.structs.replace(made, **counts)
            note_in(db, "report", msgspec.json.encode(made).decode())
            for name in _COUNTS:
                note_in(db, name, "0")
            db.execute("DELETE FROM answers WHERE double > 0 AND handed > 0")
            db.execute("UPDATE held SET double = 0, traits = NULL WHERE double > 0")
        return made

    def awaits(self, sync: str) -> bool:
        """True until the report ``sync`` is acknowledged."""
        kept = self.noted("report")
        return kept is not None and msgspec.json.decode(kept, type=RelayReport).sync == sync

    def acknowledged(self, sync: str, synced: RelaySynced, now: datetime) -> bool:
        """The report ``sync`` stands in the server's log; False when another one waits."""
        with self.writing() as db:
            kept = noted_in(db, "report")
            if kept is None or msgspec.json.decode(kept, type=RelayReport).sync != sync:
                return False
            db.execute("DELETE FROM meta WHERE name = 'report'")
            db.execute("DELETE FROM wanted")  # what did not come is not there
            note_in(db, "after", synced.event_id)
            note_in(db, "state", synced.state.value)
            note_in(db, "overdrawn", str(synced.found))
            note_in(db, "synced_at", now.isoformat(timespec="seconds"))
            if synced.budget is not None:
                note_in(db, "budget_state", synced.budget.value)
        return True

    def noted(self, name: str) -> str | None:
        """``after``, ``state``, ``synced_at`` of the last acknowledged sync; counts since."""
        with self.reading() as db:
            return noted_in(db, name)

    def counts(self) -> dict[str, int]:
        """How many questions wait and answers lie here, and what was done since the last report."""
        with self.reading() as db:
            found = {name: int(noted_in(db, name) or 0) for name in _COUNTS}
            for name, query in (
                ("waiting", "SELECT count(*) FROM questions"),
                ("answers", "SELECT count(*) FROM answers WHERE handed = 0"),
                ("doubles", "SELECT count(*) FROM answers WHERE double > 0"),
                ("ahead", "SELECT count(*) FROM places"),
            ):
                found[name] = db.execute(query).fetchone()[0]
        return found

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The file, for this thread alone."""
        try:
            with self._lock:
                yield self._db
        except sqlite3.Error as error:
            raise _translate(error, self.folder) from None

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The same; what is written inside is durable as a whole, or not at all."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "trusted_schema=OFF"):
        db.execute(f"PRAGMA {pragma}")
    return db


def _translate(error: OSError | sqlite3.Error, folder: Path) -> StorageFailed | DiskFull:
    if "full" in str(error) or "No space" in str(error):
        return DiskFull("no room for the relay's state", path=str(folder))
    return StorageFailed(f"the relay's state: {type(error).__name__}", path=str(folder))


def noted_in(db: sqlite3.Connection, name: str) -> str | None:
    """What is noted under ``name``."""
    row: Any = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def note_in(db: sqlite3.Connection, name: str, value: str) -> None:
    """``value`` is noted under ``name``."""
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def _keep(db: sqlite3.Connection, asked: Sent, reply: Reply) -> None:
    """The reply waits, and of older ones to the same key the newest few."""
    db.execute(
        "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, NULL, 0)"
        " ON CONFLICT (jkt, nonce) DO UPDATE SET status = excluded.status,"
        " media = excluded.media, body = excluded.body, final = excluded.final,"
        " device = excluded.device",
        (asked.jkt, asked.nonce, asked.path, reply.device, reply.status, reply.media,
         reply.body, int(reply.final)),
    )  # fmt: skip
    db.execute(
        "DELETE FROM answers WHERE jkt = ? AND rowid NOT IN"
        " (SELECT rowid FROM answers WHERE jkt = ? ORDER BY rowid DESC LIMIT ?)",
        (asked.jkt, asked.jkt, MAX_OF_ONE),
    )
    if reply.status < 300:
        db.execute("INSERT OR IGNORE INTO devices VALUES (?)", (asked.jkt,))


def count_in(db: sqlite3.Connection, name: str) -> None:
    """One more is noted under ``name``."""
    note_in(db, name, str(int(noted_in(db, name) or 0) + 1))


def _see(
    db: sqlite3.Connection, table: str, which: str, key: tuple[str, ...], claims: RequestClaims
) -> None:
    """On what computer the rows' receiver is; a second one makes them doubles."""
    told = msgspec.json.encode(claims.traits).decode()
    row = db.execute(f"SELECT traits FROM {table} WHERE {which}", key).fetchone()  # noqa: S608
    elsewhere = row[0] is not None and _is_elsewhere(row[0], claims.traits)
    db.execute(
        f"UPDATE {table} SET traits = coalesce(traits, ?), double = max(double, ?)"  # noqa: S608
        f" WHERE {which}",
        (told, int(elsewhere), *key),
    )


def _is_elsewhere(before: str, traits: list[TraitDigest]) -> bool:
    """True when two who asked the same are two computers; untold where traits are too few."""
    enrolled = msgspec.json.decode(before, type=list[TraitDigest])
    found, known = tolerance.match(enrolled, traits), tolerance.match(enrolled, enrolled)
    return not (known.unbound or found.unbound or found.same_computer)
