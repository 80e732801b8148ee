"""The same question under the same idempotency key gets the same answer, spent once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import msgspec
from sqlalchemy import Connection

from modelseal.errors import Conflict, IdempotencyMismatch, Misuse, ModelsealError
from modelseal.server.store import tokens as store

if TYPE_CHECKING:
    from modelseal.server.services.context import Context

T = TypeVar("T")
KEPT = timedelta(hours=24)
MAX_KEY_CHARACTERS = 128


def once(
    context: Context,
    actor: str,
    key: str | None,
    question: object,
    act: Callable[[Connection], T | ModelsealError],
    kind: type[T],
) -> T:
    """``act`` in one transaction, or the answer it gave before under ``key``.

    Answers are kept for 24 hours, wrapped by the key-encryption key: they may hold a license key.
    An error that ``act`` returns stands with what it wrote, is raised, and is not kept.
    """
    if key is None:
        return _answered(context.store.write(act))
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise Misuse("an idempotency key has 1 to 128 characters", limit=MAX_KEY_CHARACTERS)
    digest = hashlib.sha256(msgspec.json.encode(question, order="deterministic")).digest()
    bound = context.wrap_context("idempotency", actor=actor, key=key)
    now = context.now()

    def known() -> T | None:
        kept = context.store.read(store.remembered, actor, key)
        if kept is None:
            return None
        if kept[0] != digest:
            raise IdempotencyMismatch("this idempotency key came with another question")
        return msgspec.json.decode(context.provider.unwrap(kept[1], bound), type=kind)

    def act_and_keep(tx: Connection) -> T | ModelsealError:
        store.forget_answers(tx, now - KEPT)
        answer = act(tx)
        if isinstance(answer, ModelsealError):
            return answer
        wrapped = context.wrap(tx, msgspec.json.encode(answer), bound)
        if not store.remember(tx, actor, key, digest, wrapped, now):
            raise _Raced
        return answer

    answer = known()
    if answer is not None:
        return answer
    try:
        return _answered(context.store.write(act_and_keep))
    except _Raced:
        answer = known()
        if answer is None:
            raise Conflict("the same idempotency key is in use") from None
        return answer


def _answered(outcome: T | ModelsealError) -> T:
    if isinstance(outcome, ModelsealError):
        raise outcome
    return outcome


class _Raced(Exception):
    """Another process kept its answer first; ours is rolled back."""
