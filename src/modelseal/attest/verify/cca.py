"""Arm CCA tokens: a realm, on a platform that vouches for the key which signed the realm's claims.

1. parse: the collection (CBOR tag 399, or 907 of the later drafts), both tokens, their profiles
2. chain, signature: a pinned key of this chip made the platform token; its challenge is the hash of
   the realm's key; that key made the realm token
3. platform: lifecycle secured

Profiles: ``http://arm.com/CCA-SSD/1.0.0`` and ``tag:arm.com,2023:cca_platform#1.0.0``; a realm has
none, and its key is a raw P-384 point, or ``tag:arm.com,2023:realm#1.0.0``, and it is a COSE_Key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

from modelseal.attest.verify import arm_claims, arm_keys, eat
from modelseal.attest.verify.arm_claims import HASH_BYTES, LIFECYCLES
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.errors import EvidenceInvalid
from modelseal.types import Level

CHALLENGE_BYTES = 64
PLATFORM_PROFILES = ("tag:arm.com,2023:cca_platform#1.0.0", "http://arm.com/CCA-SSD/1.0.0")
REALM_PROFILE = "tag:arm.com,2023:realm#1.0.0"
_COLLECTION, _WRAPPED = 399, 907
_PLATFORM, _REALM, _DEVICES, _CWT = 44234, 44241, 44258, 263
_PROFILE, _NONCE = 265, 10
_REALM_PERSONALIZATION, _REALM_HASH, _REALM_KEY = 44235, 44236, 44237
_REALM_INITIAL, _REALM_EXTENSIBLE, _REALM_KEY_HASH = 44238, 44239, 44240
_HASHES = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
_RAW_POINT_BYTES = 97


@dataclass(frozen=True, slots=True)
class _Realm:
    """The realm's claims that the verifier needs."""

    challenge: bytes
    key: ec.EllipticCurvePublicKey
    key_bytes: bytes
    key_hash: str
    initial: bytes
    extensible: tuple[bytes, ...]
    shown: Mapping[str, Any]


def judge(case: Case, ledger: Ledger) -> None:
    """Judge one token; see the steps above."""
    if len(case.parts) != 1:
        malformed("one token is needed")
    try:
        platform, realm, has_devices = _collection(eat.decode(case.parts[0]))
        platform_claims = eat.claims(platform)
        shown = _platform(platform_claims)
        challenge = arm_claims.octets(platform_claims, _NONCE, "platform challenge", HASH_BYTES)
        inner = _realm(eat.claims(realm))
    except EvidenceInvalid as error:
        malformed(error.detail)
    ledger.claims.update({"platform": shown, "realm": inner.shown, "revocation": "absent"})
    ledger.ok(Step.PARSE)
    arm_keys.check_signed(platform, case)
    ledger.ok(Step.CHAIN)
    digest = hashlib.new(_HASHES[inner.key_hash], inner.key_bytes).digest()
    if not hmac.compare_digest(digest, challenge):
        raise NotGenuine(Step.SIGNATURE, "cca_realm_key_unbound")
    try:
        realm.check(inner.key)
    except EvidenceInvalid as error:
        raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail=error.detail) from None
    for step in (Step.SIGNATURE, Step.REVOCATION, Step.FRESHNESS):
        ledger.ok(step)
    ledger.bound["realm_challenge"] = inner.challenge
    ledger.chip = shown["instance_id"]
    if has_devices:
        ledger.unknown(Step.PLATFORM, "cca_devices_unread")
    arm_claims.judge_lifecycle(ledger, shown["lifecycle"], case.options["lifecycles"])
    _measured(ledger, shown, inner)


def _collection(value: Any) -> tuple[eat.Sign1, eat.Sign1, bool]:
    if not isinstance(value, cbor2.CBORTag) or not isinstance(value.value, Mapping):
        raise EvidenceInvalid("not a CCA token: no tagged collection")
    members = value.value
    known = {_COLLECTION: {_PLATFORM, _REALM}, _WRAPPED: {_PLATFORM, _REALM, _DEVICES}}
    if not {_PLATFORM, _REALM} <= set(members) <= known.get(value.tag, set()):
        raise EvidenceInvalid("not a CCA token: another tag or other members")
    tokens = [_token(members[key], wrapped=value.tag == _WRAPPED) for key in (_PLATFORM, _REALM)]
    return tokens[0], tokens[1], _DEVICES in members


