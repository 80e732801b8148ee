"""HPKE base mode (RFC 9180), single shot, written out: X-Wing, HKDF-SHA256, AES-256-GCM."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .encoding import b64u, cbor, refuse
from .signing import thumbprint

SUITE = "MLKEM768-X25519-HKDF-SHA256-A256GCM"
ENC, PUBLIC, SEED = 1120, 1216, 64
_LATTICE = 1088  # bytes of an ML-KEM-768 ciphertext; its public key has 1184
_KEM, _KDF, _AEAD = 0x647A, 1, 2
_LABEL = b"\\.//^\\"  # X-Wing's own
_CODE = "sealed_key_invalid"


def _hash(data: bytes) -> bytes:
    return hashlib.sha3_256(data).digest()


@dataclass(frozen=True)
class KemKey:
    """A private KEM key: 64 bytes ML-KEM seed and 32 bytes X25519."""

    private: bytes = field(repr=False)

    @classmethod
    def fresh(cls) -> KemKey:
        """A new key."""
        return cls(secrets.token_bytes(96))

    @property
    def public(self) -> bytes:
        """ML-KEM-768 (1184 bytes), then X25519 (32 bytes)."""
        lattice = MLKEM768PrivateKey.from_seed_bytes(self.private[:SEED])
        curve = X25519PrivateKey.from_private_bytes(self.private[SEED:])
        return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    @property
    def kid(self) -> str:
        """The thumbprint, which a sealed key names as its recipient."""
        return kem_thumbprint(self.public)

    def open(self, sealed: bytes, label: str, values: dict[str, object]) -> bytes:
        """What was sealed to this key with this `info`."""
        if len(sealed) < ENC + 16:
            refuse(_CODE, "too short")
        enc, ct = sealed[:ENC], sealed[ENC:]
        lattice = MLKEM768PrivateKey.from_seed_bytes(self.private[:SEED])
        curve = X25519PrivateKey.from_private_bytes(self.private[SEED:])
        peer = enc[_LATTICE:]
        try:
            first = lattice.decapsulate(enc[:_LATTICE])
            second = curve.exchange(X25519PublicKey.from_public_bytes(peer))
            own = curve.public_key().public_bytes_raw()
            shared = _hash(first + second + peer + own + _LABEL)
            key, nonce = _schedule(shared, info(label, values))
            return AESGCM(key).decrypt(nonce, ct, b"")
        except (InvalidTag, ValueError):
            refuse(_CODE, "does not open")


def info(label: str, values: object) -> bytes:
    """The HPKE info: what the sealed bytes are for."""
    return cbor(["modelseal", label, values])


def kem_thumbprint(public: bytes) -> str:
    """The key id of a public KEM key."""
    return thumbprint({"kty": "AKP", "alg": SUITE, "pub": b64u(public)})


def seal(public: bytes, plain: bytes, label: str, values: dict[str, object]) -> bytes:
    """`plain` sealed to a public key: encapsulation, then ciphertext."""
    lattice, peer = public[:-32], public[-32:]
    first, enc = MLKEM768PublicKey.from_public_bytes(lattice).encapsulate()
    ephemeral = X25519PrivateKey.generate()
    own = ephemeral.public_key().public_bytes_raw()
    second = ephemeral.exchange(X25519PublicKey.from_public_bytes(peer))
    shared = _hash(first + second + own + peer + _LABEL)
    key, nonce = _schedule(shared, info(label, values))
    return enc + own + AESGCM(key).encrypt(nonce, plain, b"")


def _schedule(shared: bytes, about: bytes) -> tuple[bytes, bytes]:
    """RFC 9180, section 5.1: key and base nonce, in base mode."""
    suite = b"HPKE" + b"".join(n.to_bytes(2, "big") for n in (_KEM, _KDF, _AEAD))

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

    def expand(prk: bytes, label: bytes, context: bytes, size: int) -> bytes:
        labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac.digest(prk, labelled + b"\x01", "sha256")[:size]

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", about)
    secret = extract(shared, b"secret", b"")
    return expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
