"""Nonces of attested key releases. A nonce is taken by one conditional write, then it is used."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from modelseal.server.store import tables as t

KEPT = timedelta(hours=1)
"""How long a nonce is known after its end, so that a used one is called used."""


def add(
    tx: Connection, nonce: bytes, device_id: str, server_key: str, ends_at: datetime, most: int
) -> None:
    """``nonce`` is good for one use by the device; of its unused ones the newest ``most`` are."""
    c = t.release_nonces.c
    tx.execute(delete(t.release_nonces).where(c.ends_at < ends_at - KEPT))
    unused = select(c.nonce).where(c.device_id == device_id, c.used_at.is_(None))
    old = tx.scalars(unused.order_by(c.ends_at.desc(), c.nonce).offset(most - 1).limit(1000)).all()
    if old:
        tx.execute(delete(t.release_nonces).where(c.nonce.in_(old)))
    values = {"nonce": nonce, "device_id": device_id, "server_key": server_key, "ends_at": ends_at}
    tx.execute(insert(t.release_nonces).values(values))


def take(tx: Connection, nonce: bytes, device_id: str, now: datetime) -> tuple[str, str]:
    """("ok", the server key it was given with) once, to its device, in time; else (why, "").

    Why is ``nonce_unknown``, ``nonce_used`` or ``nonce_late``. One that is late is used too.
    """
    c = t.release_nonces.c
    mine = (c.nonce == nonce) & (c.device_id == device_id)
    done = tx.execute(update(t.release_nonces).where(mine, c.used_at.is_(None)).values(used_at=now))
    row = tx.execute(select(c.server_key, c.ends_at).where(mine)).one_or_none()
    if row is None:
        return "nonce_unknown", ""
    if done.rowcount != 1:
        return "nonce_used", ""
    return ("ok", str(row.server_key)) if now < row.ends_at else ("nonce_late", "")
