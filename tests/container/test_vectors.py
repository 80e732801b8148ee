"""Every vector, through the package and through the independent reader."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from types import ModuleType
from typing import Any

import cbor2
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

from modelseal.container import BytesSource, VariantKey, VerifiedModel, inspect, parse
from modelseal.container._header import Header
from modelseal.container._prologue import Prologue
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import ModelsealError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vectors" / "sealed-model"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
KEYS = MANIFEST["keys"]
VALID = [pytest.param(case, id=case["name"]) for case in MANIFEST["valid"]]
REFUSED = [pytest.param(case, id=case["name"]) for case in MANIFEST["refused"]]
Case = dict[str, Any]


def bytes_of(case: Case) -> bytes:
    """The case's file with its changes made."""
    data = bytearray((FOLDER / case["file"]).read_bytes())
    for change in case.get("changes", []):
        data = _changed(data, change)
    return bytes(data)


def _changed(data: bytearray, change: Case) -> bytearray:
    op, at, size = change["op"], change.get("offset", 0), change.get("size", 0)
    raw = bytes.fromhex(change.get("hex", ""))
    if op == "truncate":
        return data[:size]
    if op == "append":
        return data + raw
    if op == "insert":
        return data[:at] + raw + data[at:]
    if op == "cut":
        return data[:at] + data[at + size :]
    if op == "swap":
        other = change["other"]
        data[at : at + size], data[other : other + size] = (
            data[other : other + size],
            data[at : at + size],
        )
        return data
    if op == "xor":
        raw = bytes(a ^ b for a, b in zip(raw, data[at:], strict=False))
    elif op == "zero":
        raw = bytes(size)
    elif op == "copy":
        raw = bytes(data[change["from"] : change["from"] + size])
    elif op == "splice":
        raw = (FOLDER / change["file"]).read_bytes()[change["from"] : change["from"] + size]
    else:
        assert op == "write", op
    data[at : at + len(raw)] = raw
    return data


def open_with_the_package(data: bytes, case: Case) -> tuple[dict[str, bytes], VerifiedModel]:
    """What ``docs/spec/sealed-model.md``, section 7, says a runner does."""
    pinned = [VerifyKey.from_jwk(KEYS[name]) for name in case["trust"]]
    model = parse(BytesSource(data)).verify_signatures(
        pinned, product=case["product"], min_release=case.get("min_release", 0)
    )
    data_keys = {int(n): bytes.fromhex(key) for n, key in case["data_keys"].items()}
    together = {name: bytes.fromhex(secret) for name, secret in case.get("together", {}).items()}
    bundle = {
        int(n): [VariantKey(bytes.fromhex(label), bytes.fromhex(key)) for label, key in pairs]
        for n, pairs in case.get("bundle_keys", {}).items()
    }
    index = model.open_index(data_keys[0])
    plain = {}
    for section in sorted((data_keys.keys() | bundle.keys()) - {0}):
        plain[section] = bytearray(model.section(section).plain_bytes)
        model.open_section(
            section,
            data_keys.get(section),
            memoryview(plain[section]),
            together=together,
            bundle_keys=bundle.get(section),
            threads=2,
        )
    files = {}
    for entry in index:
        if set(entry.sections) <= plain.keys():
            target = bytearray(entry.size_bytes)
            model.read_entry(
                entry, data_keys, memoryview(target), together=together, bundle_keys=bundle
            )
            for extent in entry.extents:
                whole = plain[extent.section][extent.offset : extent.offset + extent.size_bytes]
                assert blake3(whole).digest() == extent.digest
                start = extent.file_offset
                assert target[start : start + extent.size_bytes] == whole
            files[entry.name] = bytes(target)
    model.verify_leaves(allow_holes=case.get("holes", False))
    return files, model


def _public_key(jwk: dict[str, str]) -> tuple[tuple[str, str], Any]:
    """Algorithm, thumbprint and key of a JWK, without the package."""
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    kid = urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    if jwk["kty"] == "OKP":
        raw = urlsafe_b64decode(jwk["x"] + "==")
        return ("Ed25519", kid), Ed25519PublicKey.from_public_bytes(raw)
    raw = urlsafe_b64decode(jwk["pub"] + "==")
    return ("ML-DSA-65", kid), MLDSA65PublicKey.from_public_bytes(raw)


def _recovered(other: Any, private: bytes, kid: str) -> Any:
    """The recovery entry opened without the package."""
    kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:64])
    ecdh = x25519.X25519PrivateKey.from_private_bytes(private[64:])
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    bound = {name: other.header[name] for name in ("product", "model", "release")}
    bound |= {"file_id": other.file_id, "prologue": other.salt, "kid": kid}
    info = cbor2.dumps(["modelseal", "sealed-model recovery", bound], canonical=True)
    key = hpke.MLKEM768X25519PrivateKey(kem, ecdh)
    return cbor2.loads(suite.decrypt(other.header["recovery"]["ct"], key, info))


