"""Arm PSA attestation tokens (RFC 9783, its draft's 2.0.0, and ``PSA_IOT_PROFILE_1``).

1. parse: COSE_Sign1, the claims of one profile; COSE_Mac0 is refused
2. chain, signature: a pinned key of this chip made the token
3. platform: lifecycle secured
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cbor2

from modelseal.attest.verify import arm_claims, arm_keys, eat
from modelseal.attest.verify.arm_claims import HASH_BYTES, LIFECYCLES
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.errors import EvidenceInvalid
from modelseal.types import Level

LEGACY = "PSA_IOT_PROFILE_1"
PROFILES = ("tag:psacertified.org,2023:psa#tfm", "http://arm.com/psa/2.0.0")
_PROFILE = 265


@dataclass(frozen=True, slots=True)
class _Keys:
    """The claim keys of one profile."""

    client: int
    lifecycle: int
    implementation: int
    boot_seeds: tuple[int, ...]
    certification: int
    components: int
    nonce: int
    instance: int
    service: int


_NEW = _Keys(2394, 2395, 2396, (268, 2397), 2398, 2399, 10, 256, 2400)
_OLD = _Keys(-75001, -75002, -75003, (-75004,), -75005, -75006, -75008, -75009, -75010)
_OLD_PROFILE, _OLD_NO_MEASUREMENTS = -75000, -75007


def judge(case: Case, ledger: Ledger) -> None:
    """Judge one token; see the steps above."""
    if len(case.parts) != 1:
        malformed("one token is needed")
    try:
        outer = eat.untagged(eat.decode(case.parts[0]))
        if isinstance(outer, cbor2.CBORTag) and outer.tag == eat.MAC0:
            raise NotGenuine(Step.PARSE, "psa_mac")
        token = eat.sign1(outer)
        claims = eat.claims(token)
        profile, keys = _profile(claims)
        ledger.claims.update(_shown(claims, profile, keys))
        nonce = arm_claims.octets(claims, keys.nonce, "nonce", HASH_BYTES)
    except EvidenceInvalid as error:
        malformed(error.detail)
    ledger.ok(Step.PARSE)
    arm_keys.check_signed(token, case)
    for step in (Step.CHAIN, Step.REVOCATION, Step.SIGNATURE, Step.FRESHNESS):
        ledger.ok(step)
    ledger.bound["nonce"] = nonce
    ledger.chip = ledger.claims["instance_id"]
    arm_claims.judge_lifecycle(ledger, ledger.claims["lifecycle"], case.options["lifecycles"])
    for place, component in enumerate(ledger.claims["components"]):
        ledger.measured[f"component_{place}"] = component["measurement"]
        ledger.measured[f"signer_{place}"] = component["signer"]


def _profile(claims: Mapping[Any, Any]) -> tuple[str, _Keys]:
    profile = claims.get(_PROFILE)
    if profile in PROFILES:
        return str(profile), _NEW
    if profile is None and claims.get(_OLD_PROFILE, LEGACY) == LEGACY:
        return LEGACY, _OLD
    raise EvidenceInvalid("a profile that is not known here")


def _shown(claims: Mapping[Any, Any], profile: str, keys: _Keys) -> dict[str, Any]:
    client = claims.get(keys.client)
    if not isinstance(client, int) or isinstance(client, bool):
        raise EvidenceInvalid("the claim client id is missing or no number")
    seeds = [key for key in keys.boot_seeds if key in claims]
    unmeasured = keys is _OLD and claims.get(_OLD_NO_MEASUREMENTS) == 1
    return {
        "profile": profile,
        "client_id": client,
        "lifecycle": arm_claims.lifecycle(claims, keys.lifecycle),
        "lifecycle_value": claims[keys.lifecycle],
        "implementation_id": arm_claims.octets(
            claims, keys.implementation, "implementation id", (32,)
        ).hex(),
        "instance_id": arm_claims.ueid(claims, keys.instance).hex(),
        "nonce": arm_claims.octets(claims, keys.nonce, "nonce", HASH_BYTES).hex(),
        "boot_seed": arm_claims.octets(claims, seeds[0], "boot seed").hex() if seeds else None,
        "certification": arm_claims.optional_text(claims, keys.certification, "certification"),
        "verification_service": arm_claims.optional_text(claims, keys.service, "service"),
        "components": [] if unmeasured else arm_claims.components(claims, keys.components),
        "revocation": "absent",
    }


KIND = Kind(
    name="psa",
    level=Level.L2,
    judge=judge,
    reference=(r"component_[0-9]{1,2}", r"signer_[0-9]{1,2}"),
    options={
        "lifecycles": Option(["secured"], LIFECYCLES[1:]),
        "endorsed_keys": Option(False),
    },
)
