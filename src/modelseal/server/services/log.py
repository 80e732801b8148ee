"""The audit log: events get their place in the tree, heads are signed, tiles are served.

Any process may sequence; the write of the next head is conditional, so two never do it twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import msgspec
from sqlalchemy import Connection

from modelseal.admin import CheckpointRecord, EventRecord, Page
from modelseal.audit import (
    Checkpoint,
    EventKind,
    Personal,
    checkpoint,
    decode,
    export,
    grow,
    leaf_hash,
)
from modelseal.audit import tiles as tiling
from modelseal.audit.tiles import TilePath
from modelseal.errors import AuditBroken, InternalError, NotFound
from modelseal.server.services import recorder
from modelseal.server.services.actors import Actor
from modelseal.server.services.context import Context, plain
from modelseal.server.services.paging import page_of
from modelseal.server.services.replay import unfloat
from modelseal.server.store import events as store
from modelseal.server.store import log as log_store
from modelseal.server.store import tokens as token_store
from modelseal.server.store.engine import Again
from modelseal.server.store.rows import EventRow, HeadRow
from modelseal.strict_json import b64u, unb64u

BATCH = 2048
_EXPORT_STEP = 512
_HASH_BYTES = 32
OFFICE = "sequencer"
TERM = timedelta(seconds=10)


class LoggedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event stands in the log; ``index`` None until it is sequenced."""

    event_id: str
    index: int | None
    leaf_hash: str


