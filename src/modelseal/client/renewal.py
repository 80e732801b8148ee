"""The heartbeat: the next lease, or a denial; and giving the seat back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from modelseal.client import answering, asking, bundles, hardware, moving, relayed
from modelseal.client.asking import Denied, Question
from modelseal.client.core import Core, Held
from modelseal.client.transport import ANSWER_SECONDS
from modelseal.errors import AnswerInvalid, KeyStoreUnavailable, NotActivated, StoreBehind
from modelseal.license.claims import LeaseClaims

LOCK_SECONDS = 60.0


class Returned(msgspec.Struct, frozen=True):
    """The seat was given back; from when on another device can take it."""

    event_id: str | None = None
    seat_free_at: datetime | None = None


def renew(
    core: Core,
    *,
    seen: str | None = None,
    seconds: float = ANSWER_SECONDS,
    lock_seconds: float = LOCK_SECONDS,
) -> LeaseClaims:
    """The next lease is stored and replaces the old one, whose keys are erased.

    ``seen`` is the id of the lease the caller decided about: when another process renewed it in
    the meantime, that newer lease is returned and nothing is asked. Raises the denial's error,
    ``NotActivated``, ``Unavailable`` errors; the latter have changed nothing.
    """
    with core.locked(lock_seconds):
        held = core.held(tolerant=True)
        if held.device_id is None:
            raise NotActivated("this device has never been activated", path=str(core.store.path))
        if held.lease is not None and seen is not None and held.lease.jti != seen:
            return held.lease
        try:
            lease = moving.settle(core, seconds=seconds) or _ask(core, held, seconds)
        except StoreBehind:
            if not _noted_too_much(core, held):
                raise
            lease = _ask(core, core.held(tolerant=True), seconds)
    bundles.prefetch(core, lease)
    return lease


def _ask(core: Core, held: Held, seconds: float) -> LeaseClaims:
    me = core.unlock(asking=True)
    question = asking.prepare(core, me, held, "renew", key=hardware.maker(core, held))
    path = f"/v1/leases/{held.device_id}"
    try:
        question, found, asked = relayed.put(
            core, question, "PUT", path, op="renew", seconds=seconds
        )
    except Denied as denied:
        raise answering.accept_denial(core, me, question.keys, denied, first=False) from None
    if relayed.is_release(found):
        return relayed.take_in(core, found)
    keep = relayed.keeper(core, question, found)
    return answering.accept(core, question, asked, found, license_needed=False, keep=keep)


def _noted_too_much(core: Core, held: Held) -> bool:
    """Whether ``state.json`` named a number above every signed answer; it no longer does.

    The server knows no such number. A note that somebody edited must lock nobody out.
    """
    latest = held.latest
    if latest is None or held.seq == latest.seq:
        return False
    core.journal.write("note_ignored", seq=held.seq, signed=latest.seq)
    core.note(seq=latest.seq, prev=latest.jti)
    return True


def move_device(
    core: Core,
    uri: str,
    *,
    seconds: float = ANSWER_SECONDS,
    lock_seconds: float = LOCK_SECONDS,
) -> LeaseClaims:
    """The device's key is one in the TPM at ``uri``, and the old one is retired; see ``moving``.

    Raises what a renewal raises, ``Conflict``, ``KeyStoreUnavailable``; where the server did not
    answer, the next renewal goes on with it.
    """
    with core.locked(lock_seconds):
        if not moving.is_begun(core):
            _answered(core, seconds)
            moving.begin(core, uri)
        lease = moving.settle(core, seconds=seconds)
        if lease is None:
            raise KeyStoreUnavailable("the TPM in which the new key was made does not answer")
    bundles.prefetch(core, lease)
    return lease


def _answered(core: Core, seconds: float) -> None:
    """No renewal is unanswered: a question that was put by one key is not put by another."""
    held = core.held(tolerant=True)
    if held.device_id is None:
        raise NotActivated("this device has never been activated", path=str(core.store.path))
    me = core.unlock(asking=True)
    pending = asking.stored_keys(core, me).pending
    if pending is not None and pending.seq == held.seq:
        _ask(core, held, seconds)


def give_back(
    core: Core, *, seconds: float = ANSWER_SECONDS, lock_seconds: float = LOCK_SECONDS
) -> Returned:
    """The seat is given back and nothing that opens a model is left on this device.

    The device key stays: with it, entering the license key again is no new device.
    Raises ``NotActivated``; ``Unavailable`` errors, after which the seat is still taken, the
    activation still works, and the call can be repeated. ``seconds`` bounds each question.
    """
    with core.locked(lock_seconds):
        held = core.held(tolerant=True)
        if held.device_id is None:
            raise NotActivated("this device has never been activated", path=str(core.store.path))
        try:
            returned = _returned(_give(core, held, seconds))
        except StoreBehind:
            if not _noted_too_much(core, held):
                raise
            returned = _returned(_give(core, core.held(tolerant=True), seconds))
        core.run_keys.wipe()
        core.store.drop_lease()
        core.note(returned=True, status=None, activated_by=None)
    return returned


def _give(core: Core, held: Held, seconds: float) -> dict[str, Any]:
    me = core.unlock(asking=True)
    path = f"/v1/devices/{held.device_id}:return"
    try:
        question = _settled(core, held, seconds)
        return asking.put(core, question, "POST", path, op="return", seconds=seconds)[0]
    except Denied as denied:
        keys = asking.stored_keys(core, me)
        raise answering.accept_denial(core, me, keys, denied, first=False) from None


def _returned(found: Mapping[str, Any]) -> Returned:
    """The answer to a return; ``AnswerInvalid`` for one that names no event of the server's."""
    try:
        returned = msgspec.convert(
            {name: found.get(name) for name in ("event_id", "seat_free_at")}, Returned, strict=True
        )
    except msgspec.ValidationError as error:
        raise AnswerInvalid(f"return: {error}"[:200]) from None
    if returned.event_id is None:
        raise AnswerInvalid("return: the answer names no event")
    return returned


def forget(core: Core) -> None:
    """Nothing that opens a model is left on this device; the server is not told."""
    core.run_keys.wipe()
    with core.locked(LOCK_SECONDS):
        core.store.forget()
        core.adopt()


def _settled(core: Core, held: Held, seconds: float) -> Question:
    """The question to return the seat; an unanswered renewal before it is settled first.

    Otherwise the server may be one number ahead and would take the return for a copy's.
    """
    if moving.settle(core, seconds=seconds) is not None:
        held = core.held(tolerant=True)
    me = core.unlock(asking=True)
    pending = asking.stored_keys(core, me).pending
    if pending is not None and pending.op == "renew" and pending.seq == held.seq:
        question = asking.prepare(core, me, held, "renew")
        path = f"/v1/leases/{held.device_id}"
        question, found, asked = hardware.put(
            core, question, "PUT", path, op="renew", seconds=seconds
        )
        answering.accept(core, question, asked, found, license_needed=False)
        held = core.held(tolerant=True)
    return asking.prepare(core, me, held, "return")
