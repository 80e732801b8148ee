"""A lease that was made ahead, opened by the code that support read out."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from modelseal.client import airgap_keys, asking
from modelseal.client.airgap_keys import Ready, Slot
from modelseal.client.airgap_responses import Found
from modelseal.client.core import Core, Held
from modelseal.client.identity import Identity
from modelseal.client.leasekey import LeaseSecret
from modelseal.errors import (
    AnswerInvalid,
    CodeUnknown,
    LeaseExpired,
    RelayWaiting,
    ResponseReplayed,
)
from modelseal.license import lease_code, tokens
from modelseal.license.claims import LeaseClaims
from modelseal.license.lease_code import CodeBinding
from modelseal.strict_json import unb64u
from modelseal.types import from_numeric, to_numeric


def accept(core: Core, code: str, *, relayed: bool = False) -> Found:
    """See ``AirGap.import_code``. Under the lock.

    ``relayed``: a relay gave the code. Then one that has not begun is ``RelayWaiting``, and
    requests tell from now on that it was taken in.
    """
    text = lease_code.normal(code)
    me = core.unlock(asking=True)
    held = core.held(tolerant=True)
    known = airgap_keys.read(core, me)
    ready = known.ready
    if ready is None or held.device_id is None:
        raise CodeUnknown("no lease waits for a code here")
    slot, token = _opened(core, ready, held.device_id, text)
    lease = tokens.read(token, LeaseClaims, core.trust)
    secret = LeaseSecret(lease.request_nonce, slot.kem)
    _check(core, me, held, ready, slot, lease, relayed=relayed)
    if relayed and lease.nbf > to_numeric(core.ports.now()):
        raise RelayWaiting("the relay's clock is ahead of this one", starts_at=lease.nbf)
    core.store.accept_code(me, asking.stored_keys(core, me), secret, token)
    bundle = ready.bundle
    if lease.bundle is not None and bundle is not None:
        core.store.write_bundle(bundle)
    record = held.record
    before = held.seq if record is None or record.code_from is None else record.code_from
    now = to_numeric(core.ports.now())
    told = {"next_lease": lease.jti} if relayed else {}
    core.note(seq=lease.seq, prev=lease.jti, code_from=before, last_seen=now, **told)
    left = [other for other in ready.slots if other.lease.seq > lease.seq]
    kept = Ready(ready.nonce, left, bundle) if left else None
    airgap_keys.write(core, me, replace(known, ready=kept))
    core.journal.write("code_imported", durable=True, lease=lease.jti, seq=lease.seq)
    return Found("code", lease.sub, lease, len(left))


def _opened(core: Core, ready: Ready, device: str, code: str) -> tuple[Slot, str]:
    """The slot that ``code`` opens, and the lease token in it."""
    trust = core.trust
    for slot in ready.slots:
        lease = slot.lease
        nonce = lease_code.next_nonce(ready.nonce, lease.place)
        binding = CodeBinding(trust.server_id, trust.product, device, lease.seq, nonce)
        try:
            return slot, lease_code.open_(code, lease.sealed, binding)
        except CodeUnknown:
            continue
    raise CodeUnknown("it opens none of the leases that wait here")


def _check(
    core: Core,
    me: Identity,
    held: Held,
    ready: Ready,
    slot: Slot,
    lease: LeaseClaims,
    *,
    relayed: bool,
) -> None:
    """Returns when the lease is the one that was announced, for this device, and newer."""
    said = (lease.sub, lease.cnf.jkt, lease.seq, lease.lic, lease.request_nonce)
    nonce = lease_code.next_nonce(ready.nonce, slot.lease.place)
    if said != (held.device_id, me.kid, slot.lease.seq, held.license_id, nonce):
        raise AnswerInvalid("another lease than the one that was announced")
    stored = asking.stored_keys(core, me).for_nonce(lease.request_nonce)
    unfinished = held.lease is not None and held.lease.jti == lease.jti and stored is None
    if lease.seq <= held.seq and not unfinished:
        raise ResponseReplayed("it is older than what is held")
    if lease.exp <= to_numeric(core.ports.now()):
        raise LeaseExpired("the code came too late", expires_at=from_numeric(lease.exp))
    if lease.bundle is not None and not (relayed and ready.bundle is None):
        digest = hashlib.sha256(ready.bundle or b"").digest()
        if digest != unb64u(lease.bundle.digest):
            raise AnswerInvalid("not the key bundle that the lease names")