class Log:
    """Sequencing and serving."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._holder = context.random(16).hex()

    @property
    def origin(self) -> str:
        """The name of this log: first line of every checkpoint, name of its key."""
        return f"modelseal/{self._context.product}/{self._context.server_id}"

    def elected(self) -> bool:
        """True while this process is the one that sequences in the background."""
        return self._context.store.write(self._elect)

    def _elect(self, tx: Connection) -> bool:
        now = self._context.now()
        return log_store.elect(tx, OFFICE, self._holder, now, now + TERM)

    def sequence_if_elected(self) -> None:
        """Everything waiting has its place, where this process sequences in the background.

        Elected in the transaction that sequences: one commit less. Who is not asks for it
        only where nobody holds the office, so that nobody waits for a sequencer's lock.
        """

        def act(tx: Connection) -> int:
            return self._sequence(tx) if self._elect(tx) else 0

        if self._context.store.read(self._is_my_turn):
            while self._context.store.write(act) == BATCH:
                pass

    def _is_my_turn(self, tx: Connection) -> bool:
        now = self._context.now()
        if not self._is_behind(tx):
            return False
        return not log_store.is_held(tx, OFFICE, now, now + TERM, by_others_than=self._holder)

    def retire(self) -> None:
        """Everything waiting has its place, and another process may take the office."""
        self.sequence()
        self._context.store.write(log_store.resign, OFFICE, self._holder)

    def sequence(self) -> int:
        """How many events got their place; none is left when it returns 0."""
        done = count = self._context.store.write(self._sequence)
        while count == BATCH:
            count = self._context.store.write(self._sequence)
            done += count
        return done

    def _sequence(self, tx: Connection) -> int:
        context, now = self._context, self._context.now()
        waiting = store.pending(tx, BATCH)
        head = log_store.head(tx)
        if head is not None and not waiting:
            return 0
        token_store.bump(tx, OFFICE)  # two sequencers meet here, not in the middle of the tree
        size = 0 if head is None else head.size
        leaves = [leaf_hash(body) for _event_id, body in waiting]
        grown = grow(size, leaves, lambda path: _read_tile(tx, path))
        for path, data in grown.tiles.items():
            parsed = tiling.parse_path(path)
            log_store.put_tile(tx, _level(parsed), parsed.index, data)
        store.place(tx, size, [event_id for event_id, _body in waiting])
        signer = context.signers("checkpoint", now, context.trusted.within(tx))[0]
        note = checkpoint.sign(Checkpoint(self.origin, grown.size, grown.root), signer)
        if not log_store.add_head(tx, HeadRow(grown.size, grown.root, now, note)):
            raise Again
        return len(waiting)

    def checkpoint(self) -> CheckpointRecord:
        """The signed head after everything acknowledged so far got its place."""
        self.sequence()
        head = self._head()
        return CheckpointRecord(size=head.size, root_hash=b64u(head.root_hash), note=head.note)

    def note(self) -> bytes:
        """The newest signed head as it is served."""
        if self._context.store.read(log_store.head) is None:
            self.sequence()
        return self._head().note.encode()

    def tile(self, path: str) -> bytes:
        """The tile or entry bundle at ``tile/…``; ``NotFound`` for one the log does not have."""
        try:
            parsed = tiling.parse_path(path)
        except AuditBroken:
            raise NotFound("the log has no such tile") from None
        if parsed.level is None:
            return self._context.store.read(self._entries, parsed)
        data = self._context.store.read(_read_tile, path)
        if data is None:
            raise NotFound("the log has no such tile")
        return data

    def public_tile(self, path: str) -> bytes:
        """Like ``tile``, for hash tiles only: what events say is the publisher's business."""
        if path.startswith("tile/entries/"):
            raise NotFound("the entries of this log are not public")
        return self.tile(path)

    def _entries(self, tx: Connection, path: TilePath) -> bytes:
        rows = store.placed(tx, path.index * tiling.WIDTH, path.width)
        if len(rows) != path.width:
            raise NotFound("the log has no such tile")
        return tiling.bundle(row.body for row in rows)

    def find(self, event_id: str) -> LoggedEvent:
        """The place of an event; ``NotFound``."""
        row = self._context.store.read(store.get, event_id)
        if row is None:
            raise NotFound("no such event", event=event_id[:64])
        return LoggedEvent(
            event_id=row.event_id, index=row.idx, leaf_hash=b64u(leaf_hash(row.body))
        )

    def events(self, cursor: str | None, subject: str | None) -> Page[EventRecord]:
        """Events in the order of the log, the ones without a place last; of one subject where
        asked."""
        rows = page_of(self._context, cursor, store.page, lambda row: row.event_id, subject=subject)
        return Page(items=[shown_event(row) for row in rows.items], next_cursor=rows.next_cursor)

    def export(self, actor: Actor) -> Iterator[bytes]:
        """The whole log as JSON lines, as of a head that covers what is acknowledged now.

        That it was handed out is an event too, its last one.
        """
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)

        def act(tx: Connection) -> None:
            recorder.record(
                tx, known, EventKind.EVENTS_EXPORTED, at=now, actor=actor.name, subjects={},
                params={},
            )  # fmt: skip

        context.store.write(act)
        return self._export()

    def _export(self) -> Iterator[bytes]:
        self.sequence()
        head = self._head()
        notes = [row.note for row in self._context.store.read(log_store.heads, head.size)]

        def read(path: str) -> bytes | None:
            return self._context.store.read(_read_tile, path)

        yield from export.write(self.origin, self._bodies(head.size), head.size, read, notes)

    def _bodies(self, size: int) -> Iterator[tuple[bytes, Personal | None]]:
        for first in range(0, size, _EXPORT_STEP):
            count = min(_EXPORT_STEP, size - first)
            for row in self._context.store.read(store.placed, first, count):
                yield row.body, _personal(row)

    def is_behind(self) -> bool:
        """True when an event waits for its place, or there is no head yet."""

        return self._context.store.read(self._is_behind)

    @staticmethod
    def _is_behind(tx: Connection) -> bool:
        return log_store.head(tx) is None or bool(store.pending(tx, 1))

    def waiting(self) -> int:
        """How many events have no place yet."""
        return self._context.store.read(store.waiting)

    def _head(self) -> HeadRow:
        head = self._context.store.read(log_store.head)
        if head is None:
            raise InternalError("the log has no head")
        return head


def shown_event(row: EventRow) -> EventRecord:
    """An event as the admin calls show it, with what is left of its personal data."""
    event = decode(row.body)
    personal = _personal(row)
    params = plain(unfloat(event.params))
    if personal is not None:
        params = {**params, "personal": dict(personal.fields)}
    return EventRecord(
        event_id=event.id,
        at=event.at,
        kind=event.kind.value,
        actor=event.actor,
        subjects=dict(event.subjects),
        reference=event.reference,
        params=params,
        index=row.idx,
    )


def _personal(row: EventRow) -> Personal | None:
    if row.personal is None:
        return None
    return Personal(row.personal["fields"], unb64u(row.personal["salt"]))


def _level(path: TilePath) -> int:
    if path.level is None:
        raise InternalError("an entry bundle is no hash tile")
    return path.level


def _read_tile(tx: Connection, path: str) -> bytes | None:
    """The tile, cut from a wider one where the tree has grown since."""
    parsed = tiling.parse_path(path)
    data = log_store.tile(tx, _level(parsed), parsed.index)
    if data is None or len(data) < parsed.width * _HASH_BYTES:
        return None
    return data[: parsed.width * _HASH_BYTES]
