"""The published vectors: what a second implementation is given, checked here by two of them."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path

import cbor2
import msgspec
import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.errors import InvalidBytes, LicenseKeyMistyped, TokenKeyUnknown
from modelseal.license import bundle, lease, lease_keys, license_key, tokens
from modelseal.license.claims import (
    LeaseClaims,
    LicenseClaims,
    RequestClaims,
    SealedKeys,
    SealedText,
)
from modelseal.license.decide import STEPS, decide
from modelseal.license.facts import from_json
from modelseal.license.lease import Phase, Word
from modelseal.license.lease_keys import Binding
from modelseal.license.license_key import KeyBinding
from modelseal.types import LeaseState

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vectors" / "tokens"


def load(name: str):
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


KEYS = load("keys")
VALID = load("valid")
REFUSED = load("refused")
SEALED = load("sealed")
SIGNING = {name: SigningKey.from_pkcs8(raw(key["pkcs8"])) for name, key in KEYS["signing"].items()}
KEM = KemPrivateKey(raw(KEYS["kem"]["private"]))


class VectorTrust:
    """The trust that a vector file describes."""

    def __init__(self, described, sets):
        self.product, self.server_id = described["product"], described["server_id"]
        self._window = described["valid_from"], described["valid_until"]
        self._sets = [tuple(SIGNING[name].verify_key() for name in names) for names in sets]

    def verify_keys(self, use, kid, at):
        for keys in self._sets:
            if self._window[0] <= at.timestamp() < self._window[1] and kid in {k.kid for k in keys}:
                return keys
        raise TokenKeyUnknown("not listed")


def trust_for(signers):
    return VectorTrust(VALID["trust"], [signers])


def test_the_keys_are_what_they_say():
    for name, key in KEYS["signing"].items():
        assert (SIGNING[name].alg, SIGNING[name].kid, SIGNING[name].jwk) == (
            key["alg"],
            key["kid"],
            key["jwk"],
        )
    assert (KEM.kid, KEM.jwk) == (KEYS["kem"]["kid"], KEYS["kem"]["jwk"])


def test_delegated_tokens_are_read_by_their_delegation_and_made_again():
    found, trust = load("delegated"), trust_for(["Ed25519"])
    relay = SigningKey.from_pkcs8(raw(found["relay"]["pkcs8"]))
    for name, cls in (("lease", LeaseClaims), ("license", LicenseClaims)):
        claims = tokens.read(found[name], cls, trust)
        assert claims.delegation == found["delegation"]
        assert tokens.sign(claims, [relay]) == found[name]
    by, kid = tokens.read_delegation(found["delegation"], trust)
    assert kid == SIGNING["Ed25519"].kid and by.jwk == relay.jwk


@pytest.mark.parametrize("row", load("delegated")["refused"], ids=lambda row: row["name"])
def test_what_is_beyond_a_delegation_is_refused_with_its_code(row):
    cls = LicenseClaims if row["name"].startswith("a token") else LeaseClaims
    with pytest.raises(InvalidBytes) as error:
        tokens.read(row["token"], cls, trust_for(["Ed25519"]))
    assert error.value.code == row["code"]


def test_every_kind_of_token_has_valid_vectors():
    assert {row["typ"] for row in VALID["tokens"]} == set(tokens.KINDS)


@pytest.mark.parametrize("row", VALID["tokens"], ids=lambda row: row["name"])
def test_a_valid_token_is_read_with_its_claims(row):
    if row["typ"] == RequestClaims.TYP:
        claims = tokens.read_request(
            row["token"], server_id=VALID["trust"]["server_id"], jwk=SIGNING["device"].jwk
        )
    else:
        claims = tokens.read(row["token"], tokens.KINDS[row["typ"]], trust_for(row["signers"]))
    assert msgspec.to_builtins(claims) == row["claims"]


@pytest.mark.parametrize("row", VALID["tokens"], ids=lambda row: row["name"])
def test_a_deterministic_token_is_made_again_byte_for_byte(row):
    claims = msgspec.convert(row["claims"], tokens.KINDS[row["typ"]])
    again = tokens.sign(claims, [SIGNING[name] for name in row["signers"]])
    if {SIGNING[name].alg for name in row["signers"]} <= {"Ed25519", "RS256"}:
        assert again == row["token"]
    elif len(row["signers"]) == 1:
        assert again.rpartition(".")[0] == row["token"].rpartition(".")[0]


@pytest.mark.parametrize("row", VALID["tokens"], ids=lambda row: row["name"])
def test_joserfc_reads_every_signature_it_knows(row):
    importers = {"OKP": OKPKey, "EC": ECKey, "RSA": RSAKey}
    general = json.loads(row["token"]) if row["token"].startswith("{") else None
    for name in row["signers"]:
        jwk = KEYS["signing"][name]["jwk"]
        if jwk["kty"] not in importers:
            continue
        key, alg = importers[jwk["kty"]].import_key(jwk), KEYS["signing"][name]["alg"]
        if general is None:
            found = joserfc_jws.deserialize_compact(row["token"], key, algorithms=[alg])
        else:
            index = row["signers"].index(name)
            half = {"payload": general["payload"], **general["signatures"][index]}
            found = joserfc_jws.deserialize_json(half, key, algorithms=[alg])
        assert json.loads(found.payload) == row["claims"]


@pytest.mark.parametrize(
    "row", REFUSED["tokens"], ids=lambda row: f"{row['name']}{' (hybrid)' * row['hybrid']}"
)
def test_a_refused_token_is_refused_with_its_code(row):
    sets = [["Ed25519", "ML-DSA-65"]] if row["hybrid"] else [["Ed25519"]]
    with pytest.raises(InvalidBytes) as found:
        tokens.read(row["token"], LeaseClaims, VectorTrust(REFUSED["trust"], sets))
    assert found.value.code == row["code"]


@pytest.mark.parametrize("row", SEALED["keys"], ids=lambda row: row["binding"]["label"])
def test_sealed_keys_open_here_and_by_plain_hpke(row):
    wanted = {(bytes.fromhex(f), s): bytes.fromhex(k) for f, s, k in row["keys"]}
    binding = Binding(**row["binding"])
    sealed = msgspec.convert(row["sealed"], SealedKeys)
    assert binding.info().hex() == row["info"]
    assert lease_keys.open_keys(sealed, KEM, binding) == wanted
    values = {name: value for name, value in row["binding"].items() if name != "label"}
    info = cbor2.dumps(["modelseal", row["binding"]["label"], values], canonical=True)
    assert info.hex() == row["info"]
    plain = _plain_hpke(raw(sealed.ct), info)
    assert [[f.hex(), s, k.hex()] for f, s, k in cbor2.loads(plain)] == row["keys"]


def _plain_hpke(sealed: bytes, info: bytes) -> bytes:
    """HPKE by ``cryptography`` alone, from the private bytes as the page describes them."""
    private = raw(KEYS["kem"]["private"])
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    key = hpke.MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:64]),
        x25519.X25519PrivateKey.from_private_bytes(private[64:]),
    )
    return suite.decrypt(sealed, key, info)


def test_the_sealed_license_key_opens_here_and_by_plain_hpke():
    row = SEALED["license_key"]
    binding = KeyBinding(**row["binding"])
    sealed = msgspec.convert(row["sealed"], SealedText)
    assert binding.info().hex() == row["info"]
    assert license_key.open_key(sealed, KEM, binding).hex() == row["raw"]
    info = cbor2.dumps(["modelseal", "license-key", row["binding"]], canonical=True)
    assert _plain_hpke(raw(sealed.ct), info).hex() == row["raw"]
    assert license_key.parse(row["text"]).hex() == row["raw"]


def test_the_bundle_opens_here_and_by_plain_aes():
    row = SEALED["bundle"]
    data, key = bytes.fromhex(row["data"]), bytes.fromhex(row["bundle_key"])
    named = {
        "digest": hashlib.sha256(data).digest(),
        "product": row["product"],
        "license": row["license"],
        "bundle_key": key,
    }
    wanted = {(bytes.fromhex(f), s): bytes.fromhex(k) for f, s, k in row["keys"]}
    assert bundle.open_bundle(data, **named) == wanted
    variants = bundle.open_variants(data, **named)
    assert [
        [f.hex(), s, [[label.hex(), k.hex()] for label, k in chunks]]
        for (f, s), chunks in variants.items()
    ] == row["variants"]
    context = cbor2.dumps(
        ["modelseal", "key-bundle", 1, row["product"], row["license"]], canonical=True
    )
    plain = cbor2.loads(AESGCM(key).decrypt(data[9:21], data[21:], context))
    assert [[f.hex(), s, k.hex()] for f, s, k in plain["keys"]] == row["keys"]


def test_license_keys_are_read_and_refused_as_published():
    rows = load("license_keys")
    for row in rows["valid"]:
        assert license_key.format_key(bytes.fromhex(row["raw"])) == row["text"]
        assert _by_the_page(bytes.fromhex(row["raw"])) == row["text"]
    for row in rows["valid"] + rows["typed"]:
        assert license_key.parse(row.get("typed", row.get("text"))).hex() == row["raw"]
    for row in rows["mistyped"]:
        with pytest.raises(LicenseKeyMistyped) as found:
            license_key.parse(row["typed"])
        assert found.value.params.get("group") == row["group"]


def _by_the_page(data: bytes) -> str:
    """A license key by section 12, with a multiplication table made by brute force."""
    symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

    def times(x: int, y: int) -> int:
        product = 0
        for bit in range(5):
            product ^= (x << bit) * (y >> bit & 1)
        for bit in range(9, 4, -1):
            product ^= (0b100101 << (bit - 5)) * (product >> bit & 1)
        return product

    number = int.from_bytes(data, "big")
    digits = [number >> shift & 31 for shift in range(75, -1, -5)]
    groups = []
    for p in range(1, 5):
        group, check, power = digits[4 * p - 4 : 4 * p], p, 1
        for digit in group:
            power = times(power, 2)
            check ^= times(power, digit)
        groups.append("".join(symbols[d] for d in [*group, check]))
    return "-".join(["MS", *groups])


def test_the_published_states_are_the_table():
    rows = load("states")
    published = {(Word(r["said_last"]), Phase(r["life"])): LeaseState(r["state"]) for r in rows}
    assert published == lease.TABLE


@pytest.mark.parametrize("row", load("decisions"), ids=lambda row: row["name"])
def test_a_published_decision_falls_again(row):
    facts = from_json(row["facts"])
    decision = decide(facts)
    assert (decision.code, decision.step) == (row["code"], row["step"])
    assert json.loads(json.dumps(decision.params)) == row["params"]
    assert facts.now == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_published_decisions_reach_every_step_but_the_denials_own():
    reached = {row["step"] for row in load("decisions")}
    assert reached == {step.number for step in STEPS if step.code != "(denial)"}


def test_the_script_that_made_the_vectors_makes_these_tables_again():
    path = ROOT / "tools" / "make_token_vectors.py"
    spec = importlib.util.spec_from_file_location("make_token_vectors", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, made in (
        ("license_keys", module._license_keys()),
        ("states", module._states()),
        ("decisions", module._decisions()),
    ):
        assert json.loads(json.dumps(made)) == load(name), "run: python tools/make_token_vectors.py"
