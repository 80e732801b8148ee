"""Answered requests: hashes of a question (who asks, under which nonce) and of each sending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, case, func, select

from modelseal.server.store import tables as t
from modelseal.server.store.bulk import Bulk
from modelseal.server.store.dialect import insert

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
    _ADD.execute(tx, [dict(zip(_NAMES, sending, strict=True)) for sending in sendings])


_NAMES = ("question", "request", "signed_at")
_ADD = Bulk(lambda tx: insert(tx, t.answered_requests).on_conflict_do_nothing(), _NAMES)


def answered(tx: Connection, question: bytes, request: bytes) -> Answered:
    """What was answered of this question, and whether this sending was."""
    number, newest, this = tx.execute(_ANSWERED, {"of": question, "this": request}).one()
    return Answered(sendings=int(number), newest_signed_at=newest, this=bool(this))
