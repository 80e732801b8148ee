"""What a TPM 2.0 proves: its attestation key, keys it certifies, quotes, the end of a lease key.

The order of belief: a pinned root endorses the TPM (``tpm2_chain``); a credential that only that
TPM can open names the attestation key; that key signs what the TPM states about other keys and
about its clock. Each failure is ``NotGenuine`` with a code of its own. Pure: randomness enters as a
handle. Normative: ``docs/spec/tpm.md``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric import ec

from modelseal import cbor
from modelseal.attest.verify.steps import NotGenuine, Step
from modelseal.attest.verify.tpm2_chain import Endorsement
from modelseal.errors import EvidenceInvalid
from modelseal.tpm2.wire.attest import Attest, Certified, Quoted, Signature
from modelseal.tpm2.wire.attest import Clock as Clock
from modelseal.tpm2.wire.codec import u32, u64
from modelseal.tpm2.wire.codes import Curve, Hierarchy, Operation, TimeField
from modelseal.tpm2.wire.policy import PcrSelection, Policy, pcr_digest
from modelseal.tpm2.wire.public import Ecc, Public
from modelseal.tpm2.wire.secrets import make_credential, qualified_name
from modelseal.tpm2.wire.templates import attestation_key, exchange_key

SECRET_BYTES = 32
CLOCK_STEP_SECONDS = 70 * 60
"""By how much a TPM's clock may fall back when its power fails: 2^22 ms, rounded up."""


@dataclass(frozen=True, slots=True)
class Point:
    """The public point of a P-256 key: 32 bytes each."""

    x: bytes
    y: bytes


@dataclass(frozen=True, slots=True)
class LeaseKey:
    """A decryption key of a TPM that answers until ``clock_limit_ms`` and ``reset_limit``.

    Its policy is that the TPM's clock is below the one and its reset count not above the other.
    """

    point: Point
    clock_limit_ms: int
    reset_limit: int


def lease_policy(clock_limit_ms: int, reset_limit: int) -> bytes:
    """The policy digest of a lease key with this end; ``EvidenceInvalid`` out of range."""
    if not 0 <= clock_limit_ms < 2**64 or not 0 <= reset_limit < 2**32:
        raise EvidenceInvalid("a TPM counts neither milliseconds nor resets so far")
    policy = Policy().counter_timer(u64(clock_limit_ms), TimeField.CLOCK, Operation.UNSIGNED_LESS)
    return policy.counter_timer(
        u32(reset_limit), TimeField.RESET_COUNT, Operation.UNSIGNED_LESS_OR_EQUAL
    ).digest


def lease_template(clock_limit_ms: int, reset_limit: int) -> Public:
    """The public area of a lease key, without its point: every attribute, and the policy.

    It is used under its policy and in no other way, made in this TPM, and never leaves it.
    """
    return exchange_key(lease_policy(clock_limit_ms, reset_limit))


def lease_public(key: LeaseKey) -> Public:
    """The public area of a lease key."""
    return _with_point(lease_template(key.clock_limit_ms, key.reset_limit), key.point)


def attestation_public(point: Point) -> Public:
    """The one public area an attestation key may have: restricted, signing, made in its TPM."""
    return _with_point(attestation_key(), point)


def challenge(
    endorsed: Endorsement, key: Point, secret: bytes, random: Callable[[int], bytes]
) -> tuple[bytes, bytes]:
    """(credential blob, encrypted seed) that give ``secret`` back to one TPM alone.

    The one that holds the endorsement key *and*, loaded, the attestation key with this point.
    """
    name = attestation_public(key).name
    try:
        return make_credential(endorsed.key, name, secret, random)
    except EvidenceInvalid as error:
        raise NotGenuine(Step.PARSE, "evidence_malformed", detail=error.detail) from None


def lease_bound(*, server: str, product: str, jkt: str, nonce: str, kem: str) -> bytes:
    """What the statement about a lease key is bound to: one question of one device to one server.

    ``kem`` is the thumbprint of the KEM key inside; the end of the key is in its own policy.
    """
    said = {"server": server, "product": product, "jkt": jkt, "nonce": nonce, "kem": kem}
    return hashlib.sha256(cbor.encode(["modelseal", "tpm-lease-key", said])).digest()


def check_secret(found: bytes, secret: bytes) -> None:
    """Returns when ``found`` is the secret of the challenge; another TPM does not know it."""
    if not hmac.compare_digest(found, secret):
        raise NotGenuine(Step.BINDING, "credential_wrong")


