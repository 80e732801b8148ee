"""The vectors of ``vectors/keys``, read by us and by a reader made from the spec alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from modelseal import keys
from modelseal.desk import archive, kit
from modelseal.desk.records import ModelRecords
from modelseal.errors import InvalidBytes
from modelseal.keys import envelope, passphrase, reference
from modelseal.keys.file import FileProvider
from modelseal.keys.layered import LayeredProvider
from modelseal.types import Level

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "keys"
MANIFEST: dict[str, Any] = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
STORES: dict[str, Any] = json.loads((FOLDER / "stores.json").read_text("utf-8"))


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


def opened_by_spec(wrapped: bytes, bound: dict[str, Any]) -> bytes:
    """An envelope under the vectors' key, opened from the spec alone."""
    key = bytes.fromhex(MANIFEST["envelope"]["key"])
    message_key = hkdf(key, wrapped[25:57], b"modelseal wrapped key v1")
    encoded = cbor2.dumps(bound, canonical=True)
    return AESGCM(message_key).decrypt(bytes(12), wrapped[57:], wrapped[:57] + encoded)


def provider() -> FileProvider:
    return FileProvider("file:kek.key", bytes.fromhex(MANIFEST["envelope"]["key"]))


def test_a_wrapped_key_file_opens_by_us_and_from_the_spec(tmp_path: Path) -> None:
    vector = MANIFEST["wrapped_key_file"]
    data = bytes.fromhex(vector["hex"])
    (tmp_path / vector["name"]).write_bytes(data)
    (tmp_path / vector["name"]).chmod(0o600)
    online = keys.OnlineKeys(tmp_path, provider(), server_id="srv_vector")
    (entry,) = online.entries()
    assert online.private_bytes(entry).hex() == vector["private"]
    assert online.signers("lease", entry.not_before)[0].kid == entry.kid
    members = cbor2.loads(data[9:])
    assert data[:9] == b"\x89MSO1\r\n\x1a\x01"
    bound = {"purpose": "online-key", **{n: members[n] for n in ("server", "use", "kid")}}
    assert opened_by_spec(members["wrapped"], bound).hex() == vector["private"]
    digest = hashlib.sha256(members["kid"].encode()).hexdigest()
    assert vector["name"] == f"lease-{digest[:16]}.key"


def test_a_model_record_opens_by_us_and_from_the_spec(tmp_path: Path) -> None:
    vector = MANIFEST["model_record"]
    data = bytes.fromhex(vector["hex"])
    members = cbor2.loads(data[9:])
    path = tmp_path / f"{members['file'].hex()}.key"
    path.write_bytes(data)
    path.chmod(0o600)
    records = ModelRecords(tmp_path, provider(), product="facefusion")
    (record,) = records.all()
    found = records.keys_of(record)
    expected = {int(section): bytes.fromhex(key) for section, key in vector["keys"].items()}
    together = bytes.fromhex(vector["together"])
    assert (found.keys, found.together) == (expected, together)
    assert data[:9] == b"\x89MSD1\r\n\x1a\x01"
    bound = {
        "purpose": "data-keys",
        "product": "facefusion",
        **{name: members[name] for name in ("file", "model", "release")},
    }
    plain = cbor2.loads(opened_by_spec(members["wrapped"], bound))
    assert plain == {"keys": expected, "together": together}


def test_a_backup_is_read_as_it_was_written() -> None:
    vector = MANIFEST["backup"]
    data = bytes.fromhex(vector["protected"])
    plain = passphrase.reveal(data, vector["passphrase"], "backup")
    found = archive.decode(plain)
    assert archive.encode(found) == plain
    members = cbor2.loads(plain)
    assert (members["typ"], members["version"]) == ("modelseal-backup", 1)
    assert members["kek"].hex() == MANIFEST["envelope"]["key"]
    assert [key["use"] for key in members["desk"] + members["online"]] == ["root", "lease"]
    assert found.models[0].record.release == 1


