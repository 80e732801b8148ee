"""Admin tokens by hash, the server's own secrets, and answers kept for idempotency keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import held, insert
from modelseal.server.store.rows import TokenRow, many, one

COUNTER = select(t.counters.c.value).where(t.counters.c.name == bindparam("name"))
"""The value of the counter ``name``; nothing when it never moved."""
_COLUMNS = [column for column in t.tokens.c if column.name != "token_hash"]


def add(tx: Connection, row: TokenRow, token_hash: bytes) -> None:
    """A new token."""
    tx.execute(
        t.tokens.insert().values(
            token_id=row.token_id,
            token_hash=token_hash,
            role=row.role,
            label=row.label,
            created_at=row.created_at,
            expires_at=row.expires_at,
            person=row.person,
            idle_seconds=row.idle_seconds,
            used_at=row.used_at,
        )
    )


def used(tx: Connection, token_id: str, at: datetime) -> None:
    """The session was used at ``at``, or later already."""
    c = t.tokens.c
    tx.execute(update(t.tokens).where(c.token_id == token_id, c.used_at < at).values(used_at=at))


def spend_sign_in(tx: Connection, digest: bytes, at: datetime, forget_before: datetime) -> bool:
    """True for the first who shows the ID token with this digest; old ones are forgotten."""
    tx.execute(delete(t.sign_ins).where(t.sign_ins.c.at < forget_before))
    done = tx.execute(
        insert(tx, t.sign_ins)
        .values(digest=digest, at=at)
        .on_conflict_do_nothing(index_elements=["digest"])
    )
    return done.rowcount == 1


def by_hash(tx: Connection, token_hash: bytes) -> TokenRow | None:
    """The token with this hash."""
    query = select(*_COLUMNS).where(t.tokens.c.token_hash == token_hash)
    return one(TokenRow, tx.execute(query).first())


def get(tx: Connection, token_id: str) -> TokenRow | None:
    """The token with this id."""
    query = select(*_COLUMNS).where(t.tokens.c.token_id == token_id)
    return one(TokenRow, tx.execute(query).first())


def page(tx: Connection, after: str, limit: int) -> list[TokenRow]:
    """Tokens in the order of their ids, after one id."""
    c = t.tokens.c
    query = select(*_COLUMNS).where(c.token_id > after).order_by(c.token_id).limit(limit)
    return many(TokenRow, tx.execute(query))


def revoke(tx: Connection, token_id: str, at: datetime) -> None:
    """The token opens nothing from now on."""
    c = t.tokens.c
    tx.execute(
        update(t.tokens).where(c.token_id == token_id, c.revoked_at.is_(None)).values(revoked_at=at)
    )


def end_sessions(tx: Connection, person: str | None, at: datetime, but: str | None = None) -> int:
    """How many sessions ended now: those of ``person`` (None: everybody's) of other roles than
    ``but``."""
    c = t.tokens.c
    which = c.revoked_at.is_(None) & (c.expires_at > at)
    which &= c.person.is_not(None) if person is None else c.person == person
    if but is not None:
        which &= c.role != but
    return tx.execute(update(t.tokens).where(which).values(revoked_at=at)).rowcount


def secret(tx: Connection, name: str) -> bytes | None:
    """The wrapped secret of this name."""
    wrapped = tx.execute(select(t.secrets.c.wrapped).where(t.secrets.c.name == name)).scalar()
    return None if wrapped is None else bytes(wrapped)


def ensure_secret(tx: Connection, name: str, wrapped: bytes) -> bytes:
    """The wrapped secret of this name, which is ``wrapped`` when there was none."""
    tx.execute(
        insert(tx, t.secrets)
        .values(name=name, wrapped=wrapped)
        .on_conflict_do_nothing(index_elements=["name"])
    )
    found = secret(tx, name)
    return wrapped if found is None else found


def remembered(tx: Connection, actor: str, key: str) -> tuple[bytes, bytes] | None:
    """Digest of the question and wrapped answer kept under an idempotency key."""
    c = t.idempotency.c
    row = tx.execute(select(c.digest, c.wrapped).where(c.actor == actor, c.key == key)).first()
    return None if row is None else (bytes(row.digest), bytes(row.wrapped))


def remember(
    tx: Connection, actor: str, key: str, digest: bytes, wrapped: bytes, at: datetime
) -> bool:
    """The answer is kept; False when the key is taken already."""
    done = tx.execute(
        insert(tx, t.idempotency)
        .values(actor=actor, key=key, digest=digest, wrapped=wrapped, at=at)
        .on_conflict_do_nothing(index_elements=["actor", "key"])
    )
    return done.rowcount == 1


def forget_answers(tx: Connection, before: datetime) -> None:
    """Answers kept before that time are gone."""
    tx.execute(delete(t.idempotency).where(t.idempotency.c.at < before))


def counter(tx: Connection, name: str) -> int:
    """The counter's value; 0 when it never moved."""
    found = tx.execute(COUNTER, {"name": name}).scalar()
    return 0 if found is None else int(found)


def held_counter(tx: Connection, name: str) -> int:
    """The value of a counter that does not move before this transaction is over."""
    query = held(tx, select(t.counters.c.value).where(t.counters.c.name == name))
    found = tx.execute(query).scalar()
    if found is not None:
        return int(found)
    tx.execute(
        insert(tx, t.counters)
        .values(name=name, value=0)
        .on_conflict_do_nothing(index_elements=["name"])
    )
    return 0


def bump(tx: Connection, name: str) -> int:
    """The counter's value after one step up."""
    statement = insert(tx, t.counters).values(name=name, value=1)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": t.counters.c.value + 1}
        )
    )
    return counter(tx, name)


def raise_counter(tx: Connection, name: str, least: int) -> None:
    """The counter is at ``least``, or where it was above."""
    statement = insert(tx, t.counters).values(name=name, value=least)
    tx.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": least}, where=t.counters.c.value < least
        )
    )


def add_restore(
    tx: Connection, restore_id: str, snapshot_at: datetime, restored_at: datetime
) -> None:
    """The store was put back to what it was at ``snapshot_at``."""
    tx.execute(
        t.restores.insert().values(
            restore_id=restore_id, snapshot_at=snapshot_at, restored_at=restored_at
        )
    )


def restored_since(tx: Connection, at: datetime) -> str | None:
    """The newest recorded restore that was made after ``at``."""
    c = t.restores.c
    found: str | None = tx.execute(
        select(func.max(c.restore_id)).where(c.restored_at >= at)
    ).scalar()
    return found


def restore_covering(tx: Connection, at: datetime) -> str | None:
    """A recorded restore that lost what happened at ``at``."""
    c = t.restores.c
    query = select(func.max(c.restore_id)).where(c.snapshot_at <= at, c.restored_at >= at)
    found: str | None = tx.execute(query).scalar()
    return found