def certified(raw: bytes, signature: bytes, *, by: Point, key: LeaseKey, bound: bytes) -> Clock:
    """The clock of the TPM at which its attestation key ``by`` certified ``key``.

    The key's name is computed here, from the attributes and the policy that a lease key must have;
    so are the qualified names, which tell the hierarchies. The attestation key must stand in the
    endorsement hierarchy, for in any other the TPM hides its reset count, and the lease key in the
    storage hierarchy, for its keys alone end with ``TPM2_Clear``, which sets the clock to zero.
    """
    stated = _stated(raw, signature, by, bound)
    if not isinstance(stated.statement, Certified):
        raise NotGenuine(Step.PARSE, "evidence_malformed", detail="a statement about no key")
    try:
        public = lease_public(key)
    except EvidenceInvalid as error:
        raise NotGenuine(Step.PARSE, "evidence_malformed", detail=error.detail) from None
    if stated.statement.name != public.name:
        raise NotGenuine(Step.BINDING, "key_not_certified")
    if stated.statement.qualified_name != primary_name(public, Hierarchy.OWNER):
        raise NotGenuine(Step.BINDING, "key_hierarchy")
    return stated.clock


def quoted(
    raw: bytes,
    signature: bytes,
    *,
    by: Point,
    bound: bytes,
    values: Mapping[tuple[int, int], bytes],
) -> Attest:
    """The quote of ``by`` over exactly the registers in ``values`` (bank and number)."""
    stated = _stated(raw, signature, by, bound)
    if not isinstance(stated.statement, Quoted):
        raise NotGenuine(Step.PARSE, "evidence_malformed", detail="a statement that is no quote")
    selections = stated.statement.selections
    chosen = {(one.bank, number) for one in selections for number in one.registers}
    if chosen != set(values) or not chosen or _repeats(selections):
        raise NotGenuine(Step.MEASUREMENT, "pcr_selection")
    try:
        digest = pcr_digest(selections, values)
    except EvidenceInvalid as error:
        raise NotGenuine(Step.PARSE, "evidence_malformed", detail=error.detail) from None
    if digest != stated.statement.pcr_digest:
        raise NotGenuine(Step.MEASUREMENT, "pcr_digest")
    return stated


def check_end(key: LeaseKey, at: Clock, *, seconds: int, power_cuts: int) -> None:
    """Returns when ``key`` ends, by the clock ``at``, within ``seconds`` and ``power_cuts``.

    Raises ``NotGenuine`` with ``key_ended`` for one that is over, ``key_limit`` and
    ``key_resets`` for one that works too long.
    """
    if key.clock_limit_ms < at.clock + 1000 or key.reset_limit < at.reset_count:
        raise NotGenuine(Step.FRESHNESS, "key_ended")
    if key.clock_limit_ms - at.clock > seconds * 1000:
        raise NotGenuine(Step.FRESHNESS, "key_limit")
    if key.reset_limit - at.reset_count > power_cuts:
        raise NotGenuine(Step.FRESHNESS, "key_resets")


def longest_seconds(seconds: int, power_cuts: int) -> int:
    """For how long a lease key can answer at most, as its TPM counts powered-on time."""
    return seconds + power_cuts * CLOCK_STEP_SECONDS


def _stated(raw: bytes, signature: bytes, by: Point, bound: bytes) -> Attest:
    """What ``by`` states, for this question and no other, signed in the endorsement hierarchy."""
    key = attestation_public(by)
    try:
        stated, signed = Attest.from_bytes(raw), Signature.from_bytes(signature)
        public = key.public_key()
    except EvidenceInvalid as error:
        raise NotGenuine(Step.PARSE, "evidence_malformed", detail=error.detail) from None
    scheme = getattr(key.body, "scheme", None)
    try:
        if scheme is None or (signed.alg, signed.hash) != (scheme.alg, scheme.hash):
            raise EvidenceInvalid("signed by another scheme than the key's")
        signed.verify(public, raw)
    except EvidenceInvalid:
        raise NotGenuine(Step.SIGNATURE, "attest_signature") from None
    if stated.signer != primary_name(key, Hierarchy.ENDORSEMENT):
        raise NotGenuine(Step.BINDING, "ak_hierarchy")
    if not hmac.compare_digest(stated.extra, bound):
        raise NotGenuine(Step.FRESHNESS, "attest_bound")
    return stated


def primary_name(key: Public, hierarchy: Hierarchy) -> bytes:
    """The qualified name of ``key`` as a primary object of ``hierarchy`` (part 1, 26.5)."""
    return qualified_name(u32(hierarchy), key.name, key.name_alg)


def _repeats(selections: tuple[PcrSelection, ...]) -> bool:
    banks = [one.bank for one in selections if one.registers]
    return len(set(banks)) != len(banks)


def _with_point(template: Public, point: Point) -> Public:
    body = template.body
    if not isinstance(body, Ecc) or body.curve != Curve.P256:
        raise EvidenceInvalid("a template of another curve")
    if len(point.x) != 32 or len(point.y) != 32:
        raise NotGenuine(Step.PARSE, "evidence_malformed", detail="a point of another length")
    try:
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(point.x, "big"), int.from_bytes(point.y, "big"), ec.SECP256R1()
        )
        numbers.public_key()
    except ValueError:
        raise NotGenuine(Step.PARSE, "evidence_malformed", detail="a point on no curve") from None
    return replace(template, body=replace(body, x=point.x, y=point.y))
