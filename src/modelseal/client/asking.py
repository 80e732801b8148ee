"""Putting one question to the server, so that no crash and no lost reply harms.

``prepare`` stores nonce and KEM private key durably before anything is sent. The same question is
repeated under the same nonce until a signed answer to it is stored; only a signed answer, lease or
denial, ends it. ``put`` sends it and returns what came back, verified to answer exactly it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from modelseal import device
from modelseal.client import answers, counting, operator, trusting
from modelseal.client.answers import SignedRefusal
from modelseal.client.core import Core, Held
from modelseal.client.identity import Identity
from modelseal.client.leasekey import LeaseKeys, Pending
from modelseal.client.tpm import HardwareKey
from modelseal.client.transport import ANSWER_SECONDS
from modelseal.crypto import hpke
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import (
    AnswerInvalid,
    AnswerUnsigned,
    AssuranceNotReached,
    InvalidBytes,
    ModelsealError,
    Refused,
    StateDamaged,
    StoreBehind,
    by_code,
)
from modelseal.license import lease, tokens
from modelseal.license.claims import (
    ClockReading,
    DenialClaims,
    EnforcementName,
    KemKey,
    LeaseClaims,
    ReleaseClaims,
    RequestClaims,
    TraitDigest,
)
from modelseal.strict_json import b64u
from modelseal.types import to_numeric

_NONCE_BYTES = 32
_ROOM_FOR_LEASE = 16384
_FIRST = frozenset({"activate", "trial", "lookup"})
_OUTSIDE = frozenset({"nonce", "attest", "delegate"})
"""What is asked beside the chain: a denial of it ends the question and nothing else."""
_IN_CHAIN = frozenset({"renew", "return"})
_TELLS_USAGE = frozenset({"renew", "release", "return", "attest"})
_CONTENT_TYPE = "application/jwt"
MakeKey = Callable[[], HardwareKey]


@dataclass(frozen=True, slots=True)
class Question:
    """A prepared question: who asks, what is held, what opens the answer.

    ``keeper`` is whose ``lease.key`` it stands in, where that is another identity than asks.
    """

    identity: Identity
    held: Held
    keys: LeaseKeys = field(repr=False)
    pending: Pending
    keeper: Identity | None = None

    def with_key(self, core: Core, key: HardwareKey) -> Question:
        """The question with another key in the TPM, stored durably.

        Only for a question that no answer can have been given to.
        """
        pending = replace(self.pending, hardware=key)
        keys = replace(self.keys, pending=pending)
        core.store.write_lease_keys(self.keeper or self.identity, keys)
        return replace(self, keys=keys, pending=pending)

    @property
    def nonce(self) -> str:
        """What the answer must echo."""
        return self.pending.nonce


@dataclass(frozen=True, slots=True)
class Denied(Exception):
    """A verified denial that answers the question."""

    claims: DenialClaims
    token: str = field(repr=False)


def prepare(
    core: Core,
    identity: Identity,
    held: Held,
    op: str,
    *parts: str,
    key: MakeKey | None = None,
) -> Question:
    """The question, its nonce and KEM key stored durably. Under the lock.

    ``key`` makes the TPM's part of a new question.

    A question that may have reached the server is asked again under its own nonce: the very same
    one, and from a place in the chain whatever else is asked there (a fresh nonce is a copy's).
    """
    keys = stored_keys(core, identity)
    ask = identity.keyed_hash(op, *parts)
    pending = keys.pending
    repeat = pending is not None and _stands(pending, held) and (pending.ask == ask or held.seq > 0)
    if pending is None or not repeat:
        pending = Pending(
            op=op,
            nonce=fresh_nonce(core),
            kem=KemPrivateKey.generate().to_bytes(),
            seq=held.seq,
            prev=held.prev,
            ask=ask,
            hardware=None if key is None else key(),
        )
        keys = LeaseKeys(keys.current, pending, keys.coming)
        core.store.write_lease_keys(identity, keys)
    return Question(identity, held, keys, pending)


def _stands(pending: Pending, held: Held) -> bool:
    """Whether the pending question may still be answered: none but leases under codes followed."""
    record = held.record
    return pending.seq in (held.seq, None if record is None else record.code_from)


def stored_keys(core: Core, identity: Identity) -> LeaseKeys:
    """``lease.key``; a damaged one counts as empty here, since asking anew replaces it."""
    try:
        return core.store.lease_keys(identity)
    except StateDamaged:
        core.journal.write("state_damaged", file="lease.key")
        return LeaseKeys()


def fresh_nonce(core: Core) -> str:
    """A nonce nobody can guess, as it stands in a request."""
    return b64u(core.ports.random(_NONCE_BYTES))


def claims(
    core: Core,
    identity: Identity,
    held: Held,
    *,
    op: str,
    nonce: str,
    kem: bytes | None,
    **more: Any,
) -> RequestClaims:
    """The request's claims with all that every request says."""
    now = core.ports.now()
    enrolment = device.enrol(core.traits(), core.trust.trait_salt)
    around = core.surroundings()
    return RequestClaims(
        iss=identity.kid,
        aud=core.trust.server_id,
        product=core.trust.product,
        jti=core.new_id("req"),
        iat=to_numeric(now),
        op=op,  # type: ignore[arg-type]
        nonce=nonce,
        jwk=dict(identity.signer.jwk),
        clock=ClockReading(
            wall=to_numeric(now),
            monotonic_seconds=int(core.ports.monotonic()),
            last_seen=None if held.record is None else held.record.last_seen,
        ),
        sub=held.device_id,
        lic=_license(held),
        seq=held.seq,
        prev=held.prev,
        kem=[] if kem is None else [kem_key(kem)],
        traits=[*enrolment.digests, *operator_digest(core)],
        missing=list(enrolment.missing),
        memory=_memory(held),
        enforcement=_possible(more),
        vm=around.vm,
        container=around.container,
        usage=counting.usage(core, held.record) if op in _TELLS_USAGE else [],
        next_lease=held.record.next_lease if op in _IN_CHAIN and held.record else None,
        **more,
    )


def _possible(more: Mapping[str, Any]) -> list[EnforcementName]:
    """How the end of a lease can be held here; in hardware where that is proved beside it."""
    return ["online", "software", "hardware"] if more.get("tpm") else ["online", "software"]


def operator_digest(core: Core) -> list[TraitDigest]:
    """The identity that an operator gave this device, as the server may know it."""
    named = operator.given(core.ports.environ)
    return [] if named is None else [device.operator_digest(named, core.trust.trait_salt)]


def claims_of(
    core: Core, question: Question, *, op: str, next_kems: Sequence[bytes] = (), **more: Any
) -> RequestClaims:
    """The claims of a prepared question, which stands where the device was when it was made.

    ``next_kems`` are the private keys of leases ahead that are asked for with it.
    """
    pending = question.pending
    asked = claims(
        core, question.identity, question.held, op=op, nonce=pending.nonce, kem=pending.kem, **more
    )
    if next_kems:
        kem = [*asked.kem, *(kem_key(each) for each in next_kems)]
        asked = msgspec.structs.replace(asked, kem=kem, next_count=len(next_kems))
    if pending.seq == asked.seq:
        return asked
    return msgspec.structs.replace(asked, seq=pending.seq, prev=pending.prev)


def put(
    core: Core,
    question: Question,
    method: str,
    path: str,
    *,
    op: str,
    seconds: float = ANSWER_SECONDS,
    **more: Any,
) -> tuple[dict[str, Any], RequestClaims]:
    """The server's answer as an object, and what was asked.

    Raises ``Denied`` for a signed refusal of this question. Every other failure raises an error of
    ours and has changed nothing.
    """
    asked = claims_of(core, question, op=op, **more)
    return show(core, question.identity, question.held, asked, method, path, seconds=seconds)


def show(
    core: Core,
    identity: Identity,
    held: Held,
    asked: RequestClaims,
    method: str,
    path: str,
    *,
    seconds: float,
) -> tuple[dict[str, Any], RequestClaims]:
    """As ``send``; a server whose store is older than our lease is shown it, to adopt it."""
    try:
        return send(core, identity, asked, method, path, seconds=seconds), asked
    except StoreBehind:
        token = held.lease_token
        if token is None or asked.lease_token is not None or len(token) > _ROOM_FOR_LEASE:
            raise
        shown = msgspec.structs.replace(asked, lease_token=token)
        return send(core, identity, shown, method, path, seconds=seconds), shown


def send(
    core: Core,
    identity: Identity,
    asked: RequestClaims,
    method: str,
    path: str,
    *,
    seconds: float = ANSWER_SECONDS,
) -> dict[str, Any]:
    """One signed request and its answer; see ``put``."""
    body = tokens.sign(asked, [identity.signer]).encode("ascii")
    return exchange(
        core, identity, asked, method, path, body, content_type=_CONTENT_TYPE, seconds=seconds
    )


def exchange(
    core: Core,
    identity: Identity,
    asked: RequestClaims,
    method: str,
    path: str,
    body: bytes,
    *,
    content_type: str,
    seconds: float = ANSWER_SECONDS,
) -> dict[str, Any]:
    """``body``, in which the signed request ``asked`` stands, and its answer; see ``put``."""
    headers: Mapping[str, str] = {
        "Content-Type": content_type,
        "Accept": "application/json, application/problem+json",
        "Idempotency-Key": asked.nonce,
    }
    answer = core.transport.exchange(method, path, body=body, headers=headers, seconds=seconds)
    found = answers.read(answer, server=core.server)
    if isinstance(found, SignedRefusal):
        raise _verified(core, identity, asked, found)
    return found


def check(
    answer: LeaseClaims | DenialClaims | ReleaseClaims, asked: RequestClaims, identity: Identity
) -> None:
    """Returns when a signed answer answers exactly this question of this device.

    Entering a license key begins a chain of its own, so nothing of an older one is compared then.
    """
    outside = asked.op in _OUTSIDE and isinstance(answer, DenialClaims)
    first = asked.op in _FIRST or outside
    lease.check_answer(
        answer,
        nonce=asked.nonce,
        jkt=identity.kid,
        seq=0 if first else asked.seq,
        device=None if first else asked.sub,
    )


def text_of(found: Mapping[str, Any], name: str) -> str:
    """A member of the answer that must be a text."""
    value = found.get(name)
    if not isinstance(value, str):
        raise AnswerInvalid(f"the answer has no {name}")
    return value


def error_of(denial: DenialClaims) -> ModelsealError:
    """The error a verified denial stands for, with its reference and parameters."""
    cls = by_code(denial.code)
    if cls is None or not issubclass(cls, (Refused, AssuranceNotReached)):
        cls = Refused
    params = {n: v for n, v in denial.params.items() if n not in ("detail", "reference")}
    detail = "" if cls is not Refused else denial.code
    return cls(detail, reference=denial.reference, **params)


def _verified(
    core: Core, identity: Identity, asked: RequestClaims, refusal: SignedRefusal
) -> Denied:
    try:
        denial = trusting.read_token(core, refusal.denial, DenialClaims)
    except InvalidBytes as error:
        saw = f"a refusal whose signature does not hold ({error.code})"
        raise AnswerUnsigned(
            saw, server=core.server, status=refusal.answer.status, saw=saw
        ) from None
    check(denial, asked, identity)
    return Denied(denial, refusal.denial)


def _license(held: Held) -> str | None:
    return None if held.license is None else held.license.sub


def _memory(held: Held) -> Any:
    note = None if held.record is None else held.record.memory
    return "none" if note is None else note.protection


def kem_key(kem: bytes) -> KemKey:
    """The public half of a KEM private key (96 bytes) as a request names it."""
    return KemKey(suite=hpke.SUITE, pub=KemPrivateKey(kem).jwk["pub"])
