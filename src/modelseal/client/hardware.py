"""Proving this computer's TPM to the server, and opening what is sealed to its lease keys.

The TPM is asked only where the license wants it. What does not reach a level is no error here: the
server says what was missing, and refuses where the plan demands it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelseal.client import asking, identity
from modelseal.client.asking import Question
from modelseal.client.core import Core, Held
from modelseal.client.identity import Identity
from modelseal.client.leasekey import LeaseSecret
from modelseal.client.tpm import SEED_BYTES, DeviceTpm, HardwareKey
from modelseal.client.transport import ANSWER_SECONDS
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.hpke_p256 import P256PrivateKey, point_jwk
from modelseal.errors import (
    AnswerInvalid,
    EnforcementNotReached,
    EvidenceOutdated,
    KeyStoreUnavailable,
    LeaseKeyEnded,
    LevelNotReached,
    ModelsealError,
    TpmFailed,
)
from modelseal.license.claims import (
    LeaseClaims,
    P256Point,
    RequestClaims,
    TpmCredential,
    TpmEndorsement,
    TpmEvidence,
)
from modelseal.license.plans import DEFAULT_LEASE_SECONDS, DEFAULT_POWER_CUTS
from modelseal.strict_json import b64u
from modelseal.types import to_numeric

LEVEL = 2
SLACK_SECONDS = 60
NO_CERTIFICATE = "ek_certificate_missing"
_TRIES = 4
_FIRST = frozenset({"activate", "trial"})
_CHALLENGE = "/v1/devices:challenge"
_DEMANDS = frozenset({EnforcementNotReached.code, LevelNotReached.code})


@dataclass(frozen=True, slots=True)
class Ends:
    """How long a lease key is to answer."""

    seconds: int
    power_cuts: int


def tpm_of(core: Core) -> DeviceTpm:
    """The TPM of this device: the one that holds its keys or is to, else the computer's own."""
    uri = core.settings.device_key
    data = core.store.successor() or core.store.device_key()
    if uri is None and data is not None:
        uri = identity.uri_of(data, str(core.store.path))
    if uri is None:
        return core.ports.tpm("")
    from modelseal.keys.tpm2.uri import parse_uri

    return core.ports.tpm(str(parse_uri(uri).address))


def opener(core: Core, lease: LeaseClaims, secret: LeaseSecret) -> P256PrivateKey | None:
    """What takes off the TPM's layer; None for a lease that has none."""
    key = secret.hardware
    return None if key is None or lease.hardware is None else private(core, key)


def private(core: Core, key: HardwareKey) -> P256PrivateKey:
    """The key as what opens; each opening asks the TPM."""
    tpm = tpm_of(core)
    return P256PrivateKey(lambda x, y: tpm.exchange(key, x, y), point_jwk(key.x, key.y))


def wanted(held: Held) -> bool:
    """Whether the license gives more to a device whose TPM is proved."""
    if held.lease is not None and held.lease.hardware is not None:
        return True
    if held.denial is not None and held.denial.code in _DEMANDS:
        return True
    granted = [] if held.license is None else held.license.ent
    return any(1 <= item.min_level <= LEVEL for item in granted)


def present(core: Core) -> bool:
    """Whether this computer has a TPM that answers."""
    try:
        tpm_of(core).clock()
    except KeyStoreUnavailable as error:
        core.journal.write("no_tpm", detail=error.detail)
        return False
    return True


def maker(
    core: Core, held: Held, *, demanded: ModelsealError | None = None
) -> asking.MakeKey | None:
    """What makes the key of the next lease; None where there is no TPM and none is needed.

    ``demanded`` is the refusal that asks for one. ``KeyStoreUnavailable`` while a lease runs that
    only the TPM can follow.
    """
    if demanded is None and not wanted(held):
        return None
    try:
        tpm_of(core).clock()
    except KeyStoreUnavailable as error:
        lease = held.lease
        runs = lease is not None and to_numeric(core.ports.now()) < lease.exp
        if runs and lease is not None and lease.hardware is not None:
            raise
        core.journal.write("no_tpm", detail=error.detail)
        return None
    return lambda: make(core, told(core, held, demanded))


def run_key(core: Core, held: Held, lease: LeaseClaims) -> HardwareKey | None:
    """A key for one run, where its TPM opens more; it ends with the lease."""
    if not wanted(held) or not present(core):
        return None
    return make(core, Ends(left_of(lease, core.ports.now()), ends_of(core, held).power_cuts))


