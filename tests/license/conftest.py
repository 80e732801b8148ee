"""Keys that many tests share: making them is slow, and no test changes them."""

from __future__ import annotations

import pytest
from tests.license.world import FakeTrust, trust_of

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey


@pytest.fixture(scope="session")
def keys() -> dict[str, SigningKey]:
    return {alg: SigningKey.generate(alg) for alg in ("Ed25519", "ES256", "RS256", "ML-DSA-65")}


@pytest.fixture(scope="session")
def key(keys) -> SigningKey:
    return keys["Ed25519"]


@pytest.fixture(scope="session")
def other_key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture(scope="session")
def kem() -> KemPrivateKey:
    return KemPrivateKey.generate()


@pytest.fixture(scope="session")
def device() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def trust(key) -> FakeTrust:
    return trust_of(key)
