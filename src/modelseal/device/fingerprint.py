"""The device fingerprint: what the server may know of the traits, and nothing more.

A digest is the first four bytes of HMAC-SHA256 under a key derived from the product's trait salt;
two products cannot link their digests, and 32 bits fit many values. Normative:
``docs/spec/device.md``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelseal.device.traits import MIN_LIVE_TRAITS, TraitReading, Traits, live_kinds
from modelseal.errors import Misuse
from modelseal.license import claims

SALT_BYTES = 32
OPERATOR = "operator"
"""The kind of an operator-given identity. Matching leaves it out, as all that are no trait."""
_LABEL = b"modelseal trait digest v1"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What goes into a request: digests, what is missing and why, and whether that binds."""

    digests: tuple[claims.TraitDigest, ...]
    missing: tuple[claims.MissingTrait, ...]
    live: int
    bound: bool


def digest_for_server(reading: TraitReading, salt: bytes) -> claims.TraitDigest:
    """The digest of ``reading`` under the product's ``salt`` (32 bytes); ``Misuse`` otherwise."""
    return claims.TraitDigest(
        kind=str(reading.kind),
        digest=_digest(_key(salt), reading.kind, reading.value.reveal()),
        confidence="high" if reading.confidence == "high" else "low",
        privileged=reading.privileged,
    )


def enrol(traits: Traits, salt: bytes) -> Enrolment:
    """The enrolment of ``traits``: every reading's digest once, in canonical order."""
    digests = {(d.kind, d.digest): d for d in (digest_for_server(r, salt) for r in traits.readings)}
    live = len(live_kinds(traits.readings))
    return Enrolment(
        digests=tuple(digests[key] for key in sorted(digests)),
        missing=tuple(
            claims.MissingTrait(kind=str(m.kind), why=str(m.why)) for m in traits.missing
        ),
        live=live,
        bound=live >= MIN_LIVE_TRAITS,
    )


def operator_digest(named: bytes, salt: bytes) -> claims.TraitDigest:
    """The digest of the identity that an operator gave, beside the traits and none of them."""
    return claims.TraitDigest(
        kind=OPERATOR, digest=_digest(_key(salt), OPERATOR, named), confidence="low"
    )


def is_operator(digests: Iterable[claims.TraitDigest]) -> bool:
    """Whether an operator named this device."""
    return OPERATOR in [each.kind for each in digests]


def operator_moved(
    enrolled: Iterable[claims.TraitDigest], now: Iterable[claims.TraitDigest]
) -> bool:
    """Whether two instances that an operator named apart have the same enrolment."""
    before, after = _operators(enrolled), _operators(now)
    return bool(before and after) and not before & after


def _operators(digests: Iterable[claims.TraitDigest]) -> set[int]:
    return {each.digest for each in digests if each.kind == OPERATOR}


def _key(salt: bytes) -> bytes:
    if len(salt) != SALT_BYTES:
        raise Misuse("a trait salt has 32 bytes")
    return HKDF(hashes.SHA256(), 32, salt=None, info=_LABEL).derive(salt)


def _digest(key: bytes, kind: str, value: bytes) -> int:
    message = str(kind).encode("ascii") + b"\x00" + value
    return int.from_bytes(hmac.new(key, message, hashlib.sha256).digest()[:4], "big")
