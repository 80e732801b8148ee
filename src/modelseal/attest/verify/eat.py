"""Entity attestation tokens: CBOR claims in COSE_Sign1 (RFC 9052, RFC 9711), read strictly.

Claims come in the order their maker chose, so the one deterministic encoding of ``modelseal.cbor``
cannot be demanded. Everything else of it is: shortest lengths, no floats, no key twice, no tag but
those of the token, nothing behind the end. Who may sign is pinned; the algorithm follows from the
pinned key's curve and the token may only repeat it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from modelseal.errors import EvidenceInvalid

MAX_TOKEN_BYTES = 65536
MAX_DEPTH = 12
SIGN1, MAC0, CWT = 18, 17, 61
_MAX_WIDTH = 1024
_ALG, _CRIT = 1, 2
_BY_CURVE: Mapping[str, tuple[int, type[hashes.HashAlgorithm], int]] = {
    "secp256r1": (-7, hashes.SHA256, 32),
    "secp384r1": (-35, hashes.SHA384, 48),
    "secp521r1": (-36, hashes.SHA512, 66),
}
_COSE_CURVES: Mapping[int, tuple[type[ec.EllipticCurve], int]] = {
    1: (ec.SECP256R1, 32),
    2: (ec.SECP384R1, 48),
    3: (ec.SECP521R1, 66),
}
# what cbor2 would turn into dates, fractions, patterns, sets, addresses or shared values
_OTHER_TAGS = (*range(6), 25, *range(28, 31), *range(35, 38), 52, 54, 100, 256, 258, 260, 261)
_OTHER_TAGS = (*_OTHER_TAGS, 1004, 43000, 55799)


@dataclass(frozen=True, slots=True)
class Sign1:
    """A COSE_Sign1 message, not yet verified."""

    protected: bytes
    header: Mapping[Any, Any]
    payload: bytes
    signature: bytes

    def check(self, key: ec.EllipticCurvePublicKey) -> None:
        """Returns when ``key`` made the signature; ``EvidenceInvalid`` otherwise."""
        algorithm, digest, size = _BY_CURVE.get(key.curve.name, (0, hashes.SHA256, 0))
        if self.header.get(_ALG) != algorithm:
            _refuse("the token's algorithm is not the key's")
        if len(self.signature) != 2 * size:
            _refuse("a signature of another length")
        r = int.from_bytes(self.signature[:size], "big")
        s = int.from_bytes(self.signature[size:], "big")
        signed = cbor2.dumps(["Signature1", self.protected, b"", self.payload])
        try:
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest()))
        except (InvalidSignature, ValueError):
            _refuse("the signature does not hold")


def decode(data: bytes) -> Any:
    """The value of ``data``, of plain types and tags; ``EvidenceInvalid`` for anything else."""
    if len(data) > MAX_TOKEN_BYTES:
        _refuse(f"longer than {MAX_TOKEN_BYTES} bytes")
    try:
        value = cbor2.loads(
            data,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=dict.fromkeys(_OTHER_TAGS, _no_tag),
        )
        plain = _is_plain(value)
        same = plain and cbor2.dumps(value) == bytes(data)
    except Exception:  # noqa: BLE001 - a parser's errors never leave this room
        raise EvidenceInvalid("CBOR: no CBOR") from None
    if not same:
        _refuse("a type, length or end that is not allowed")
    return value


def untagged(value: Any) -> Any:
    """What a CWT tag (RFC 8392, section 6) stands round: it has to be a tagged COSE message."""
    if not isinstance(value, cbor2.CBORTag) or value.tag != CWT:
        return value
    if not isinstance(value.value, cbor2.CBORTag) or value.value.tag == CWT:
        _refuse("a CWT tag round something else than a tagged COSE message")
    return value.value


def sign1(value: Any) -> Sign1:
    """The COSE_Sign1 in ``value``, tagged 18 or not."""
    if isinstance(value, cbor2.CBORTag):
        if value.tag != SIGN1:
            _refuse(f"tag {value.tag} where COSE_Sign1 is needed")
        value = value.value
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        _refuse("COSE_Sign1 has four members")
    protected, unprotected, payload, signature = value
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        _refuse("COSE_Sign1 of other types")
    if not isinstance(unprotected, Mapping):
        _refuse("an unprotected header that is no map")
    header = decode(protected) if protected else {}
    if not isinstance(header, Mapping) or _CRIT in header:
        _refuse("a protected header that demands more than is known here")
    return Sign1(protected, header, payload, signature)


def claims(token: Sign1) -> Mapping[Any, Any]:
    """The claims in a token; ``EvidenceInvalid`` when they are no map."""
    found = decode(token.payload)
    if not isinstance(found, Mapping):
        _refuse("claims that are no map")
    return found


def cose_key(data: bytes) -> ec.EllipticCurvePublicKey:
    """The elliptic-curve key of a COSE_Key (RFC 9053, section 7.1)."""
    members = decode(data)
    if not isinstance(members, Mapping) or members.get(1) != 2:
        _refuse("not an elliptic-curve COSE_Key")
    curve = _COSE_CURVES.get(_whole(members.get(-1)))
    x, y = members.get(-2), members.get(-3)
    if curve is None or not isinstance(x, bytes) or not isinstance(y, bytes):
        _refuse("a COSE_Key of another form")
    if len(x) != curve[1] or len(y) != curve[1]:
        _refuse("a coordinate of another length")
    return point(curve[0](), b"\x04" + x + y)


def point(curve: ec.EllipticCurve, encoded: bytes) -> ec.EllipticCurvePublicKey:
    """The key at an uncompressed point of ``curve``."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, encoded)
    except ValueError:
        _refuse("a point that is not on its curve")


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _no_tag(_decoder: Any) -> NoReturn:
    _refuse("a tag that no token has")


def _is_plain(value: Any) -> bool:
    if isinstance(value, cbor2.CBORTag):
        return _is_plain(value.value)
    if isinstance(value, Mapping):
        keys_fit = all(isinstance(key, (int, str)) for key in value)
        return len(value) <= _MAX_WIDTH and keys_fit and all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return len(value) <= _MAX_WIDTH and all(map(_is_plain, value))
    if isinstance(value, int):
        return -(2**64) <= value < 2**64
    return value is None or isinstance(value, (bytes, str))


def _refuse(why: str) -> NoReturn:
    raise EvidenceInvalid(f"CBOR: {why}")
