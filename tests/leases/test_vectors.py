"""The vectors of ``docs/spec/tpm.md``, read with nothing but hashlib and ``cryptography``."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec

from modelseal import cbor
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.hpke_p256 import P256PrivateKey, P256PublicKey
from modelseal.errors import SealedKeyInvalid, TokenAlgorithm, TokenMalformed
from modelseal.license import lease_keys
from modelseal.license.claims import SealedKeys
from modelseal.license.lease_keys import Binding

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "tokens"
V = json.loads((FOLDER / "hardware.json").read_text())


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def kem() -> KemPrivateKey:
    return KemPrivateKey(raw(json.loads((FOLDER / "keys.json").read_text())["kem"]["private"]))


def test_a_policy_digest_is_two_hashes_for_each_of_its_two_assertions():
    for limit, resets, digest in V["policies"]:
        found = bytes(32)
        for operand, offset, operation in (
            (struct.pack(">Q", limit), 8, 5),
            (struct.pack(">I", resets), 16, 9),
        ):
            args = sha(operand, struct.pack(">HH", offset, operation))
            found = sha(found, struct.pack(">I", 0x16D), args)
        assert found.hex() == digest


def test_names_are_hashes_over_the_public_area_and_the_hierarchy():
    for named, handle in ((V, 0x40000001), (V["ak"], 0x4000000B)):
        public = bytes.fromhex(named["public"])
        name = b"\x00\x0b" + sha(public)
        assert name.hex() == named["name"]
        qualified = b"\x00\x0b" + sha(struct.pack(">I", handle), name)
        assert qualified.hex() == named["qualified_name"]
        jwk = named.get("jwk") or V["lease_key"]["jwk"]
        for coordinate in ("x", "y"):
            assert raw(jwk[coordinate]) in public
    assert bytes.fromhex(V["policies"][0][2]) in bytes.fromhex(V["public"])


def test_what_a_statement_is_bound_to_is_one_hash():
    said = cbor.encode(["modelseal", "tpm-lease-key", V["bound"]["to"]])
    assert sha(said).hex() == V["bound"]["digest"]


def test_the_sealed_keys_open_with_the_outer_key_first_and_then_the_inner_one():
    private = ec.derive_private_key(V["lease_key"]["scalar"], ec.SECP256R1())
    suite = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    vector = V["sealed"]
    outer = bytes.fromhex(vector["outer_info"])
    inside = suite.decrypt(raw(vector["sealed"]["ct"]), private, outer)
    assert len(raw(vector["sealed"]["ct"])) - len(inside) == 81
    plain = kem().open(inside, bytes.fromhex(vector["info"]))
    found = [[f.hex(), s, k.hex()] for f, s, k in cbor.decode(plain, max_bytes=4096)]
    assert found == vector["keys"]
    wanted = {"inner": bytes.fromhex(vector["info"]), "kem": kem().kid}
    assert cbor.decode(outer, max_bytes=4096) == ["modelseal", "hardware", wanted]


def opener(scalar: int | None = None) -> P256PrivateKey:
    private = ec.derive_private_key(scalar or V["lease_key"]["scalar"], ec.SECP256R1())

    def exchange(x: bytes, y: bytes) -> bytes:
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
        )
        return private.exchange(ec.ECDH(), numbers.public_key())

    return P256PrivateKey(exchange, V["lease_key"]["jwk"])


def test_both_keys_are_needed_and_in_their_own_places():
    sealed = SealedKeys(**V["sealed"]["sealed"])
    binding = Binding(**V["sealed"]["binding"])
    found = lease_keys.open_keys(sealed, kem(), binding, opener())
    assert [[f.hex(), s, k.hex()] for (f, s), k in found.items()] == V["sealed"]["keys"]
    for act in (
        lambda: lease_keys.open_keys(sealed, kem(), binding),
        lambda: lease_keys.open_keys(sealed, KemPrivateKey.generate(), binding, opener()),
        lambda: lease_keys.open_keys(sealed, kem(), binding, opener(8)),
    ):
        with pytest.raises(SealedKeyInvalid):
            act()


@pytest.mark.parametrize("field", ["product", "license", "device", "lease", "jkt"])
def test_sealed_keys_open_in_their_own_place_only(field):
    sealed = SealedKeys(**V["sealed"]["sealed"])
    other = Binding(**{**V["sealed"]["binding"], field: "another"})
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(sealed, kem(), other, opener())


def test_what_the_hardware_raises_leaves_as_it_is():
    class Away(Exception):
        pass

    def exchange(_x: bytes, _y: bytes) -> bytes:
        raise Away

    key = P256PrivateKey(exchange, V["lease_key"]["jwk"])
    with pytest.raises(Away):
        key.open(raw(V["sealed"]["sealed"]["ct"]), bytes.fromhex(V["sealed"]["outer_info"]))
    with pytest.raises(SealedKeyInvalid):
        key.open(bytes(80), b"")


def test_a_public_key_of_another_kind_is_refused():
    good = V["lease_key"]["jwk"]
    for wrong, error in (
        ({**good, "crv": "P-384"}, TokenAlgorithm),
        ({**good, "x": good["y"]}, TokenMalformed),
        ({**good, "x": "AA"}, TokenMalformed),
        ({"kty": "OKP", "crv": "Ed25519", "x": good["x"]}, TokenAlgorithm),
    ):
        with pytest.raises(error):
            P256PublicKey(wrong)
