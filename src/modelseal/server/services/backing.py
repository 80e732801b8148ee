"""A backup of the store while it serves, and putting one back.

What a restore loses is known: the time between snapshot and restore is recorded, so that leases
given out in it are adopted, and the log declares its own loss. What an export of the lost log still
tells is done again (``reapplying``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import BinaryIO

from msgspec import Struct
from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.errors import BackupInvalid, Conflict, ModelsealError
from modelseal.server.services import backupfile, catalog, reapplying, recorder, statuses, trusted
from modelseal.server.services.actors import LOCAL, Actor, Right
from modelseal.server.services.backupfile import Head
from modelseal.server.services.context import Context
from modelseal.server.services.log import OFFICE, TERM, Log
from modelseal.server.services.reapplying import Lost, Reapplied
from modelseal.server.store import dump, schema
from modelseal.server.store import log as log_store
from modelseal.server.store import tokens as token_store
from modelseal.server.store import wrapped as wrapped_store
from modelseal.types import to_numeric

# A request that was under way at the snapshot, by the clock of another host, is lost too.
UNDER_WAY = timedelta(minutes=1)


class BackedUp(Struct, frozen=True, kw_only=True):
    """A backup that was written."""

    snapshot_at: datetime
    rows: int
    log_size: int
    schema: str
    event_id: str


class Restored(Struct, frozen=True, kw_only=True):
    """A store that is what it was at ``snapshot_at``, but for what ``again`` did again."""

    snapshot_at: datetime
    restored_at: datetime
    rows: int
    log_size: int
    again: Reapplied
    event_id: str


def backup(context: Context, actor: Actor, out: BinaryIO) -> BackedUp:
    """One consistent state of the store in ``out``, while others read and write."""
    actor.need(Right.TRUST)
    now = context.now()
    known = recorder.fresh(context, now)

    def note(tx: Connection) -> None:
        recorder.record(
            tx, known, EventKind.SERVER_BACKED_UP, at=now, actor=actor.name, subjects={}, params={}
        )

    def look(tx: Connection) -> tuple[int, int]:
        head = log_store.head(tx)
        size = 0 if head is None else head.size
        told = Head(context.product, context.server_id, schema.HEAD, now, size)
        return backupfile.write(out, told, dump.write(tx)) - dump.TABLES, size

    context.store.write(note)
    rows, size = context.store.snapshot(look)
    return BackedUp(
        snapshot_at=now, rows=rows, log_size=size, schema=schema.HEAD, event_id=known.event_id
    )


def restore(
    context: Context, file: BinaryIO, *, lost: Sequence[bytes] | None, replace: bool
) -> Restored:
    """The store is what ``file`` holds; all of it or, on any failure, what it was before.

    ``lost`` are the lines of an export of the log made after the snapshot. ``context`` is over a
    store that nobody serves. Raises ``BackupInvalid``, ``AuditBroken`` for an export that is not of
    this log, ``Conflict`` for a store that holds something (unless ``replace``) or is in use.
    """
    head = backupfile.check(file)
    if (head.product, head.server_id) != (context.product, context.server_id):
        raise BackupInvalid("the backup is of another server")
    now = context.now()
    if head.snapshot_at > now:
        raise BackupInvalid("the backup is of the future; look at this clock")
    export = None if lost is None else reapplying.read(context, lost, head.log_size)

    def act(tx: Connection) -> Restored:
        _check_free(tx, now, replace=replace)
        dump.clear(tx)
        schema.upgrade(tx, head.schema)
        rows = dump.read(tx, backupfile.rows(file))
        schema.upgrade(tx)
        _check_keys(context, tx)
        return _declare(context, tx, head, rows, export, now)

    done = context.store.write(act)
    Log(context).sequence()
    return done


def _check_free(tx: Connection, now: datetime, *, replace: bool) -> None:
    if schema.version(tx) is None:
        return
    if not replace and schema.version(tx) == schema.HEAD and not schema.is_empty(tx):
        raise Conflict("the store holds something; --replace throws it away")
    if schema.version(tx) == schema.HEAD and log_store.is_held(tx, OFFICE, now, now + TERM):
        raise Conflict("a server is using this store; stop it first")


def _check_keys(context: Context, tx: Connection) -> None:
    """The key-encryption key of this server opens what is wrapped; its secrets stand for all."""
    for row in wrapped_store.page(tx, "secrets", None, 64):
        bound = context.wrap_context("secret", **row.key)
        try:
            context.provider.unwrap(row.wrapped, bound)
        except ModelsealError:
            raise BackupInvalid(
                "the backup is older than the key-encryption key of this server"
            ) from None


def _declare(
    context: Context,
    tx: Connection,
    head: Head,
    rows: int,
    export: Lost | None,
    now: datetime,
) -> Restored:
    """The restore is recorded, numbers go on beyond those that were lost, the lost is redone."""
    known = recorder.fresh(context, now)
    since = (head.snapshot_at - UNDER_WAY).replace(microsecond=0)
    token_store.add_restore(tx, known.event_id, since, now)
    recorder.record(
        tx, known, EventKind.SERVER_RESTORED, at=now, actor=LOCAL.name, subjects={},
        params={
            "snapshot_size": head.log_size, "snapshot_at": head.snapshot_at.isoformat(),
            "lost_size": None if export is None else export.size,
        },
    )  # fmt: skip
    token_store.end_sessions(tx, None, now)  # who signed out or lost a role meanwhile is unknown
    _go_on(context, tx, now)
    again = Reapplied() if export is None else reapplying.again(context, tx, export, now)
    statuses.go_on(tx, now)
    return Restored(
        snapshot_at=head.snapshot_at,
        restored_at=now,
        rows=rows,
        log_size=head.log_size,
        again=again,
        event_id=known.event_id,
    )


def _go_on(context: Context, tx: Connection, now: datetime) -> None:
    """Trust as new as the workspace's, and a catalog that no device takes for an older one."""
    trusted.advance(tx, context.trusted.pinned)
    catalog.sign_online(context, tx, now, at_least=to_numeric(now) // 60)
    token_store.bump(tx, trusted.COUNTER)