def _token(member: Any, *, wrapped: bool) -> eat.Sign1:
    if wrapped:
        if not isinstance(member, (list, tuple)) or len(member) != 2 or member[0] != _CWT:
            raise EvidenceInvalid("a member of the collection that is no wrapped token")
        member = member[1]
    if not isinstance(member, bytes):
        raise EvidenceInvalid("a member of the collection that is no byte string")
    return eat.sign1(eat.decode(member))


def _platform(claims: Mapping[Any, Any]) -> dict[str, Any]:
    profile = arm_claims.text(claims, _PROFILE, "platform profile")
    if profile not in PLATFORM_PROFILES:
        raise EvidenceInvalid("a platform profile that is not known here")
    return {
        "profile": profile,
        "implementation_id": arm_claims.octets(claims, 2396, "implementation id", (32,)).hex(),
        "instance_id": arm_claims.ueid(claims, 256).hex(),
        "config": arm_claims.octets(claims, 2401, "platform config").hex(),
        "lifecycle": arm_claims.lifecycle(claims, 2395),
        "lifecycle_value": claims[2395],
        "components": arm_claims.components(claims, 2399),
        "hash": _hash_name(claims, 2402, "platform hash"),
        "verification_service": arm_claims.optional_text(claims, 2400, "verification service"),
    }


def _realm(claims: Mapping[Any, Any]) -> _Realm:
    profile = arm_claims.optional_text(claims, _PROFILE, "realm profile")
    if profile not in (None, REALM_PROFILE):
        raise EvidenceInvalid("a realm profile that is not known here")
    key_bytes = arm_claims.octets(claims, _REALM_KEY, "realm key")
    extensible = claims.get(_REALM_EXTENSIBLE)
    if not isinstance(extensible, (list, tuple)) or len(extensible) != 4:
        raise EvidenceInvalid("a realm has four extensible measurements")
    registers = dict(enumerate(extensible))
    measured = tuple(
        arm_claims.octets(registers, place, "realm measurement", HASH_BYTES) for place in range(4)
    )
    initial = arm_claims.octets(claims, _REALM_INITIAL, "initial measurement", HASH_BYTES)
    challenge = arm_claims.octets(claims, _NONCE, "realm challenge", (CHALLENGE_BYTES,))
    personalization = arm_claims.octets(claims, _REALM_PERSONALIZATION, "personalization", (64,))
    return _Realm(
        challenge=challenge,
        key=_realm_key(key_bytes),
        key_bytes=key_bytes,
        key_hash=_hash_name(claims, _REALM_KEY_HASH, "realm key hash"),
        initial=initial,
        extensible=measured,
        shown={
            "profile": profile,
            "challenge": challenge.hex(),
            "personalization": personalization.hex(),
            "initial_measurement": initial.hex(),
            "extensible_measurements": [value.hex() for value in measured],
            "hash": _hash_name(claims, _REALM_HASH, "realm hash"),
            "public_key": key_bytes.hex(),
        },
    )


def _realm_key(data: bytes) -> ec.EllipticCurvePublicKey:
    """The realm's key in either form: the platform binds these very bytes, whatever the profile."""
    if len(data) == _RAW_POINT_BYTES:
        return eat.point(ec.SECP384R1(), data)
    key = eat.cose_key(data)
    if not isinstance(key.curve, ec.SECP384R1):
        raise EvidenceInvalid("a realm key that is not on P-384")
    return key


def _hash_name(claims: Mapping[Any, Any], key: int, name: str) -> str:
    value = arm_claims.text(claims, key, name)
    if value not in _HASHES:
        raise EvidenceInvalid(f"the claim {name} names an unknown hash")
    return value


def _measured(ledger: Ledger, shown: Mapping[str, Any], realm: _Realm) -> None:
    ledger.measured["realm_initial"] = realm.initial.hex()
    for place, value in enumerate(realm.extensible):
        ledger.measured[f"realm_extensible_{place}"] = value.hex()
    for place, component in enumerate(shown["components"]):
        ledger.measured[f"platform_{place}"] = component["measurement"]
    ledger.measured["platform_config"] = shown["config"]


KIND = Kind(
    name="cca",
    level=Level.L4,
    judge=judge,
    reference=(
        "realm_initial",
        r"realm_extensible_[0-3]",
        r"platform_[0-9]{1,2}",
        "platform_config",
    ),
    bound_bytes=CHALLENGE_BYTES,
    options={
        "lifecycles": Option(["secured"], LIFECYCLES[1:]),
        "endorsed_keys": Option(False),
    },
)
