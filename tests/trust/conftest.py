"""A product's trust made of fresh keys, and the documents to carry it forward."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelseal import trust as trusts
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.trust import KeyList, Trust, TrustedKey, Use, keylist, writing
from modelseal.trust.writing import RoleKeys

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAR = NOW + timedelta(days=400)
ROLES = ("root", "targets", "snapshot", "timestamp")


class Product:
    """The keys of one product and what they sign. Every signing key can be replaced."""

    def __init__(self) -> None:
        self.now = NOW
        self.far = FAR
        self.signers = {name: [SigningKey.generate()] for name in (*ROLES, "keys")}
        self.thresholds = dict.fromkeys((*ROLES, "keys"), 1)
        self.publisher = [SigningKey.generate("Ed25519"), SigningKey.generate("ML-DSA-65")]
        self.lease = SigningKey.generate()
        self.sealing = KemPrivateKey.generate()

    def role_keys(self, name: str) -> RoleKeys:
        return RoleKeys([key.jwk for key in self.signers[name]], self.thresholds[name])

    def root(self, version: int = 1, *more: SigningKey, expires_at: datetime = FAR) -> bytes:
        roles = {name: self.role_keys(name) for name in ROLES}
        signed = writing.root(version, expires_at, roles)
        return writing.sign(signed, [*self.signers["root"], *more])

    def targets(
        self,
        version: int = 1,
        entries: dict[str, Any] | None = None,
        *,
        signers: Sequence[SigningKey] | None = None,
        expires_at: datetime = FAR,
    ) -> bytes:
        signed = writing.targets(version, expires_at, self.role_keys("keys"), entries or {})
        return writing.sign(signed, self.signers["targets"] if signers is None else signers)

    def keys_role(self, content: bytes, version: int = 1, expires_at: datetime = FAR) -> bytes:
        return writing.sign(writing.keys_role(version, expires_at, content), self.signers["keys"])

    def listed(self) -> tuple[TrustedKey, ...]:
        def trusted(use: Use, key: SigningKey, name: str) -> TrustedKey:
            return keylist.trusted(use, key.verify_key(), name, not_before=NOW)

        return (
            *(trusted(Use.PUBLISHER, key, "publisher-1") for key in self.publisher),
            trusted(Use.LEASE, self.lease, "lease-1"),
            keylist.trusted(Use.SEALING, self.sealing.public_key(), "sealing-1", not_before=NOW),
        )

    def key_list(self, version: int = 1, keys: Sequence[TrustedKey] | None = None) -> bytes:
        chosen = self.listed() if keys is None else tuple(keys)
        return keylist.write(KeyList(version, "facefusion", "srv_1", bytes(32), chosen))

    def documents(self, version: int = 1, content: bytes | None = None) -> dict[str, bytes]:
        key_list = self.key_list(version) if content is None else content
        return {
            "targets": self.targets(version),
            "keys_role": self.keys_role(key_list, version),
            "key_list": key_list,
        }

    def trust(self) -> Trust:
        return trusts.compose(root=self.root(), **self.documents(), tls_ca=None)


@pytest.fixture
def product() -> Product:
    """A product with fresh keys."""
    return Product()


@pytest.fixture(scope="session")
def make_product() -> type[Product]:
    """The maker of products."""
    return Product
