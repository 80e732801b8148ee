"""Plans and their versions; customers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, func, or_, select, update

from modelseal.server.store import packing
from modelseal.server.store import tables as t
from modelseal.server.store.dialect import insert
from modelseal.server.store.rows import CustomerRow, PlanRow, many, one

_TERMS = (
    select(t.plans.c.name, t.plan_versions.c.terms)
    .join(t.plan_versions, t.plan_versions.c.plan_id == t.plans.c.plan_id)
    .where(t.plans.c.plan_id == bindparam("plan_id"))
    .where(t.plan_versions.c.version == bindparam("version"))
)


def _newest() -> Select[Any]:
    return select(
        t.plans.c.plan_id,
        t.plans.c.name,
        t.plans.c.version,
        t.plan_versions.c.terms,
        t.plans.c.created_at,
        t.plans.c.changed_at,
        t.plans.c.event_id,
    ).join(
        t.plan_versions,
        and_(
            t.plan_versions.c.plan_id == t.plans.c.plan_id,
            t.plan_versions.c.version == t.plans.c.version,
        ),
    )


def add(tx: Connection, row: PlanRow) -> bool:
    """False when the name is taken."""
    done = tx.execute(
        insert(tx, t.plans)
        .values(
            plan_id=row.plan_id,
            name=row.name,
            version=row.version,
            created_at=row.created_at,
            changed_at=row.changed_at,
            event_id=row.event_id,
        )
        .on_conflict_do_nothing(index_elements=["name"])
    )
    if done.rowcount != 1:
        return False
    _add_version(tx, row.plan_id, row.version, row.terms, row.created_at)
    return True


def put(tx: Connection, row: PlanRow) -> None:
    """The plan and this version of it are here, as another server has them."""
    if find(tx, row.plan_id) is None:
        add(tx, row)
    elif terms(tx, row.plan_id, row.version) is None:
        _add_version(tx, row.plan_id, row.version, row.terms, row.created_at)


def add_version(
    tx: Connection, plan: PlanRow, terms: dict[str, Any], at: datetime, event_id: str
) -> bool:
    """The version after ``plan.version``; False when somebody was faster."""
    done = tx.execute(
        update(t.plans)
        .where(t.plans.c.plan_id == plan.plan_id, t.plans.c.version == plan.version)
        .values(version=plan.version + 1, changed_at=at, event_id=event_id)
    )
    if done.rowcount != 1:
        return False
    _add_version(tx, plan.plan_id, plan.version + 1, terms, at)
    return True


def _add_version(
    tx: Connection, plan_id: str, version: int, terms: dict[str, Any], at: datetime
) -> None:
    tx.execute(
        t.plan_versions.insert().values(
            plan_id=plan_id, version=version, terms=terms, created_at=at
        )
    )


def find(tx: Connection, which: str) -> PlanRow | None:
    """The plan with this id or name."""
    wanted = or_(t.plans.c.plan_id == which, t.plans.c.name == which)
    return one(PlanRow, tx.execute(_newest().where(wanted)).first())


def terms(tx: Connection, plan_id: str, version: int) -> tuple[str, dict[str, Any]] | None:
    """Name and terms of one version of a plan."""
    row = tx.execute(_TERMS, {"plan_id": plan_id, "version": version}).first()
    return None if row is None else (row.name, row.terms)


def under(tx: Connection, mark: bytes) -> tuple[str, int] | None:
    """The plan and its version that a device's row names by ``mark`` (``packing.under``)."""
    c = t.plan_versions.c
    for plan_id, version in tx.execute(select(c.plan_id, c.version)):
        if packing.under(plan_id, version) == mark:
            return str(plan_id), int(version)
    return None


def lock(tx: Connection, plan_id: str) -> None:
    """From here to the end of the transaction nobody else starts a trial of this plan."""
    c = t.plans.c
    tx.execute(update(t.plans).where(c.plan_id == plan_id).values(version=c.version))


def page(tx: Connection, after: str, limit: int) -> list[PlanRow]:
    """Plans in the order of their ids, after one id."""
    query = _newest().where(t.plans.c.plan_id > after).order_by(t.plans.c.plan_id).limit(limit)
    return many(PlanRow, tx.execute(query))


def customer(tx: Connection, which: str) -> CustomerRow | None:
    """The customer with this id or reference."""
    c = t.customers.c
    query = select(t.customers).where(or_(c.customer_id == which, c.customer == which))
    return one(CustomerRow, tx.execute(query).first())


def ensure_customer(tx: Connection, customer_id: str, reference: str, at: datetime) -> str:
    """The id of the customer with this reference, who is ``customer_id`` when new."""
    tx.execute(
        insert(tx, t.customers)
        .values(customer_id=customer_id, customer=reference, created_at=at)
        .on_conflict_do_nothing(index_elements=["customer"])
    )
    query = select(t.customers.c.customer_id).where(t.customers.c.customer == reference)
    found: str = tx.execute(query).scalar_one()
    return found


def erase_customer(tx: Connection, customer_id: str, at: datetime) -> None:
    """The reference is gone; the id stays."""
    tx.execute(
        update(t.customers)
        .where(t.customers.c.customer_id == customer_id)
        .values(customer=None, erased_at=at)
    )


def count(tx: Connection) -> int:
    """How many plans there are."""
    return int(tx.execute(select(func.count()).select_from(t.plans)).scalar_one())
