"""TUF metadata by role and version, and the small targets that are no blobs."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import insert
from modelseal.server.store.rows import MetadataRow, many, one


def put(tx: Connection, row: MetadataRow) -> bool:
    """One version of a role; False when that version is there already."""
    done = tx.execute(
        insert(tx, t.tuf_metadata)
        .values(role=row.role, version=row.version, data=row.data, expires_at=row.expires_at)
        .on_conflict_do_nothing(index_elements=["role", "version"])
    )
    return done.rowcount == 1


_c = t.tuf_metadata.c
_NEWEST = (
    select(t.tuf_metadata).where(_c.role == bindparam("of")).order_by(_c.version.desc()).limit(1)
)


def newest(tx: Connection, role: str) -> MetadataRow | None:
    """The newest version of a role."""
    return one(MetadataRow, tx.execute(_NEWEST, {"of": role}).first())


def version(tx: Connection, role: str, number: int) -> MetadataRow | None:
    """One version of a role."""
    c = t.tuf_metadata.c
    query = select(t.tuf_metadata).where(c.role == role, c.version == number)
    return one(MetadataRow, tx.execute(query).first())


def since(tx: Connection, role: str, after: int) -> list[MetadataRow]:
    """Every version of a role after one, in order."""
    c = t.tuf_metadata.c
    query = select(t.tuf_metadata).where(c.role == role, c.version > after).order_by(c.version)
    return many(MetadataRow, tx.execute(query))


def put_file(tx: Connection, digest: str, data: bytes) -> None:
    """A small target under its SHA-256."""
    tx.execute(
        insert(tx, t.tuf_files)
        .values(digest=digest, data=data)
        .on_conflict_do_nothing(index_elements=["digest"])
    )


def file(tx: Connection, digest: str) -> bytes | None:
    """The small target with this SHA-256."""
    query = select(t.tuf_files.c.data).where(t.tuf_files.c.digest == digest)
    data = tx.execute(query).scalar()
    return None if data is None else bytes(data)
