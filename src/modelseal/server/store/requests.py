"""Answered requests: hashes of a question (who asks, under which nonce) and of each sending."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from modelseal.server.store import tables as t
from modelseal.server.store.dialect import insert


@dataclass(frozen=True, slots=True)
class Answered:
    """How many sendings of a question were answered; when the newest says it was signed."""

    sendings: int
    newest_signed_at: int | None
    this: bool


def add(tx: Connection, question: bytes, request: bytes, signed_at: int) -> None:
    """This sending was answered."""
    tx.execute(
        insert(tx, t.answered_requests)
        .values(question=question, request=request, signed_at=signed_at)
        .on_conflict_do_nothing()
    )


def answered(tx: Connection, question: bytes, request: bytes) -> Answered:
    """What was answered of this question, and whether this sending was."""
    c = t.answered_requests.c
    mine = func.count(case((c.request == request, 1)))
    query = select(func.count(), func.max(c.signed_at), mine).where(c.question == question)
    number, newest, this = tx.execute(query).one()
    return Answered(sendings=int(number), newest_signed_at=newest, this=bool(this))
