"""The device fingerprint: what the server may know of the traits, and nothing more.

A digest is the first four bytes of HMAC-SHA256 under a key derived from the product's trait salt;
two products cannot link their digests, and 32 bits fit many values. Normative:
``docs/spec/device.md``.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelseal.device.traits import MIN_LIVE_TRAITS, TraitKind, TraitReading, Traits, live_kinds
from modelseal.errors import Misuse
from modelseal.license import claims

SALT_BYTES = 32
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


def _key(salt: bytes) -> bytes:
    if len(salt) != SALT_BYTES:
        raise Misuse("a trait salt has 32 bytes")
    return HKDF(hashes.SHA256(), 32, salt=None, info=_LABEL).derive(salt)


def _digest(key: bytes, kind: TraitKind, value: bytes) -> int:
    message = kind.value.encode("ascii") + b"\x00" + value
    return int.from_bytes(hmac.new(key, message, hashlib.sha256).digest()[:4], "big")
