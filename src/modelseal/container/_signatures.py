"""Signatures over prologue and header: Ed25519 and, beside it, ML-DSA-65."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from modelseal import cbor
from modelseal.container import _limits as limits
from modelseal.container._fields import Fields
from modelseal.container._header import SignerId
from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import (
    ContainerMalformed,
    ContainerSignature,
    InternalError,
    Misuse,
    ModelsealError,
    TokenSignature,
    WrongPublisher,
)

SIGNATURE_BYTES = {"Ed25519": 64, "ML-DSA-65": 3309}
_LABEL = b"modelseal v1 sealed model signature\x00"
_MAX_SIGNATURE_BYTES = 16 * 1024


def signed_message(prologue: bytes, header: bytes) -> bytes:
    """What is signed: a label and SHA-512 over prologue (fixed length) and header."""
    digest = hashlib.sha512(prologue)
    digest.update(header)
    return _LABEL + digest.digest()


def encode(signers: Sequence[SignerId], signatures: Sequence[bytes]) -> bytes:
    """The signature part: one map per signer, in the header's order."""
    return cbor.encode(
        [
            {"alg": signer.alg, "kid": signer.kid, "sig": sig}
            for signer, sig in zip(signers, signatures, strict=True)
        ]
    )


def decode(data: bytes, signers: Sequence[SignerId]) -> tuple[bytes, ...]:
    """The signatures, one per signer of the header in its order; else ``ContainerMalformed``."""
    try:
        items = cbor.decode(data, max_bytes=limits.MAX_SIGNATURES_BYTES)
    except cbor.CborInvalid as error:
        raise ContainerMalformed(f"signatures: {error.detail}") from None
    if not isinstance(items, list) or len(items) != len(signers):
        raise ContainerMalformed("signatures: one per signer of the header")
    found = []
    for item, signer in zip(items, signers, strict=True):
        entry = Fields(item, "signature")
        if (entry.text("alg", 32), entry.text("kid")) != (signer.alg, signer.kid):
            raise entry.error("not by the signer the header names")
        found.append(entry.octets("sig", 1, _MAX_SIGNATURE_BYTES))
        if entry.rest():
            raise entry.error("only alg, kid and sig")
    return tuple(found)


def verify(
    message: bytes,
    signers: Sequence[SignerId],
    signatures: Sequence[bytes],
    pinned: Sequence[VerifyKey],
) -> None:
    """Returns when every algorithm of ``pinned`` has signed ``message`` with a pinned key.

    Raises ``WrongPublisher`` when no signer is pinned, ``ContainerSignature`` when a signature by
    a pinned key is wrong or an algorithm of the pinned keys is missing, ``Misuse`` without keys.
    """
    _check_pinned(pinned)
    keys = {(key.alg, key.kid): key for key in pinned}
    ours = [
        (keys[signer.alg, signer.kid], signature)
        for signer, signature in zip(signers, signatures, strict=True)
        if (signer.alg, signer.kid) in keys
    ]
    if not ours:
        raise WrongPublisher("signed by no key of the pinned trust")
    if {key.alg for key in pinned} != {key.alg for key, _ in ours}:
        raise ContainerSignature("the pinned trust demands another signature beside this one")
    for key, signature in ours:
        try:
            key.verify(signature, message)
        except TokenSignature:
            raise ContainerSignature(f"the {key.alg} signature does not hold") from None


def sign(message: bytes, publisher: Sequence[Signer]) -> list[bytes]:
    """One signature per key, each checked before it leaves (a faulty token signs nonsense)."""
    made = []
    for signer in publisher:
        signature = bytes(signer.sign(message))
        try:
            VerifyKey.from_jwk(signer.jwk, signer.alg).verify(signature, message)
        except ModelsealError:
            raise InternalError("the signing key made a signature that does not hold") from None
        made.append(signature)
    return made


def check_publisher(publisher: Sequence[Signer]) -> tuple[SignerId, ...]:
    """The ids of the signing keys; ``Misuse`` unless each has one of the two algorithms, once."""
    algorithms = [signer.alg for signer in publisher]
    if not algorithms or not set(algorithms) <= SIGNATURE_BYTES.keys():
        raise Misuse("a sealed model is signed with Ed25519, ML-DSA-65 or both")
    if len(set(algorithms)) != len(algorithms):
        raise Misuse("one signing key per algorithm")
    return tuple(SignerId(signer.alg, signer.kid) for signer in publisher)


def _check_pinned(pinned: Sequence[VerifyKey]) -> None:
    if not pinned:
        raise Misuse("no publisher key is pinned")
    if not {key.alg for key in pinned} <= SIGNATURE_BYTES.keys():
        raise Misuse("publisher keys are Ed25519 or ML-DSA-65 keys")