def test_a_reader_from_the_spec_opens_the_layered_envelope() -> None:
    vector = STORES["layered"]
    wrapped, kek = bytes.fromhex(vector["wrapped"]), bytes.fromhex(vector["kek"])
    told = {n: bytes.fromhex(v["hex"]) if isinstance(v, dict) else v
            for n, v in vector["context"].items()}  # fmt: skip
    identity = bytes.fromhex(vector["cka_id"]) + b"\0" + bytes.fromhex(vector["check_value"])
    assert wrapped[:9] == b"\x89MSX1\r\n\x1a\x01"
    assert wrapped[9:25] == hashlib.sha256(b"modelseal key store pkcs11\0" + identity).digest()[:16]
    (length,) = struct.unpack("<H", wrapped[25:27])
    made, rest = wrapped[27 : 27 + length], wrapped[27 + length :]
    shown = {name: told[name] for name in ("purpose", "product")}
    bound = b"modelseal working key v1" + cbor2.dumps(shown, canonical=True)
    assert made[:1] == b"\x01" and length == 1 + 12 + 32 + 16
    working = AESGCM(kek).decrypt(made[1:13], made[13:], bound)
    message_key = hkdf(working, rest[:32], b"modelseal layered key v1")
    header = wrapped[: 27 + length + 32]
    plain = AESGCM(message_key).decrypt(
        bytes(12), rest[32:], header + cbor2.dumps(told, canonical=True)
    )
    assert plain.hex() == vector["plaintext"]


class Token:
    """The key of the layered vector, as a token holds it."""

    kind = "pkcs11"
    level = Level.L1
    identity = bytes.fromhex(STORES["layered"]["cka_id"]) + b"\0" + bytes.fromhex(
        STORES["layered"]["check_value"]
    )  # fmt: skip

    def wrap_key(self, key: bytes, bound: Any) -> bytes:
        """Never asked."""
        raise AssertionError

    def unwrap_key(self, wrapped: bytes, bound: Any) -> bytes:
        """By AES-GCM, the shown context as associated data."""
        aad = b"modelseal working key v1" + cbor2.dumps(dict(bound), canonical=True)
        kek = AESGCM(bytes.fromhex(STORES["layered"]["kek"]))
        return kek.decrypt(wrapped[1:13], wrapped[13:], aad)

    def describe(self) -> dict[str, object]:
        """Nothing more."""
        return {}


def test_our_layered_envelope_opens() -> None:
    vector = STORES["layered"]
    told = {n: bytes.fromhex(v["hex"]) if isinstance(v, dict) else v
            for n, v in vector["context"].items()}  # fmt: skip
    provider = LayeredProvider("pkcs11:x", Token(), cache_seconds=0, store_seconds=0)
    assert provider.unwrap(bytes.fromhex(vector["wrapped"]), told).hex() == vector["plaintext"]


def test_a_reference_reads_as_the_spec_says_and_writes_again_the_same() -> None:
    vector = STORES["reference"]
    data = bytes.fromhex(vector["bytes"])
    assert data[:9] == b"\x89MSR1\r\n\x1a\x01"
    told = {"uri": vector["uri"], "alg": "Ed25519", "public": bytes.fromhex(vector["public"])}
    assert cbor2.loads(data[9:]) == told
    assert reference.encode(reference.decode(data)) == data
    assert reference.absent(reference.decode(data)).alg == "Ed25519"
    for odd in (data[:-1], data[:9], b"", data + b"\0", data[:9] + cbor2.dumps({"uri": 1})):
        with pytest.raises(InvalidBytes):
            reference.decode(odd)


def test_the_vectors_of_key_stores_are_what_their_tool_makes() -> None:
    made = [
        sys.executable,
        str(FOLDER.parents[1] / "tools" / "make_keystore_vectors.py"),
        "--check",
    ]
    assert subprocess.run(made, check=False).returncode == 0
