"""The vectors of ``vectors/keys``, read by us and by a reader made from the spec alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import unicodedata
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from modelseal import keys
from modelseal.desk import kit
from modelseal.keys import envelope, passphrase

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "keys"
MANIFEST: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text("utf-8"))


def context() -> dict[str, Any]:
    raw = MANIFEST["envelope"]["context"]
    return {n: bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for n, v in raw.items()}


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 for 32 bytes, by hand."""
    prk = hmac.digest(salt, key, hashlib.sha256)
    return hmac.digest(prk, info + b"\x01", hashlib.sha256)


def test_our_envelope_opens() -> None:
    vector = MANIFEST["envelope"]
    key, wrapped = bytes.fromhex(vector["key"]), bytes.fromhex(vector["wrapped"])
    assert envelope.open_(key, wrapped, context()).hex() == vector["plaintext"]
    assert envelope.owner(wrapped) == envelope.key_id(key) == bytes.fromhex(vector["key_id"])


def test_a_reader_from_the_spec_opens_the_envelope() -> None:
    vector = MANIFEST["envelope"]
    key, wrapped = bytes.fromhex(vector["key"]), bytes.fromhex(vector["wrapped"])
    assert wrapped[:9] == b"\x89MSW1\r\n\x1a\x01"
    assert wrapped[9:25] == hmac.digest(key, b"modelseal key id", hashlib.sha256)[:16]
    encoded = cbor2.dumps(context(), canonical=True)
    assert encoded.hex() == vector["context_cbor"]
    message_key = hkdf(key, wrapped[25:57], b"modelseal wrapped key v1")
    plain = AESGCM(message_key).decrypt(bytes(12), wrapped[57:], wrapped[:57] + encoded)
    assert plain.hex() == vector["plaintext"]


def test_our_passphrase_reader_opens_the_protected_bytes() -> None:
    vector = MANIFEST["passphrase"]
    protected = bytes.fromhex(vector["protected"])
    assert (
        passphrase.reveal(protected, vector["passphrase"], vector["purpose"]).hex()
        == (vector["plaintext"])
    )


def test_a_reader_from_the_spec_opens_the_protected_bytes() -> None:
    vector = MANIFEST["passphrase"]
    data = bytes.fromhex(vector["protected"])
    kdf, lanes, passes, memory = struct.unpack_from("<BHII", data, 9)
    assert data[:9] == b"\x89MSP1\r\n\x1a\x01" and kdf == 1
    text = unicodedata.normalize("NFC", vector["passphrase"]).encode()
    key = Argon2id(
        salt=data[20:36], length=32, iterations=passes, lanes=lanes, memory_cost=memory
    ).derive(text)
    bound = data[:36] + vector["purpose"].encode()
    assert AESGCM(key).decrypt(bytes(12), data[36:], bound).hex() == vector["plaintext"]


def test_the_key_file_opens_what_its_key_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "kek.key"
    path.write_bytes(bytes.fromhex(MANIFEST["key_file"]))
    path.chmod(0o600)
    wrapped = bytes.fromhex(MANIFEST["envelope"]["wrapped"])
    provider = keys.open_provider("file:kek.key", base=tmp_path)
    assert provider.owns(wrapped)
    assert provider.unwrap(wrapped, context()).hex() == MANIFEST["envelope"]["plaintext"]


def test_the_recovery_passphrase_is_spelled_as_the_spec_says() -> None:
    vector = MANIFEST["recovery_passphrase"]
    raw = bytes.fromhex(vector["random"])
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    groups = []
    for place in range(7):
        group = "".join(alphabet[byte & 31] for byte in raw[4 * place : 4 * place + 4])
        digest = hashlib.sha256(f"modelseal recovery {place} {group}".encode()).digest()
        groups.append(group + alphabet[digest[0] % 32])
    assert "-".join(["MSR", *groups]) == vector["text"] == kit.normalise(vector["text"].lower())
