"""PCR values that an owner approved by signature: what ``PolicyAuthorize`` asks for.

A key made with ``authority`` opens in the state it was made in, and in any that the authority's
key signed. So a firmware or kernel update needs a newly signed policy beside the key file
(``NAME.policy``), and no new key. ``encode`` and ``decode`` undo each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from modelseal import strict_json
from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import ConfigInvalid, InvalidBytes, Misuse, StateDamaged
from modelseal.keys.tpm2.uri import parse_pcrs, write_pcrs
from modelseal.strict_json import JsonInvalid, b64u, unb64u
from modelseal.tpm2.wire.attest import Signature
from modelseal.tpm2.wire.codes import Alg, Attribute
from modelseal.tpm2.wire.policy import PcrSelection, Policy, pcr_digest
from modelseal.tpm2.wire.public import Public, Scheme, ecc_of

SUFFIX = ".policy"
MAX_BYTES = 64 * 1024
TYP = "modelseal-tpm-policy"
MAX_POLICIES = 64
Values = Mapping[tuple[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Approval:
    """Registers and the digest of their approved values, signed."""

    pcrs: tuple[PcrSelection, ...]
    values: bytes
    signature: Signature

    @property
    def policy(self) -> bytes:
        """The policy digest that was signed."""
        return Policy().pcr(self.pcrs, self.values).digest

    def holds(self, values: Values) -> bool:
        """True when the registers hold what was approved."""
        return pcr_digest(self.pcrs, values) == self.values


def authority_of(jwk: Mapping[str, object]) -> Public:
    """The public ES256 key of ``jwk`` as the TPM names it."""
    key = VerifyKey.from_jwk(jwk, "ES256")
    x, y = (int.from_bytes(unb64u(key.jwk[name]), "big") for name in ("x", "y"))
    point = ecc_of(ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())
    body = type(point)(point.curve, point.x, point.y, scheme=Scheme(Alg.ECDSA, Alg.SHA256))
    return Public(Attribute.SIGN | Attribute.USER_WITH_AUTH, body)


def read_authority(data: bytes, path: str) -> Public:
    """The authority in a JWK file; ``ConfigInvalid`` for anything else."""
    try:
        found = strict_json.decode(data, max_bytes=4096)
        if not isinstance(found, dict):
            raise JsonInvalid("no object")
        return authority_of(found)
    except InvalidBytes as error:
        raise ConfigInvalid(f"no public ES256 key as JWK: {error.detail}", path=path) from None


def approve(signer: Signer, pcrs: tuple[PcrSelection, ...], values: bytes) -> Approval:
    """The signed approval of registers whose values have the digest ``values`` (32 bytes)."""
    if signer.alg != "ES256" or len(values) != 32 or not pcrs:
        raise Misuse("PCR values are approved by an ES256 key, over a digest of 32 bytes")
    made = signer.sign(Policy().pcr(pcrs, values).digest)
    return Approval(pcrs, values, Signature(Alg.ECDSA, Alg.SHA256, made[:32], made[32:]))


def encode(approvals: Sequence[Approval]) -> bytes:
    """The policy file."""
    listed = [
        {
            "pcrs": write_pcrs(each.pcrs),
            "values": each.values.hex(),
            "signature": b64u(each.signature.jose()),
        }
        for each in approvals
    ]
    return strict_json.encode({"typ": TYP, "version": 1, "policies": listed})


def decode(data: bytes, path: str) -> tuple[Approval, ...]:
    """What ``encode`` wrote; ``StateDamaged`` for anything else. The TPM checks the signatures."""
    try:
        found = strict_json.decode(data, max_bytes=MAX_BYTES)
        if set(found) != {"typ", "version", "policies"} or (found["typ"], found["version"]) != (
            TYP,
            1,
        ):
            raise JsonInvalid("another kind of file")
        if len(found["policies"]) > MAX_POLICIES:
            raise JsonInvalid("too many policies")
        return tuple(_approval(each) for each in found["policies"])
    except InvalidBytes as error:
        raise StateDamaged(f"no TPM policy file: {error.detail}", path=path) from None
    except (ConfigInvalid, TypeError, ValueError, KeyError):
        raise StateDamaged("no TPM policy file", path=path) from None


def find(approvals: Sequence[Approval], values: Values) -> Approval | None:
    """The approval of what the registers hold now."""
    return next((each for each in approvals if each.holds(values)), None)


def _approval(each: Any) -> Approval:
    if set(each) != {"pcrs", "values", "signature"}:
        raise JsonInvalid("a policy has other members")
    raw, values = unb64u(each["signature"]), bytes.fromhex(each["values"])
    if len(raw) != 64 or len(values) != 32:
        raise JsonInvalid("a policy has values of another length")
    signature = Signature(Alg.ECDSA, Alg.SHA256, raw[:32], raw[32:])
    return Approval(parse_pcrs(each["pcrs"]), values, signature)
