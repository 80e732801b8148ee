"""Another key for this device: made in the TPM, certified by the old one, which is retired.

No seat is spent, for the device stays the same: the new key asks for the next lease and shows what
the old one signed about it. No key is imported or exported. A move that was interrupted goes on
with the next renewal, under the same question.
"""

from __future__ import annotations

from modelseal.client import answering, asking, hardware, identity
from modelseal.client.asking import Denied, Question
from modelseal.client.core import Core, Held
from modelseal.client.identity import Identity
from modelseal.client.transport import ANSWER_SECONDS
from modelseal.errors import (
    Conflict,
    KeyRefused,
    KeyStoreUnavailable,
    NotActivated,
    StateDamaged,
)
from modelseal.license import handover
from modelseal.license.claims import HandoverClaims, LeaseClaims
from modelseal.types import to_numeric

OP = "move"


def begin(core: Core, uri: str) -> None:
    """A new device key lies in the TPM at ``uri`` and waits for the server. Under the lock.

    Raises ``NotActivated``, ``Conflict`` when the key is in a TPM already, ``KeyStoreUnavailable``.
    """
    identity.check_uri(uri)
    if core.held(tolerant=True).lease is None:
        raise NotActivated("only a device with a lease moves its key", path=str(core.store.path))
    if core.unlock(asking=True).kind == identity.TPM2:
        raise Conflict("the device's key is in a TPM already")
    if core.store.successor() is None:
        core.store.write_successor(identity.create(core.traits, core.ports.random, uri)[1])


def is_begun(core: Core) -> bool:
    """Whether a new device key waits for the server."""
    return core.store.successor() is not None


def settle(core: Core, *, seconds: float = ANSWER_SECONDS) -> LeaseClaims | None:
    """The move is done and a new lease is stored. Under the lock.

    None when there is nothing to move: no new key, or one whose TPM is gone. Then the old key goes
    on asking under the same question, and answers tell whether the server knows the new one.
    Raises what a renewal raises; the new key then waits for the next one.
    """
    data = core.store.successor()
    held = core.held(tolerant=True)
    if data is None or held.lease is None:
        return None
    old = core.unlock(asking=True)
    try:
        new = core.unlocked(data)
    except (KeyRefused, KeyStoreUnavailable, StateDamaged) as error:
        core.journal.write("device_key_not_moved", code=error.code, durable=True)
        return None
    return _ask(core, held, old, new.identity, data, seconds)


def _ask(
    core: Core, held: Held, old: Identity, new: Identity, data: bytes, seconds: float
) -> LeaseClaims:
    prepared = asking.prepare(core, old, held, OP, new.kid, key=hardware.maker(core, held))
    question = Question(new, held, prepared.keys, prepared.pending, keeper=old)
    claims = HandoverClaims(
        iss=old.kid,
        aud=core.trust.server_id,
        product=core.trust.product,
        sub=str(held.device_id),
        iat=to_numeric(core.ports.now()),
        nonce=question.nonce,
        jkt=new.kid,
    )
    token = handover.sign(claims, old.signer)
    path = f"/v1/leases/{held.device_id}"
    try:
        question, found, asked = hardware.put(
            core, question, "PUT", path, op="renew", seconds=seconds, handover=token
        )
    except Denied as denied:
        core.store.drop_successor()
        raise answering.accept_denial(core, old, question.keys, denied, first=False) from None

    def keep(lease: str, license_: str | None) -> None:
        secret = question.pending.secret()
        core.store.accept_move(new, data, secret, lease=lease, license_=license_)
        core.adopt()

    lease = answering.accept(
        core, question, asked, found, license_needed=True, keep=keep, activated_by=None
    )
    core.journal.write("device_key_moved", durable=True, to=new.kind)
    return lease
