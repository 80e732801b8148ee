"""Answered requests: hashes of a question (who asks, under which nonce) and of each sending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, Connection, Insert, bindparam, case, func, select

from modelseal.server.store import tables as t
from modelseal.server.store.bulk import Bulk
from modelseal.server.store.dialect import built_once, insert, writes_alone

_c = t.answered_requests.c
_ANSWERED = select(
    func.count(),
    func.max(_c.signed_at),
    func.count(case((_c.request == bindparam("this"), 1))),
).where(_c.question == bindparam("of"))


@dataclass(frozen=True, slots=True)
class Answered:
    """How many sendings of a question were answered; when the newest says it was signed."""

    sendings: int
    newest_signed_at: int | None
    this: bool


def add(tx: Connection, sendings: Sequence[tuple[bytes, bytes, int]]) -> None:
    """These sendings were answered: question, request, when it says it was signed."""
    if not writes_alone(tx) and len(sendings) >= _MANY:
        columns = [list(column) for column in zip(*sendings, strict=True)]
        tx.execute(_add_many(tx), dict(zip(_NAMES, columns, strict=True)))
    else:
        _ADD.execute(tx, [dict(zip(_NAMES, sending, strict=True)) for sending in sendings])


_NAMES = ("question", "request", "signed_at")
_ADD = Bulk(lambda tx: insert(tx, t.answered_requests).on_conflict_do_nothing(), _NAMES)
_MANY = 4


@built_once
def _add_many(tx: Connection) -> Insert:
    """One statement, which PostgreSQL plans once, with an array for each column."""
    arrays = [bindparam(name, type_=ARRAY(_c[name].type)) for name in _NAMES]
    rows = func.unnest(*arrays).table_valued(*_NAMES).render_derived()
    added = insert(tx, t.answered_requests).from_select(_NAMES, select(*rows.c))
    return added.on_conflict_do_nothing()


def answered(tx: Connection, question: bytes, request: bytes) -> Answered:
    """What was answered of this question, and whether this sending was."""
    number, newest, this = tx.execute(_ANSWERED, {"of": question, "this": request}).one()
    return Answered(sendings=int(number), newest_signed_at=newest, this=bool(this))
