"""The result as others read it: an EAT attestation result (EAR), signed as a JWS.

Draft and version are named by its profile: draft-ietf-rats-ear-04; the trustworthiness vector is
that of draft-ietf-rats-ar4si. Under ``modelseal`` stands our own record with the digests of
evidence, endorsements and policy: who has the inputs can come to the verdict again at its ``now``.
An EAR tells what a verifier found. It opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from modelseal.attest.verify.result import AttestationResult, Submodule
from modelseal.attest.verify.steps import Status, Step
from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import Misuse, TokenClaims, TokenKeyUnknown, TokenType
from modelseal.license import jws
from modelseal.types import Level, from_numeric, to_numeric

PROFILE = "tag:ietf.org,2026:rats/ear#04"
TYP = "eat+jwt"
DEVELOPER = "modelseal"
MAX_BYTES = 1 << 18
NO_CLAIM, AFFIRMED, BOOT_AFFIRMED, WARNED, REFUSED, UNRECOGNISED, CRYPTO_FAILED = (
    *(0, 2, 3, 32),
    *(96, 97, 99),
)
_HARDWARE = ("tcb_", "minimum_tcb", "collateral_", "extra_missing", "gpu_")


def issue(result: AttestationResult, signer: Signer, build: str) -> str:
    """The EAR of ``result``, issued at its own ``now``; ``build`` names the verifier's version."""
    return jws.build(TYP, payload(result, build), [signer])


def payload(result: AttestationResult, build: str) -> dict[str, Any]:
    """What is signed."""
    policy = f"urn:modelseal:policy:sha-256:{result.policy_digest.hex()}"
    return {
        "eat_profile": PROFILE,
        "iat": to_numeric(result.now),
        "ear_verifier_id": {"developer": DEVELOPER, "build": build},
        "submods": {
            name: {
                "ear_status": one.status.value,
                "ear_trustworthiness_vector": vector(one),
                "ear_appraisal_policy_ids": [policy],
            }
            for name, one in zip(result.names, result.submodules, strict=True)
        },
        "modelseal": {**result.record(), "digest": result.digest.hex()},
    }


def read(
    token: str | bytes, keys: Callable[[str, datetime], Sequence[VerifyKey]]
) -> Mapping[str, Any]:
    """The payload of an EAR signed by the one key that ``keys`` gives for a key id at its time.

    Raises what ``keys`` raises, and the errors of tokens.
    """
    found = jws.parse(token, max_bytes=MAX_BYTES)
    if found.typ != TYP:
        raise TokenType(f"typ is {found.typ[:32]!r}, not {TYP}")
    issued = found.payload.get("iat")
    try:
        at = from_numeric(issued)  # type: ignore[arg-type]  # whatever stands there
    except Misuse:
        raise TokenClaims("an attestation result without its time") from None
    one = found.signatures[0]
    known = keys(one.kid, at)
    if len(found.signatures) != 1 or [key.kid for key in known] != [one.kid]:
        raise TokenKeyUnknown("not signed by one known key alone")
    known[0].verify(one.signature, one.signing_input)
    if found.payload.get("eat_profile") != PROFILE:
        raise TokenClaims("an attestation result of another profile")
    for name in ("submods", DEVELOPER):
        if not isinstance(found.payload.get(name), dict):
            raise TokenClaims(f"an attestation result without {name}")
    return found.payload


def vector(one: Submodule) -> dict[str, int]:
    """AR4SI's claims, as far as these steps speak of them; what is not known is no claim."""
    if not one.genuine:
        failed = one.findings[-1].step
        value = CRYPTO_FAILED if failed is Step.SIGNATURE else UNRECOGNISED
        return {"instance-identity": value, "hardware": value}
    claims = {
        "instance-identity": AFFIRMED,
        "configuration": _worst(one, Step.PLATFORM, AFFIRMED, hardware=False),
        "executables": _worst(one, Step.MEASUREMENT, BOOT_AFFIRMED),
        "hardware": _worst(one, Step.PLATFORM, AFFIRMED, hardware=True),
    }
    if one.level is Level.L4:
        opened = any(f.code in ("debug_enabled", "td_attributes") for f in one.findings)
        claims["runtime-opaque"] = REFUSED if opened else AFFIRMED
    return claims


def _worst(one: Submodule, step: Step, good: int, *, hardware: bool | None = None) -> int:
    found = [
        f.status
        for f in one.findings
        if f.step is step
        and (f.code == "ok" or hardware is None or f.code.startswith(_HARDWARE) is hardware)
    ]
    value = {
        Status.AFFIRMING: good,
        Status.NONE: NO_CLAIM,
        Status.WARNING: WARNED,
        Status.CONTRAINDICATED: REFUSED,
    }
    if not found:
        return good if hardware is not None else NO_CLAIM
    return value[max(found, key=lambda status: status.gravity)]
