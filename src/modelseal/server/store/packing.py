"""Values of a device's row in as few bytes as they take, and back. Pure.

The forms stand in the database: a change of one needs a migration that still knows the old one.
What fits no short form is kept whole, so that whatever a request names can be looked for and is
just not found.
"""

from __future__ import annotations

import functools
import hashlib
import re
import struct
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from modelseal.crypto import jwk as jwks
from modelseal.errors import InternalError
from modelseal.license.claims import TraitDigest
from modelseal.strict_json import JsonInvalid, b64u, encode_plain, unb64u

PREFIXES = (
    "lic", "dev", "lea", "den", "rel", "req", "evt", "pln", "cus", "mod", "prd", "tok", "srv",
    "whk", "rly", "syn", "dlg",
)  # fmt: skip
"""The kinds of ids; the place of one is its byte where it is not the kind that is expected."""
KINDS = (
    "tpm_ek", "smbios_uuid", "board_serial", "cloud_instance", "disk_serial", "mac", "machine_id",
    "cpu_class", "operator",
)  # fmt: skip
"""The kinds of traits; the place of one is its number."""
MARK_BYTES = 8
_CODES = {name: bytes([place]) for place, name in enumerate(PREFIXES)}
_TEXT = bytes(18)
_RAW, _OTHER, _NO_KEY = b"\x01", b"\x02", b"\x00"
_NAMED, _LOW, _PRIVILEGED = 63, 64, 128


def _head(number: int, confidence: str, privileged: bool) -> int:
    return number | (_LOW if confidence == "low" else 0) | (_PRIVILEGED if privileged else 0)


_NUMBERS = {
    (name, confidence, privileged): _head(place, confidence, privileged)
    for place, name in enumerate(KINDS)
    for confidence in ("high", "low")
    for privileged in (False, True)
}
_TRAIT = struct.Struct(">BI")
_HEADS = frozenset(head for head in range(256) if head & _NAMED < len(KINDS))
_ID = re.compile("[a-z]{3}_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SOON = 256
"""Values that are needed again soon: those of one tick."""


@functools.lru_cache(_SOON)
def pack_id(text: str, prefix: str) -> bytes:
    """16 bytes for an id of the kind ``prefix``, 17 for one of another kind, else the text."""
    head = text[:3]
    if _ID.fullmatch(text) is None or head not in _CODES:
        return _TEXT + text.encode("utf-8", "surrogatepass")
    raw = bytes.fromhex(text[4:].replace("-", ""))
    return raw if head == prefix else _CODES[head] + raw


@functools.lru_cache(_SOON)
def unpack_id(data: bytes, prefix: str) -> str:
    """The id that ``pack_id`` put in."""
    if len(data) > 17:
        return data[len(_TEXT) :].decode("utf-8", "surrogatepass")
    if len(data) == 17:
        prefix, data = PREFIXES[data[0]], data[1:]
    text = data.hex()
    return f"{prefix}_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def pack_key(jkt: str, jwk: Mapping[str, str]) -> bytes:
    """The public key: 32 bytes of Ed25519, or a JWK; a thumbprint alone where there is no key."""
    if not jwk:
        return _NO_KEY + _digest(jkt)
    if jwk.get("crv") == "Ed25519" and len(jwk) == 3:
        raw = _digest(jwk.get("x", ""))
        if len(raw) == 32 and _ed25519(raw) == jwk:
            return _RAW + raw
    return _OTHER + encode_plain(dict(jwk))


def _ed25519(raw: bytes) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": b64u(raw)}


def unpack_jwk(data: bytes) -> dict[str, str]:
    """The key that ``pack_key`` put in; empty where there was none."""
    if data[:1] == _RAW:
        return _ed25519(data[1:])
    return {} if data[:1] == _NO_KEY else msgspec.json.decode(data[1:], type=dict[str, str])


def unpack_jkt(data: bytes) -> str:
    """Its thumbprint."""
    if data[:1] == _NO_KEY:
        return b64u(data[1:])
    if data[:1] == _RAW:
        told = b'{"crv":"Ed25519","kty":"OKP","x":"%b"}' % b64u(data[1:]).encode("ascii")
        return b64u(hashlib.sha256(told).digest())
    return jwks.thumbprint(unpack_jwk(data))


def mark(text: str, size: int = MARK_BYTES) -> bytes:
    """The beginning of a thumbprint: by it a row is found, and the whole one is then compared."""
    return _digest(text)[:size]


def question(nonce: str, size: int = MARK_BYTES) -> bytes:
    """A nonce as the row remembers it."""
    return hashlib.sha256(nonce.encode("utf-8", "surrogatepass")).digest()[:size]


def under(plan_id: str, version: int) -> bytes:
    """A version of a plan as a row remembers that its lease was given under it."""
    return hashlib.sha256(f"{plan_id}|{version}".encode()).digest()[:MARK_BYTES]


def _digest(text: str) -> bytes:
    try:
        return unb64u(text)
    except JsonInvalid:
        return text.encode("utf-8", "surrogatepass")


def pack_traits(digests: Sequence[TraitDigest]) -> bytes:
    """Five bytes for each: kind with flags, then the digest. A kind that has no number stands after
    two bytes of its length.
    """
    flat: list[int] = []
    for each in digests:
        head = _NUMBERS.get((each.kind, each.confidence, each.privileged))
        if head is None:
            return b"".join(_one(each) for each in digests)
        flat += (head, each.digest)
    return struct.pack(">" + "BI" * (len(flat) // 2), *flat)


def _one(each: TraitDigest) -> bytes:
    head = _NUMBERS.get((each.kind, each.confidence, each.privileged))
    if head is not None:
        return _TRAIT.pack(head, each.digest)
    name = each.kind.encode("utf-8")
    head = _head(_NAMED, each.confidence, each.privileged)
    return struct.pack(f">BH{len(name)}sI", head, len(name), name, each.digest)


@functools.lru_cache(_SOON)
def unpack_traits(data: bytes) -> tuple[TraitDigest, ...]:
    """The digests that ``pack_traits`` put in, in their order."""
    try:
        if len(data) % _TRAIT.size == 0 and _HEADS.issuperset(data[:: _TRAIT.size]):
            return tuple(_trait(head, digest) for head, digest in _TRAIT.iter_unpack(data))
        return tuple(_named(data))
    except (IndexError, UnicodeError, struct.error):
        raise InternalError("stored traits are not readable") from None


def _named(data: bytes) -> Iterator[TraitDigest]:
    place = 0
    while place < len(data):
        if data[place] & _NAMED != _NAMED:
            yield _trait(*_TRAIT.unpack_from(data, place))
            place += _TRAIT.size
            continue
        head, size = struct.unpack_from(">BH", data, place)
        kind, digest = struct.unpack_from(f">{size}sI", data, place + 3)
        yield _trait(head, digest, kind.decode("utf-8"))
        place += 7 + size


def _trait(head: int, digest: int, kind: str | None = None) -> TraitDigest:
    return TraitDigest(
        KINDS[head & _NAMED] if kind is None else kind,
        digest,
        "low" if head & _LOW else "high",
        head >= _PRIVILEGED,
    )
