"""Signed attestation results beside the events they belong to, and the policies behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy import insert as plain_insert

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import insert


def add(
    tx: Connection,
    license_id: str,
    event_id: str,
    results: Sequence[Mapping[str, Any]],
    policies: Mapping[bytes, bytes],
) -> None:
    """The results of one event, and each of ``policies`` (by digest) once for ever."""
    values = {"license_id": license_id, "event_id": event_id, "results": list(results)}
    tx.execute(plain_insert(t.attestation_results).values(values))
    c = t.appraisal_policies.c
    known = set(tx.execute(select(c.digest).where(c.digest.in_(policies))).scalars())
    for digest, data in sorted(policies.items()):
        if digest in known:  # as nearly always: its text need not travel
            continue
        row = insert(tx, t.appraisal_policies).values(digest=digest, data=data)
        tx.execute(row.on_conflict_do_nothing(index_elements=["digest"]))


def forget(tx: Connection, before: str) -> None:
    """No result beside an event with a lower id is left. Ids of events are in order of time."""
    c = t.attestation_results.c
    tx.execute(delete(t.attestation_results).where(c.event_id < before))


def of_event(tx: Connection, event_id: str) -> list[dict[str, Any]]:
    """The results beside an event; none where there were none, or where they were erased."""
    c = t.attestation_results.c
    found = tx.execute(select(c.results).where(c.event_id == event_id)).scalar_one_or_none()
    return [] if found is None else list(found)


def of_license(tx: Connection, license_id: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Event id and results of each, oldest first."""
    c = t.attestation_results.c
    query = select(c.event_id, c.results).where(c.license_id == license_id).order_by(c.event_id)
    return [(str(row.event_id), list(row.results)) for row in tx.execute(query)]


def policy(tx: Connection, digest: bytes) -> bytes | None:
    """The policy of that digest, as it was written then."""
    c = t.appraisal_policies.c
    found = tx.execute(select(c.data).where(c.digest == digest)).scalar_one_or_none()
    return None if found is None else bytes(found)


def erase(tx: Connection, license_id: str) -> None:
    """No result of the license's devices is left; policies name nobody."""
    c = t.attestation_results.c
    tx.execute(delete(t.attestation_results).where(c.license_id == license_id))
