"""The tree of the audit log: its tiles, its signed heads, and who adds to it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, or_, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import insert
from modelseal.server.store.rows import HeadRow, many, one

# Built once: building a statement takes longer than carrying it out.
_HEAD = select(t.log_heads).order_by(t.log_heads.c.size.desc()).limit(1)
_TILE = select(t.log_tiles.c.data).where(
    t.log_tiles.c.level == bindparam("of_level"), t.log_tiles.c.idx == bindparam("at")
)


def head(tx: Connection) -> HeadRow | None:
    """The newest signed head."""
    return one(HeadRow, tx.execute(_HEAD).first())


def heads(tx: Connection, up_to: int) -> list[HeadRow]:
    """Every signed head up to a size, oldest first."""
    c = t.log_heads.c
    return many(HeadRow, tx.execute(select(t.log_heads).where(c.size <= up_to).order_by(c.size)))


def add_head(tx: Connection, row: HeadRow) -> bool:
    """A new head; False when another sequencer signed that size first."""
    done = tx.execute(
        insert(tx, t.log_heads)
        .values(size=row.size, root_hash=row.root_hash, at=row.at, note=row.note)
        .on_conflict_do_nothing(index_elements=["size"])
    )
    return done.rowcount == 1


def tile(tx: Connection, level: int, index: int) -> bytes | None:
    """The widest stored form of a hash tile."""
    data = tx.execute(_TILE, {"of_level": level, "at": index}).scalar()
    return None if data is None else bytes(data)


def put_tile(tx: Connection, level: int, index: int, data: bytes) -> None:
    """A tile, in place of a narrower one: the narrower is its beginning."""
    statement = insert(tx, t.log_tiles).values(level=level, idx=index, data=data)
    tx.execute(
        statement.on_conflict_do_update(index_elements=["level", "idx"], set_={"data": data})
    )


def elect(tx: Connection, name: str, holder: str, now: datetime, until: datetime) -> bool:
    """True when ``holder`` has the office ``name`` until ``until``: held already, or free.

    A term that ends more than one of its length after this one was given by a clock that was ahead;
    it holds nobody off.
    """
    c = t.elections.c
    free = or_(c.holder == holder, c.until <= now, c.until > until + (until - now))
    tx.execute(
        insert(tx, t.elections)
        .values(name=name, holder=holder, until=until)
        .on_conflict_do_nothing(index_elements=["name"])
    )
    done = tx.execute(
        update(t.elections).where(c.name == name, free).values(holder=holder, until=until)
    )
    return done.rowcount == 1


def is_held(
    tx: Connection, name: str, now: datetime, until: datetime, *, by_others_than: str | None = None
) -> bool:
    """True when somebody has the office ``name``; ``until`` as of one who would take it now."""
    c = t.elections.c
    held = (c.until > now) & (c.until <= until + (until - now))
    if by_others_than is not None:
        held &= c.holder != by_others_than
    return tx.execute(select(c.name).where(c.name == name, held)).first() is not None


def resign(tx: Connection, name: str, holder: str) -> None:
    """The office is free."""
    c = t.elections.c
    tx.execute(delete(t.elections).where(c.name == name, c.holder == holder))
