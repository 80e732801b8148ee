"""The TUF target ``keys``: every key of a product but the TUF ones, one use and algorithm each.

``read`` and ``write`` undo each other. Normative: ``docs/spec/trust.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from modelseal import strict_json
from modelseal.crypto import hpke
from modelseal.crypto import jwk as jwks
from modelseal.crypto.hpke import KemPublicKey
from modelseal.crypto.jwk import Jwk
from modelseal.crypto.signing import ALGORITHMS, VerifyKey
from modelseal.errors import InvalidBytes, TrustMalformed
from modelseal.types import check_aware, from_numeric, to_numeric

TYP = "modelseal-keys"
MAX_KEYS = 256
MAX_LIST_BYTES = 1024 * 1024
SALT_BYTES = 32
PUBLISHER_ALGORITHMS = ("Ed25519", "ML-DSA-65")


class Use(StrEnum):
    """What a key may be used for; one use per key."""

    PUBLISHER = "publisher"
    SEALING = "sealing"
    LICENSE = "license"
    LEASE = "lease"
    STATUS = "status"
    CHECKPOINT = "checkpoint"
    ENDORSEMENT = "endorsement"
    ATTESTATION = "attestation"
    TLS = "tls"


DESK_USES = (Use.PUBLISHER, Use.ENDORSEMENT)
"""Uses whose keys lie in the desk and sign there; the others of the list are the server's."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key with its use, algorithm and validity; the keys of one ``set`` are demanded together."""

    use: Use
    alg: str
    kid: str
    jwk: Jwk
    not_before: datetime
    not_after: datetime | None
    set: str

    def valid_at(self, at: datetime) -> bool:
        """True from ``not_before`` on and before ``not_after``."""
        return self.not_before <= at and (self.not_after is None or at < self.not_after)


@dataclass(frozen=True, slots=True)
class KeyList:
    """What the target ``keys`` says."""

    version: int
    product: str
    server_id: str
    trait_salt: bytes
    keys: tuple[TrustedKey, ...]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    use: str
    alg: str
    kid: str
    jwk: dict[str, str]
    not_before: int
    not_after: int | None
    set: str


class _List(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    typ: str
    version: int
    product: str
    server_id: str
    trait_salt: str
    keys: list[_Entry]


def trusted(
    use: Use,
    public: VerifyKey | KemPublicKey,
    set_name: str,
    *,
    not_before: datetime,
    not_after: datetime | None = None,
) -> TrustedKey:
    """The list entry of ``public``, valid from ``not_before`` on and before ``not_after``."""
    alg = public.alg if isinstance(public, VerifyKey) else hpke.SUITE
    start = from_numeric(to_numeric(not_before))
    end = None if not_after is None else from_numeric(to_numeric(not_after))
    return TrustedKey(use, alg, public.kid, dict(public.jwk), start, end, set_name)


def write(keys: KeyList) -> bytes:
    """The canonical JSON of ``keys``: the bytes of the TUF target."""
    return strict_json.encode(
        {
            "typ": TYP,
            "version": keys.version,
            "product": keys.product,
            "server_id": keys.server_id,
            "trait_salt": strict_json.b64u(keys.trait_salt),
            "keys": [_entry(key) for key in keys.keys],
        }
    )


def read(data: bytes) -> KeyList:
    """The key list in ``data``; ``TrustMalformed`` for anything but its canonical bytes."""
    try:
        value = strict_json.decode(data, max_bytes=MAX_LIST_BYTES)
    except InvalidBytes as error:
        raise TrustMalformed(f"keys: {error.detail}") from None
    found = from_value(value)
    if _rewritten(found) != data:
        raise TrustMalformed("keys: not the canonical JSON")
    return found


def from_value(value: object) -> KeyList:
    """Like ``read``, for JSON that is parsed already."""
    try:
        raw = msgspec.convert(value, _List, strict=True)
        salt = strict_json.unb64u(raw.trait_salt)
        keys = tuple(_trusted(entry) for entry in raw.keys[: MAX_KEYS + 1])
    except (msgspec.ValidationError, InvalidBytes, ValueError) as error:
        raise TrustMalformed(f"keys: {_plain(error)}") from None
    if raw.typ != TYP or raw.version < 1 or raw.version >= 2**53 or len(salt) != SALT_BYTES:
        raise TrustMalformed("keys: another type, version or length of salt")
    if not (0 < len(raw.product) <= 64 and 0 < len(raw.server_id) <= 128):
        raise TrustMalformed("keys: product or server id is empty or too long")
    _check(keys)
    return KeyList(raw.version, raw.product, raw.server_id, salt, keys)


def _rewritten(keys: KeyList) -> bytes | None:
    try:
        return write(keys)
    except ValueError:  # a lone surrogate
        return None


def _check(keys: tuple[TrustedKey, ...]) -> None:
    if len(keys) > MAX_KEYS:
        raise TrustMalformed(f"keys: more than {MAX_KEYS}")
    if len({key.kid for key in keys}) != len(keys):
        raise TrustMalformed("keys: a key has one use and stands once")
    members: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        members.setdefault((key.use, key.set), []).append(key.alg)
    if any(len(set(algorithms)) != len(algorithms) for algorithms in members.values()):
        raise TrustMalformed("keys: a set holds one key per algorithm")


def _trusted(entry: _Entry) -> TrustedKey:
    if entry.use not in Use.__members__.values():
        raise TrustMalformed("an unknown use")
    use = Use(entry.use)
    jwk = jwks.check(entry.jwk)
    if (entry.alg == hpke.SUITE) != (use is Use.SEALING):
        raise TrustMalformed("only sealing keys are KEM keys")
    if entry.alg not in (*ALGORITHMS, hpke.SUITE):
        raise TrustMalformed("an unknown algorithm")
    if use is Use.PUBLISHER and entry.alg not in PUBLISHER_ALGORITHMS:
        raise TrustMalformed("a sealed model is signed with Ed25519 or ML-DSA-65")
    if entry.kid != jwks.thumbprint(jwk):
        raise TrustMalformed("a key id is no thumbprint")
    if not 0 < len(entry.set) <= 64:
        raise TrustMalformed("a set has a short name")
    start = _instant(entry.not_before)
    end = None if entry.not_after is None else _instant(entry.not_after)
    return TrustedKey(use, entry.alg, entry.kid, jwk, start, end, entry.set)


def _instant(seconds: int) -> datetime:
    if not 0 <= seconds < 253402300800:
        raise TrustMalformed("a time outside 1970 to 9999")
    return from_numeric(seconds)


def _entry(key: TrustedKey) -> Mapping[str, object]:
    return {
        "use": key.use.value,
        "alg": key.alg,
        "kid": key.kid,
        "jwk": key.jwk,
        "not_before": to_numeric(check_aware(key.not_before)),
        "not_after": None if key.not_after is None else to_numeric(key.not_after),
        "set": key.set,
    }


def _plain(error: Exception) -> str:
    return error.detail if isinstance(error, InvalidBytes) else str(error)[:200]
