"""The vectors of attested releases, read by plain CBOR, hashes and HPKE beside our own code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cbor2
import msgspec
import pytest

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import SealedKeyInvalid
from modelseal.license import attested, jws, lease_keys, tokens
from modelseal.license.claims import RequestClaims, SealedKeys
from modelseal.license.lease_keys import Binding
from modelseal.strict_json import unb64u

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "tokens"
V = json.loads((FOLDER / "attested.json").read_text())
KEYS = json.loads((FOLDER / "keys.json").read_text())
KEM = KemPrivateKey(unb64u(KEYS["kem"]["private"]))


def claims() -> RequestClaims:
    payload = jws.parse(V["request"], max_bytes=1 << 16).payload
    return tokens.read_request(V["request"], server_id=payload["aud"], jwk=payload["jwk"])


def test_the_transcript_is_what_the_page_says():
    asked, token = claims(), V["request"]
    parts = token.split(".")
    values = {
        "suite": asked.kem[0].suite,
        "server": asked.aud,
        "server_key": asked.server_key,
        "nonce": asked.server_nonce,
        "license": asked.lic,
        "device": asked.sub,
        "jkt": asked.iss,
        "signature": unb64u(parts[2]),
        "request": hashlib.sha256(token.encode()).digest(),
        "kem": [KEM.kid],
        "want": sorted([unb64u(w.file), sorted(w.sections)] for w in asked.want),
        "level": asked.level,
        "seq": asked.seq,
    }
    plain = cbor2.dumps(["modelseal/attested-release/v1", values], canonical=True)
    assert plain.hex() == V["transcript"]
    assert attested.of(asked, token).encoded == plain
    assert hashlib.sha512(plain).hexdigest() == V["bound"]["snp"]
    assert hashlib.sha256(plain).hexdigest() == V["bound"]["tpm2"]


def test_the_keys_open_for_this_transcript_and_result():
    row = V["sealed"]
    raw = {n: bytes.fromhex(row["binding"][n]) for n in ("transcript", "result")}
    binding = Binding(**{**row["binding"], **raw})
    values = {n: v for n, v in {**row["binding"], **raw}.items() if n != "label"}
    info = cbor2.dumps(["modelseal", "attested-release", values], canonical=True)
    assert info.hex() == row["info"] == binding.info().hex()
    sealed = msgspec.convert(row["sealed"], SealedKeys)
    found = lease_keys.open_keys(sealed, KEM, binding)
    assert [[f.hex(), s, k.hex()] for (f, s), k in sorted(found.items())] == row["keys"]
    other = Binding(**{**row["binding"], **raw, "result": bytes(32)})
    with pytest.raises(SealedKeyInvalid):
        lease_keys.open_keys(sealed, KEM, other)
