"""Taking in a response file: the order in which it is judged and stored.

Judged: whose it is, the trust it brings, every token, that it answers the waiting question. Then
stored: trust, leases ahead, lease. A crash in between leaves the question waiting, and the same
file is imported again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelseal import trust as trusts
from modelseal.client import airgap_keys, answering, asking, catalog, revocation
from modelseal.client.airgap_keys import NextKeys, Ready, Slot, Waiting
from modelseal.client.asking import Denied, Question
from modelseal.client.core import Core, Held
from modelseal.client.identity import Identity
from modelseal.client.state import CATALOG
from modelseal.errors import (
    AnswerInvalid,
    InvalidBytes,
    ModelsealError,
    ResponseForeign,
    ResponseMalformed,
    ResponseReplayed,
    TokenAudience,
    TokenIssuer,
)
from modelseal.license import air_gap, tokens
from modelseal.license.air_gap import Response
from modelseal.license.claims import DenialClaims, LeaseClaims, LicenseClaims, RequestClaims
from modelseal.strict_json import unb64u
from modelseal.trust import Trust, metadata
from modelseal.types import from_numeric


@dataclass(frozen=True, slots=True)
class Found:
    """What was taken in; ``lease`` is the one in force now."""

    op: str
    device_id: str | None
    lease: LeaseClaims | None = None
    next_count: int = 0
    seat_free_at: datetime | None = None
    trust_updated: bool = False

    @property
    def expires_at(self) -> datetime | None:
        """The end of the lease."""
        return None if self.lease is None else from_numeric(self.lease.exp)


def accept(core: Core, data: bytes) -> Found:
    """See ``AirGap.import_response``. Under the lock."""
    response = air_gap.decode(data)
    pinned = core.trust
    if response.server != pinned.server_id:
        raise TokenIssuer("the response of another server")
    if response.product != pinned.product:
        raise TokenAudience("the response is for another product")
    me = core.unlock(asking=True)
    if response.jkt != me.kid:
        raise ResponseForeign("it answers another device's request")
    held = core.held(tolerant=True)
    if _lacks_bundle(core, held, response):
        core.store.write_bundle(response.bundle or b"")
        return Found(response.op, held.device_id, held.lease)
    keys = asking.stored_keys(core, me)
    if keys.pending is None or keys.pending.nonce != response.nonce:
        waits = keys.pending is not None
        raise ResponseReplayed("it waits for another one" if waits else "it waits for none")
    if response.op == "return" and keys.pending.op != "return":
        raise ResponseReplayed("no seat was given back here")
    question = Question(me, held, keys, keys.pending)
    trust = _carried(core, response, pinned)
    if response.op == "return":
        return _returned(core, question, response, trust)
    waiting = _waiting(core, me, response)
    asked = asking.claims_of(core, question, op=response.op)
    if response.denial is not None:
        raise _denied(core, question, asked, response, trust)
    return _leased(core, question, asked, response, trust, waiting)


def _carried(core: Core, response: Response, pinned: Trust) -> Trust:
    """The trust after what the response brings; nothing is stored."""
    brought = response.trust
    if brought is None:
        return pinned
    return trusts.update(
        pinned,
        roots=[root for root in brought.roots if _root_version(root) > pinned.root_version],
        targets=brought.targets,
        keys_role=brought.keys_role,
        key_list=brought.key_list,
        now=core.ports.now(),
    )


def _root_version(root: bytes) -> int:
    return metadata.read(root, "root").version


def _keep_trust(core: Core, response: Response, pinned: Trust, trust: Trust) -> bool:
    """The newer trust is stored, its roots where the next start looks for them."""
    if trust.raw == pinned.raw or response.trust is None:
        return False
    roots = {_root_version(root): root for root in response.trust.roots}
    catalog.keep_roots(core.store.path / CATALOG, roots)
    core.use_trust(trust)
    core.journal.write("trust_updated", root=trust.root_version, keys=trust.keys_version)
    return True


def _waiting(core: Core, me: Identity, response: Response) -> Waiting:
    known = airgap_keys.read(core, me).waiting
    if known is None or known.nonce != response.nonce:
        known = Waiting(response.nonce, [])
    if response.op == "activate" and known.noted is None:
        raise ResponseReplayed("no license key was entered here for it")
    return known


def _denied(
    core: Core, question: Question, asked: RequestClaims, response: Response, trust: Trust
) -> ModelsealError:
    """The denial is carried out; the error that it stands for."""
    token = response.denial or ""
    claims = tokens.read(token, DenialClaims, trust, now=core.ports.now())
    first = response.op == "activate"
    if first and (claims.seq, claims.sub) != (0, question.identity.kid):
        raise AnswerInvalid("a denial of another operation")
    asking.check(claims, asked, question.identity)
    _keep_trust(core, response, core.trust, trust)
    error = answering.accept_denial(
        core, question.identity, question.keys, Denied(claims, token), first=first
    )
    if first:
        core.store.put_back()
    return error


def _leased(
    core: Core,
    question: Question,
    asked: RequestClaims,
    response: Response,
    trust: Trust,
    waiting: Waiting,
) -> Found:
    me, now = question.identity, core.ports.now()
    claims = tokens.read(response.lease or "", LeaseClaims, trust, now=now)
    asking.check(claims, asked, me)
    if response.op != "activate" and claims.seq <= question.held.seq:
        raise ResponseReplayed("it is older than what is held")
    raw = response.license
    license_ = None if raw is None else tokens.read(raw, LicenseClaims, trust, now=now)
    answering.check_license(license_, claims, asked, needed=response.op == "activate")
    if not _bundle_fits(claims, response):
        raise ResponseMalformed("not the key bundle that the lease names")
    updated = _keep_trust(core, response, core.trust, trust)
    ready = _ready(waiting, response)
    airgap_keys.write(core, me, NextKeys(waiting, ready))
    answer: dict[str, Any] = {"lease": response.lease, "license": response.license}
    noted: dict[str, Any] = {}
    if waiting.noted is not None and response.op == "activate":
        told = waiting.noted
        noted = {"activated_by": told.activated_by, "label": told.label, "eula": told.eula}
        noted |= {"last_refusal": None, "returned": False}
    lease = answering.accept(
        core, question, asked, answer, license_needed=response.op == "activate", **noted
    )
    if response.bundle is not None:
        core.store.write_bundle(response.bundle)
    airgap_keys.write(core, me, NextKeys(None, ready))
    if response.op == "activate":
        core.store.drop_previous()
    _hear_list(core, response)
    count = 0 if ready is None else len(ready.slots)
    return Found(response.op, lease.sub, lease, count, trust_updated=updated)


def _ready(waiting: Waiting, response: Response) -> Ready | None:
    slots = [
        Slot(lease, waiting.kems[lease.place - 1])
        for lease in response.next
        if lease.place <= len(waiting.kems)
    ]
    return Ready(response.nonce, slots, response.bundle) if slots else None


def _bundle_fits(lease: LeaseClaims, response: Response) -> bool:
    if lease.bundle is None:
        return response.bundle is None
    digest = hashlib.sha256(response.bundle or b"").digest()
    return response.bundle is not None and digest == unb64u(lease.bundle.digest)


def _lacks_bundle(core: Core, held: Held, response: Response) -> bool:
    """True for the response whose lease was stored before a crash, but its bundle was not."""
    lease = held.lease
    if lease is None or lease.bundle is None or lease.request_nonce != response.nonce:
        return False
    return core.store.bundle(unb64u(lease.bundle.digest)) is None and _bundle_fits(lease, response)


def _returned(core: Core, question: Question, response: Response, trust: Trust) -> Found:
    """The seat is given back; a denial of it is told and changes nothing that is left."""
    if response.denial is not None:
        asked = asking.claims_of(core, question, op="return")
        token = response.denial
        claims = tokens.read(token, DenialClaims, trust, now=core.ports.now())
        asking.check(claims, asked, question.identity)
        _keep_trust(core, response, core.trust, trust)
        denied = Denied(claims, token)
        raise answering.accept_denial(core, question.identity, question.keys, denied, first=False)
    free_at = from_numeric(response.seat_free_at or 0)
    return Found("return", question.held.device_id, seat_free_at=free_at)


def _hear_list(core: Core, response: Response) -> None:
    """What the status list says is noted; a list that does not hold says nothing."""
    if response.status is None:
        return
    try:
        revocation.hear(core, response.status)
    except InvalidBytes as error:
        core.journal.write("status_not_noted", code=error.code)
