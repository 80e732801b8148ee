"""The public keys to which Arm tokens are pinned: one per chip, known to whoever made or bought it.

There is no vendor root above them. They come from the policy (``roots``), or from endorsements
where the policy says that the operator answers for these (``endorsed_keys``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from modelseal import strict_json
from modelseal.attest.verify import der, eat, x509
from modelseal.attest.verify.kinds import Case
from modelseal.attest.verify.steps import NotGenuine, Step
from modelseal.errors import EvidenceInvalid, InvalidBytes

MAX_KEYS = 256
_CURVES: Mapping[str, tuple[type[ec.EllipticCurve], int]] = {
    "P-256": (ec.SECP256R1, 32),
    "P-384": (ec.SECP384R1, 48),
    "P-521": (ec.SECP521R1, 66),
}


def check_signed(token: eat.Sign1, case: Case) -> None:
    """Returns when a pinned key signed ``token``; ``NotGenuine`` otherwise.

    Without any key the chain is at fault, with none that fits the signature.
    """
    keys = [key for root in case.roots for key in _read(root, strict=True)]
    if case.options["endorsed_keys"]:
        keys += [key for item in case.endorsements.raw for key in _read(item, strict=False)]
    if not keys:
        raise NotGenuine(Step.CHAIN, "arm_key_missing")
    for key in keys[:MAX_KEYS]:
        try:
            token.check(key)
        except EvidenceInvalid:
            continue
        return
    raise NotGenuine(
        Step.SIGNATURE, "signature_invalid", detail="none of the pinned keys made this token"
    )


def public_keys(root: bytes) -> list[ec.EllipticCurvePublicKey]:
    """The elliptic-curve keys of a pinned root (JWK, PEM or DER); ``NotGenuine`` for none."""
    return list(_read(root, strict=True))


def _read(data: bytes, *, strict: bool) -> Iterator[ec.EllipticCurvePublicKey]:
    """The keys in ``data``: JWK, JWK set, PEM or DER. What is none is an error only if strict."""
    try:
        found = list(_keys(data))
    except (EvidenceInvalid, InvalidBytes, ValueError):
        found = []
    if strict and not found:
        raise NotGenuine(Step.CHAIN, "root_unreadable", detail="no elliptic-curve public key")
    yield from found


def _keys(data: bytes) -> Iterator[ec.EllipticCurvePublicKey]:
    text = data.strip()
    if text[:1] == b"{":
        document = strict_json.decode(text, max_bytes=eat.MAX_TOKEN_BYTES)
        members = document.get("keys", [document])
        for member in members if isinstance(members, list) else ():
            yield _from_jwk(member)
    elif text.startswith(b"-----BEGIN PUBLIC KEY-----"):
        yield from _ec_only(load_pem_public_key(text))
    elif text.startswith(b"-----BEGIN CERTIFICATE-----"):
        yield from _ec_only(x509.read_chain(text)[0].public_key())
    else:
        members = der.read(data).sequence()
        spki = x509.read(data).spki if len(members) == 3 else data
        yield from _ec_only(x509.load_spki(spki))


def _from_jwk(members: Any) -> ec.EllipticCurvePublicKey:
    curve = _CURVES.get(str(members.get("crv"))) if isinstance(members, dict) else None
    if curve is None or members.get("kty") != "EC":
        raise EvidenceInvalid("not an elliptic-curve JWK")
    x, y = (strict_json.unb64u(members.get(name, "")) for name in ("x", "y"))
    if len(x) != curve[1] or len(y) != curve[1]:
        raise EvidenceInvalid("a coordinate of another length")
    return eat.point(curve[0](), b"\x04" + x + y)


def _ec_only(key: Any) -> Iterator[ec.EllipticCurvePublicKey]:
    if isinstance(key, ec.EllipticCurvePublicKey):
        yield key