def open_with_the_independent_reader(
    reader: ModuleType, data: bytes, case: Case
) -> tuple[dict[str, bytes], Any]:
    """The same with the other reader."""
    other = reader.Reader(data)
    raw = bytes.fromhex
    pinned = dict(_public_key(KEYS[name]) for name in case["trust"])
    other.verify(pinned, case["product"], case.get("min_release", 0))
    data_keys = {int(n): raw(key) for n, key in case["data_keys"].items()}
    together = {model: raw(secret) for model, secret in case.get("together", {}).items()}
    bundle = {
        int(n): [(raw(label), raw(key)) for label, key in pairs]
        for n, pairs in case.get("bundle_keys", {}).items()
    }
    index = other.read_index(other.open_section(0, data_keys[0], {}, None))
    plain = {
        n: other.open_section(n, data_keys.get(n), together, bundle.get(n))
        for n in sorted((data_keys.keys() | bundle.keys()) - {0})
    }
    files = {}
    for entry in index["entries"]:
        if all(section in plain for section, *_ in entry["extents"]):
            pieces = [plain[n][at : at + size] for n, at, size, _, _ in entry["extents"]]
            digests = [extent[4] for extent in entry["extents"]]
            assert [blake3(piece).digest() for piece in pieces] == digests
            files[entry["name"]] = b"".join(pieces)
    other.check_leaves(case.get("holes", False))
    return files, other


@pytest.mark.parametrize("case", VALID)
def test_a_valid_vector_opens_to_its_files_in_both_readers(case: Case, reader: ModuleType) -> None:
    """Both readers give exactly the files whose digests the manifest holds."""
    data = bytes_of(case)
    files, _ = open_with_the_package(data, case)
    again, _ = open_with_the_independent_reader(reader, data, case)
    assert files == again
    assert {n: hashlib.sha256(plain).hexdigest() for n, plain in files.items()} == case["entries"]


@pytest.mark.parametrize("case", VALID)
def test_a_valid_vector_encodes_to_the_same_bytes_again(case: Case) -> None:
    """Prologue and header survive reading and writing, unknown members included."""
    data = bytes_of(case)
    prologue = Prologue.from_bytes(data)
    assert prologue.to_bytes() == data[:128]
    raw = data[128 : prologue.signatures_offset]
    assert Header.from_bytes(raw).to_bytes() == raw
    assert json.loads(json.dumps(inspect(BytesSource(data))))["product"] == "demo"


@pytest.mark.parametrize("case", VALID)
def test_the_recovery_key_gives_all_data_keys_back(case: Case, reader: ModuleType) -> None:
    """The recovery entry opens in both readers to the keys that open the file."""
    data = bytes_of(case)
    _, model = open_with_the_package(data, case)
    private = bytes.fromhex(KEYS["recovery_private"])
    recovered = model.recover_keys(KemPrivateKey(private))
    _, other = open_with_the_independent_reader(reader, data, case)
    assert _recovered(other, private, KEYS["recovery_kid"]) == recovered
    known = case["data_keys"] | case.get("seeds", {})
    assert {n: recovered[int(n)].hex() for n in known} == known


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_vector_is_refused_with_its_code_by_both_readers(
    case: Case, reader: ModuleType
) -> None:
    """The first thing that is wrong decides, and both readers see the same thing first."""
    data = bytes_of(case)
    with pytest.raises(ModelsealError) as ours:
        open_with_the_package(data, case)
    assert ours.value.code == case["code"]
    with pytest.raises(reader.Refusal) as theirs:
        open_with_the_independent_reader(reader, data, case)
    assert theirs.value.args[0] == case["code"]


def test_every_vector_file_is_in_the_manifest_and_they_stay_small() -> None:
    """No orphan, no missing file, less than 2 MiB together."""
    named = {case["file"] for case in MANIFEST["valid"] + MANIFEST["refused"]}
    spliced = (c.get("file") for case in MANIFEST["refused"] for c in case.get("changes", []))
    there = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.sealed")}
    assert there == named | {name for name in spliced if name}
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 2 << 20


def test_every_code_of_the_specification_has_a_vector() -> None:
    """Each code in the order of checks is the expected one of at least one refusal."""
    text = (ROOT / "docs" / "spec" / "sealed-model.md").read_text(encoding="utf-8")
    steps = text.split("## 4.")[1].split("**Rules.**")[0]
    rows = [line for line in steps.splitlines() if re.match(r"\| \d", line)]
    codes = {code for row in rows for code in re.findall(r"`([a-z]+_[a-z_]+)`", row.split("|")[3])}
    assert codes == {case["code"] for case in MANIFEST["refused"]}


def test_the_independent_reader_is_short_and_shares_no_code() -> None:
    """At most 300 lines, nothing imported from the package."""
    text = (ROOT / "tests" / "container" / "independent_reader.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert not re.search(r"^\s*(import|from) modelseal", text, re.MULTILINE)