def left_of(lease: LeaseClaims, now: datetime) -> int:
    """For how many seconds a key of one run is made: a little less than the lease goes on.

    Between the TPM's statement and the server's judgement the lease gets shorter, the key does not;
    a TPM and a slow network take their time.
    """
    left = lease.exp - to_numeric(now)
    return max(1, left - min(SLACK_SECONDS, left // 2))


def make(core: Core, ends: Ends) -> HardwareKey:
    """A fresh key in the TPM that ends so."""
    return tpm_of(core).make(core.ports.random(SEED_BYTES), ends.seconds, ends.power_cuts)


def ends_of(core: Core, held: Held) -> Ends:
    """What the license allows, as far as it is known here; the server corrects it."""
    seconds, cuts = DEFAULT_LEASE_SECONDS, DEFAULT_POWER_CUTS
    if held.license is not None:
        left = held.license.exp - to_numeric(core.ports.now())
        seconds = max(1, min(held.license.lease_max_seconds, left))
    if held.lease is not None and held.lease.hardware is not None:
        end = held.lease.hardware
        cuts = end.reset_limit - end.reset_count
    return Ends(seconds, cuts)


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
    """As ``asking.put``, with the TPM's proof where the question has a key in it.

    A server that is asked for the first time does not know the TPM, so it is asked to challenge it.
    The question that was answered comes back: its key may be another one. What the server wants
    proved anew is proved anew, under the same nonce: nothing was decided about it.
    """
    credential: TpmCredential | None = None
    unproved: str | None = None
    if question.pending.hardware is not None and op in _FIRST:
        credential = enrol(core, question.identity, question.held)
        unproved = NO_CERTIFICATE if credential is None else None
    for attempt in range(_TRIES):
        evidence = None if unproved else prove(core, question, credential)
        proof = {} if evidence is None else {"tpm": evidence}
        try:
            found, asked = asking.put(
                core, question, method, path, op=op, seconds=seconds, **more, **proof
            )
        except EvidenceOutdated as error:
            if evidence is None or attempt == _TRIES - 1:
                raise
            if str(error.params.get("verdict", "")).startswith("key_"):
                question = question.with_key(core, make(core, told(core, question.held, error)))
            else:
                credential = enrol(core, question.identity, question.held)
                unproved = NO_CERTIFICATE if credential is None else None
            continue
        core.note(verdict=unproved or _verdict(found))
        return question, found, asked
    raise KeyStoreUnavailable("the TPM's proof is never new enough")


def prove(core: Core, question: Question, credential: TpmCredential | None) -> TpmEvidence | None:
    """The TPM's statement about the question's key; None without a key, or without its TPM."""
    pending = question.pending
    if pending.hardware is None:
        return None
    kem = KemPrivateKey(pending.kem)
    return statement(core, question.identity, pending.nonce, kem, pending.hardware, credential)


def statement(
    core: Core,
    me: Identity,
    nonce: str,
    kem: KemPrivateKey,
    key: HardwareKey,
    credential: TpmCredential | None = None,
) -> TpmEvidence | None:
    """The TPM's statement about ``key`` for one question; None where the TPM has it no more."""
    from modelseal.attest.verify.tpm2 import lease_bound

    trust, tpm, seed = core.trust, tpm_of(core), ak_seed(me)
    bound = lease_bound(
        server=trust.server_id, product=trust.product, jkt=me.kid, nonce=nonce, kem=kem.kid
    )
    try:
        attest, signature = tpm.state_of(key, seed, bound)
    except LeaseKeyEnded:  # the TPM was cleared since: the question ends without it
        return None
    x, y = tpm.attestation_point(seed)
    return TpmEvidence(
        ak=P256Point(b64u(x), b64u(y)),
        key=P256Point(b64u(key.x), b64u(key.y)),
        clock_limit_ms=key.clock_limit_ms,
        reset_limit=key.reset_limit,
        attest=b64u(attest),
        signature=b64u(signature),
        credential=credential,
    )


def enrol(core: Core, me: Identity, held: Held) -> TpmCredential | None:
    """What only this TPM can read of the server's challenge; None without a certificate of it.

    Under a root that the server does not know there is no secret in it, and the server says why.
    """
    tpm, seed = tpm_of(core), ak_seed(me)
    certificates = [b64u(data) for data in tpm.certificates()]
    if not certificates:
        core.journal.write("no_endorsement_certificate")
        return None
    x, y = tpm.attestation_point(seed)
    asked = asking.claims(
        core, me, held, op="challenge", nonce=asking.fresh_nonce(core), kem=None,
        endorsement=TpmEndorsement(certificates, P256Point(b64u(x), b64u(y))),
    )  # fmt: skip
    found = asking.send(core, me, asked, "POST", _CHALLENGE)
    if asking.text_of(found, "verdict") != "ok":
        return TpmCredential(certificates)
    blob, encrypted = _bytes(found, "credential"), _bytes(found, "seed")
    ends = _time(asking.text_of(found, "expires_at"))
    try:
        secret = tpm.activate(seed, blob, encrypted)
    except TpmFailed:
        return TpmCredential(certificates, ends)
    return TpmCredential(certificates, ends, b64u(secret))


def ak_seed(me: Identity) -> bytes:
    """Each device has an attestation key of its own: two products do not see that it is one TPM."""
    return me.keyed_hash("tpm-attestation-key")


def told(core: Core, held: Held, error: ModelsealError | None) -> Ends:
    """How long a lease key may answer, as far as the server's answer says it."""
    known = ends_of(core, held)
    if error is None:
        return known
    seconds, cuts = error.params.get("seconds"), error.params.get("power_cuts")
    return Ends(
        seconds if isinstance(seconds, int) else known.seconds,
        cuts if isinstance(cuts, int) else known.power_cuts,
    )


def _verdict(found: Mapping[str, Any]) -> str | None:
    said = found.get("verdict")
    return said[:64] if isinstance(said, str) else None


def _bytes(found: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(asking.text_of(found, name), validate=True)
    except binascii.Error:
        raise AnswerInvalid(f"the answer has no {name}") from None


def _time(text: str) -> int:
    try:
        return to_numeric(datetime.fromisoformat(text))
    except ValueError:
        raise AnswerInvalid("the answer has no time") from None
