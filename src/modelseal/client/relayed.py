"""Leases ahead through a relay: asked for, kept, and taken in one after another, without a person.

A relay that holds leases ready says so where a question waits. The question then carries KEM keys
for them, as a request file does (``airgap``); what comes with the answer lies in ``next.key`` until
the relay gives its code. The question itself goes on waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from modelseal.client import airgap_codes, airgap_keys, asking, hardware
from modelseal.client.airgap_keys import NextKeys, Ready, Slot, Waiting
from modelseal.client.answering import Keep
from modelseal.client.asking import Question
from modelseal.client.core import Core
from modelseal.client.transport import ANSWER_SECONDS
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import AnswerInvalid, InvalidBytes, Misuse, Refused, RelayWaiting
from modelseal.license.air_gap import NextLease
from modelseal.license.claims import LeaseClaims, RequestClaims
from modelseal.license.plans import MAX_AHEAD


def put(
    core: Core,
    question: Question,
    method: str,
    path: str,
    *,
    op: str,
    seconds: float = ANSWER_SECONDS,
    **more: Any,
) -> tuple[Question, dict[str, Any], RequestClaims]:
    """As ``hardware.put``; to a relay that holds leases ready, with the keys for them.

    Under the lock. The keys are stored before they are sent.
    """
    kems = _kept(core, question)
    try:
        done = hardware.put(
            core, question, method, path, op=op, seconds=seconds, next_kems=kems, **more
        )
        wanted = _wanted(done[1]) if is_release(done[1]) else 0
        if wanted <= len(kems):
            return done
    except RelayWaiting as error:
        wanted = _wanted(error.params)
        if wanted <= len(kems):
            raise
    kems = _made(core, question, wanted)
    return hardware.put(
        core, question, method, path, op=op, seconds=seconds, next_kems=kems, **more
    )


def keeper(core: Core, question: Question, found: Mapping[str, Any]) -> Keep:
    """How the answer is stored: its leases ahead before the lease, so that no crash loses them.

    Raises ``AnswerInvalid`` for leases ahead of another form.
    """
    me = question.identity
    known = airgap_keys.read(core, me)
    waiting = known.waiting
    mine = waiting if waiting is not None and waiting.nonce == question.nonce else None
    ready = _ready(question.nonce, [] if mine is None else mine.kems, found)

    def keep(lease: str, license_: str | None) -> None:
        if ready is not None or known != NextKeys():
            airgap_keys.write(core, me, NextKeys(waiting, ready))
        core.store.accept_lease(me, question.keys, lease=lease, license_=license_)
        if waiting is not None:
            airgap_keys.write(core, me, NextKeys(None, ready))

    return keep


def is_release(found: Mapping[str, Any]) -> bool:
    """Whether a relay gave the code of a lease ahead, in place of an answer."""
    return "next_code" in found


def take_in(core: Core, found: Mapping[str, Any]) -> LeaseClaims:
    """The lease ahead whose code the relay gave is in force. Under the lock.

    ``RelayWaiting`` for a code that opens nothing newer here, or too early: the question waits.
    """
    code = asking.text_of(found, "next_code")
    try:
        lease = airgap_codes.accept(core, code, relayed=True).lease
    except (InvalidBytes, Misuse, Refused) as error:
        core.journal.write("code_not_used", code=error.code)
        raise RelayWaiting("the next synchronisation brings the answer") from None
    if lease is None:
        raise RelayWaiting("the next synchronisation brings the answer")
    return lease


def _wanted(said: Mapping[str, Any]) -> int:
    """For how many leases ahead the relay wants keys."""
    found = said.get("ahead")
    return min(found, MAX_AHEAD) if isinstance(found, int) else 0


def _kept(core: Core, question: Question) -> list[bytes]:
    waiting = airgap_keys.read(core, question.identity).waiting
    mine = waiting is not None and waiting.nonce == question.nonce
    return waiting.kems[:MAX_AHEAD] if mine and waiting is not None else []


def _made(core: Core, question: Question, count: int) -> list[bytes]:
    """``count`` keys for this question, those it has first."""
    known = airgap_keys.read(core, question.identity)
    waiting = known.waiting
    if waiting is None or waiting.nonce != question.nonce:
        waiting = Waiting(question.nonce, [])
    more = [KemPrivateKey.generate().to_bytes() for _ in range(count - len(waiting.kems))]
    kems = [*waiting.kems, *more]
    kept = Waiting(question.nonce, kems, waiting.noted)
    airgap_keys.write(core, question.identity, NextKeys(kept, known.ready))
    return kems[:count]


def _ready(nonce: str, kems: list[bytes], found: Mapping[str, Any]) -> Ready | None:
    try:
        leases = msgspec.convert(found.get("next", []), list[NextLease], strict=True)
    except msgspec.ValidationError as error:
        raise AnswerInvalid(f"leases ahead: {error}"[:200]) from None
    slots = [Slot(lease, kems[lease.place - 1]) for lease in leases if lease.place <= len(kems)]
    return Ready(nonce, slots) if slots else None
