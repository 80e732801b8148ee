"""Living without a network: requests as files, responses as files, leases by code.

A request file is the question that would have been asked online, under the same nonce and KEM key,
so that whichever carrier brings the answer first ends it. A response is verified like an online
answer, all of it before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from modelseal.client import (
    activation,
    airgap_codes,
    airgap_keys,
    airgap_responses,
    asking,
    hardware,
)
from modelseal.client.activation import Wish
from modelseal.client.airgap_keys import NextKeys, Noted, Waiting
from modelseal.client.asking import Question
from modelseal.client.core import Core
from modelseal.client.leasekey import LeaseKeys
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import DeviceReturned, Misuse, NotActivated, UnknownProduct
from modelseal.license import license_key, tokens
from modelseal.license.air_gap import MAX_NEXT
from modelseal.license.claims import RequestClaims

LOCK_SECONDS = 60.0


class RequestFile(msgspec.Struct, frozen=True):
    """A request to carry to the publisher: ``token`` is the file.

    ``again``: the very question had been written before and is not answered yet.
    """

    token: bytes
    op: str
    again: bool
    next_count: int
    device_id: str | None
    seq: int


class Imported(msgspec.Struct, frozen=True):
    """What a response or a code brought.

    ``next_count`` leases made ahead wait for their codes; ``seat_free_at`` answers a return.
    """

    op: str
    device_id: str | None
    seq: int | None
    expires_at: datetime | None
    next_count: int
    seat_free_at: datetime | None = None
    trust_updated: bool = False


class AirGap:
    """See the module. ``told`` puts refusals on record, ``arrived`` is told of each new lease."""

    def __init__(
        self,
        core: Core,
        told: Callable[[], AbstractContextManager[None]],
        arrived: Callable[[str], None],
    ) -> None:
        self._core = core
        self._told = told
        self._arrived = arrived

    def request(
        self,
        key: str | None = None,
        *,
        eula: str | None = None,
        replace: str | None = None,
        label: str | None = None,
        next_count: int = 0,
        show_lease: bool = False,
    ) -> RequestFile:
        """The request that asks for a lease: with ``key`` an activation, else a renewal.

        Nonce and KEM keys are stored when it returns. ``next_count`` (at most 64) asks for so many
        leases ahead; ``show_lease`` shows the lease to a server that was restored. Raises
        ``LicenseKeyMistyped``, ``NotActivated``, ``DeviceReturned``, ``Misuse``.
        """
        if not 0 <= next_count <= MAX_NEXT:
            raise Misuse(f"at most {MAX_NEXT} leases are made ahead", limit=MAX_NEXT)
        wish = Wish(eula=eula, replace=replace, label=label)
        if key is None and wish != Wish():
            raise Misuse("label, agreement and replaced device go with a license key")
        with self._told():
            core = self._core
            _check_product(core)
            text = None if key is None else license_key.format_key(license_key.parse(key))
            with core.locked(LOCK_SECONDS):
                if text is None:
                    return _renewal(core, next_count, show_lease=show_lease)
                return _activation(core, text, wish, next_count)

    def give_back(self) -> RequestFile:
        """The request that gives the seat back; nothing opens on this device from now on.

        Keys and lease are erased before it returns; the device key stays. Called again it gives
        the same question. Raises ``NotActivated``.
        """
        with self._told(), self._core.locked(LOCK_SECONDS):
            return _return(self._core)

    def import_response(self, data: bytes) -> Imported:
        """The answer in a response is stored as if the server had given it just now.

        Raises the denial in it, carried out; ``ResponseMalformed``, ``TokenIssuer`` for another
        server's, ``TokenAudience`` for another product's, ``ResponseForeign`` for another
        device's, ``ResponseReplayed`` for one that answers no waiting question, token errors:
        then nothing has changed.
        """
        with self._told():
            with self._core.locked(LOCK_SECONDS):
                found = airgap_responses.accept(self._core, data)
            if found.lease is not None:
                self._arrived(found.lease.jti)
            self._core.journal.write("response_imported", durable=True, op=found.op)
            return _imported(found)

    def import_code(self, code: str) -> Imported:
        """The lease that was made ahead and that ``code`` opens is in force.

        Raises ``CodeMistyped`` naming the group, ``CodeUnknown``, ``ResponseReplayed`` for a lease
        that is older than what is held, ``LeaseExpired``: then nothing has changed.
        """
        with self._told():
            with self._core.locked(LOCK_SECONDS):
                found = airgap_codes.accept(self._core, code)
            if found.lease is not None:
                self._arrived(found.lease.jti)
            return _imported(found)


def _imported(found: airgap_responses.Found) -> Imported:
    lease = found.lease
    return Imported(
        op=found.op,
        device_id=found.device_id,
        seq=None if lease is None else lease.seq,
        expires_at=found.expires_at,
        next_count=found.next_count,
        seat_free_at=found.seat_free_at,
        trust_updated=found.trust_updated,
    )


def _renewal(core: Core, next_count: int, *, show_lease: bool) -> RequestFile:
    held = core.held(tolerant=True)
    path = str(core.store.path)
    if held.device_id is None:
        raise NotActivated("this device has never been activated", path=path)
    if held.record is not None and held.record.returned:
        raise DeviceReturned("this device gave its seat back")
    me = core.unlock(asking=True)
    before = asking.stored_keys(core, me).pending
    # Only a server that knows the TPM can be asked without a challenge.
    known = held.lease is not None and held.lease.hardware is not None
    key = hardware.maker(core, held) if known else None
    question = asking.prepare(core, me, held, "renew", key=key)
    more: dict[str, Any] = {"lease_token": held.lease_token} if show_lease else {}
    evidence = hardware.prove(core, question, None)
    if evidence is not None:
        more["tpm"] = evidence
    asked = asking.claims_of(core, question, op="renew", **more)
    return _file(core, question, asked, next_count, None, again=before == question.pending)


def _activation(core: Core, text: str, wish: Wish, next_count: int) -> RequestFile:
    me = activation.identity_for(core)
    held = core.held(tolerant=True)
    before = asking.stored_keys(core, me).pending
    question = asking.prepare(core, me, held, "activate", text, *wish.parts())
    asked = asking.claims_of(
        core,
        question,
        op="activate",
        license_key=activation.sealed_key(core, me, question.nonce, text),
        replace=wish.replace,
        label=wish.label,
        eula=wish.eula,
    )
    by = me.keyed_hash("license-key", text).hex()
    core.use_trust(core.trust)
    core.note()
    noted = Noted(by, wish.label, wish.eula)
    return _file(core, question, asked, next_count, noted, again=before == question.pending)


def _file(
    core: Core,
    question: Question,
    asked: RequestClaims,
    next_count: int,
    noted: Noted | None,
    *,
    again: bool,
) -> RequestFile:
    """The signed request with its KEM keys, all of them stored."""
    known = airgap_keys.read(core, question.identity)
    waiting = known.waiting
    if waiting is None or waiting.nonce != question.nonce:
        waiting = Waiting(question.nonce, [])
    more = next_count - len(waiting.kems)
    kems = waiting.kems + [KemPrivateKey.generate().to_bytes() for _ in range(more)]
    waiting = Waiting(question.nonce, kems, noted or waiting.noted)
    if waiting.kems or waiting.noted:
        airgap_keys.write(core, question.identity, NextKeys(waiting, known.ready))
    trust = core.trust
    full = msgspec.structs.replace(
        asked,
        kem=[*asked.kem, *(asking.kem_key(kem) for kem in kems[:next_count])],
        next_count=next_count,
        trust_root=trust.root_version,
        trust_keys=trust.keys_version,
    )
    core.journal.write("request_written", durable=True, op=full.op, seq=full.seq, again=again)
    return _signed(question, full, again=again)


def _return(core: Core) -> RequestFile:
    held = core.held(tolerant=True)
    if held.device_id is None:
        raise NotActivated("this device has never been activated", path=str(core.store.path))
    me = core.unlock(asking=True)
    before = asking.stored_keys(core, me).pending
    question = asking.prepare(core, me, held, "return")
    asked = msgspec.structs.replace(asking.claims_of(core, question, op="return"), kem=[])
    pending = replace(question.pending, op="return")
    core.run_keys.wipe()
    core.store.write_lease_keys(me, LeaseKeys(None, pending))
    core.store.drop_tokens()
    core.note(returned=True, status=None, activated_by=None)
    core.journal.write("returned", durable=True, by="file", seq=asked.seq)
    return _signed(question, asked, again=before == pending)


def _signed(question: Question, asked: RequestClaims, *, again: bool) -> RequestFile:
    token = tokens.sign(asked, [question.identity.signer])
    return RequestFile(
        token=token.encode("ascii"),
        op=asked.op,
        again=again,
        next_count=asked.next_count,
        device_id=asked.sub,
        seq=asked.seq,
    )


def _check_product(core: Core) -> None:
    named = core.settings.product
    if named is not None and named != core.trust.product:
        raise UnknownProduct("the trust is another product's", product=named)
