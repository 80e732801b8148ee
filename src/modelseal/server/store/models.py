"""Published models, their wrapped data keys, and key bundles."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import among, amounts, insert
from modelseal.server.store.ready import Ready
from modelseal.server.store.rows import ModelRow, many, one

_PUBLISHED = Ready(
    lambda _tx: (
        select(*(t.models.c[field.name] for field in fields(ModelRow)))
        .where(t.models.c.product == bindparam("product"), t.models.c.withdrawn_at.is_(None))
        .order_by(t.models.c.model, t.models.c.release)
    )
)
_AT_ONCE = 256
_DROP = delete(t.bundles).where(
    t.bundles.c.device_id == bindparam("of"), t.bundles.c.ends_at < bindparam("before")
)


def add(tx: Connection, row: ModelRow) -> bool:
    """A new model; False when its release, file or blob is published already."""
    done = tx.execute(insert(tx, t.models).values(**asdict(row)).on_conflict_do_nothing())
    return done.rowcount == 1


def by_digest(tx: Connection, digest: str) -> ModelRow | None:
    """The model with this blob."""
    query = select(t.models).where(t.models.c.blob_digest == digest)
    return one(ModelRow, tx.execute(query).first())


def by_record(tx: Connection, record_id: str) -> ModelRow | None:
    """The model with this record id."""
    query = select(t.models).where(t.models.c.record_id == record_id)
    return one(ModelRow, tx.execute(query).first())


def by_file(tx: Connection, file_id: bytes) -> ModelRow | None:
    """The model with this file id."""
    query = select(t.models).where(t.models.c.file_id == file_id)
    return one(ModelRow, tx.execute(query).first())


def by_name(tx: Connection, product: str, model: str, release: int | None) -> ModelRow | None:
    """A model by its id; the newest release that is not withdrawn unless told."""
    c = t.models.c
    query = select(t.models).where(c.product == product, c.model == model)
    if release is not None:
        query = query.where(c.release == release)
    query = query.order_by(c.withdrawn_at.is_not(None), c.release.desc()).limit(1)
    return one(ModelRow, tx.execute(query).first())


def published(tx: Connection, product: str) -> list[ModelRow]:
    """Every model of a product that is not withdrawn, in a fixed order."""
    return [ModelRow(*row) for row in _PUBLISHED.rows(tx, {"product": product})]


def page(tx: Connection, after: str, limit: int) -> list[ModelRow]:
    """Models in the order of their record ids, after one id."""
    c = t.models.c
    query = select(t.models).where(c.record_id > after).order_by(c.record_id).limit(limit)
    return many(ModelRow, tx.execute(query))


def withdraw(tx: Connection, record_id: str, at: datetime) -> bool:
    """The model is out of later leases; False when it was already."""
    c = t.models.c
    done = tx.execute(
        update(t.models)
        .where(c.record_id == record_id, c.withdrawn_at.is_(None))
        .values(withdrawn_at=at)
    )
    return done.rowcount == 1


def add_keys(tx: Connection, file_id: bytes, wrapped: Mapping[int, bytes]) -> None:
    """The wrapped data keys of a file."""
    rows = [
        {"file_id": file_id, "section": section, "wrapped": data}
        for section, data in sorted(wrapped.items())
    ]
    tx.execute(t.section_keys.insert(), rows)


def keys(tx: Connection, file_ids: Sequence[bytes]) -> dict[bytes, dict[int, bytes]]:
    """The wrapped data keys of these files, by section; nothing for a file that has none."""
    found: dict[bytes, dict[int, bytes]] = {file_id: {} for file_id in file_ids}
    for begin in range(0, len(file_ids), _AT_ONCE):
        asked = list(file_ids[begin : begin + _AT_ONCE])
        (size,), values = amounts(tx, {"files": asked})
        for file_id, section, wrapped in _keys(size).rows(tx, values):
            found[bytes(file_id)][int(section)] = bytes(wrapped)
    return found


@functools.cache
def _keys(amount: int) -> Ready:
    c = t.section_keys.c
    return Ready(
        lambda tx: select(c.file_id, c.section, c.wrapped).where(
            among(tx, c.file_id, "files", amount)
        )
    )


def put_bundle(
    tx: Connection, digest: str, license_id: str, device_id: str, ends_at: datetime, data: bytes
) -> None:
    """A key bundle of a device; those whose lease ended before are gone."""
    tx.execute(
        insert(tx, t.bundles)
        .values(
            digest=digest, license_id=license_id, device_id=device_id, ends_at=ends_at, data=data
        )
        .on_conflict_do_nothing(index_elements=["digest"])
    )


def drop_bundles(tx: Connection, device_id: str, ended_before: datetime) -> None:
    """Bundles of a device whose lease has ended are gone."""
    tx.execute(_DROP, {"of": device_id, "before": ended_before})


def bundle(tx: Connection, digest: str) -> bytes | None:
    """The bundle with this digest."""
    query = select(t.bundles.c.data).where(t.bundles.c.digest == digest)
    data = tx.execute(query).scalar()
    return None if data is None else bytes(data)
