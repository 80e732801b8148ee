"""Writes ``vectors/trust`` and ``vectors/keys``: run ``python tools/make_trust_vectors.py``.

Everything is derived from fixed names, so that a second run writes the same bytes. The private
keys in here are public; nothing real may ever use them.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa

from modelseal import cbor, trust
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import archive, kit
from modelseal.desk.archive import Archive, StoredKey, StoredModel
from modelseal.desk.records import DataKeys, ModelRecord, ModelRecords
from modelseal.keys import OnlineKeys, envelope, passphrase
from modelseal.keys.file import FileProvider
from modelseal.keys.passphrase import Work
from modelseal.trust import KeyList, TrustedKey, Use, keylist, writing
from modelseal.trust.canonical import canonical
from modelseal.trust.writing import RoleKeys

ROOT = Path(__file__).resolve().parents[1] / "vectors"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAR = NOW + timedelta(days=5 * 365)
ROLES = ("root", "targets", "snapshot", "timestamp")
CONTEXT: dict[str, str | int | bytes] = {
    "purpose": "data-key",
    "product": "facefusion",
    "file": bytes(range(32)),
    "section": 1,
}


def octets(name: str, size_bytes: int) -> bytes:
    """Bytes that the name alone decides."""
    return hashlib.shake_256(f"modelseal vector {name}".encode()).digest(size_bytes)


def key(name: str, alg: str = "Ed25519") -> SigningKey:
    """The signing key of that name."""
    seed = octets(name, 32)
    if alg == "ML-DSA-65":
        return SigningKey(alg, mldsa.MLDSA65PrivateKey.from_seed_bytes(seed))
    if alg == "ES256":
        number = int.from_bytes(seed, "big") >> 1
        return SigningKey(alg, ec.derive_private_key(number, ec.SECP256R1()))
    return SigningKey(alg, ed25519.Ed25519PrivateKey.from_private_bytes(seed))


def kem(name: str) -> KemPrivateKey:
    """The KEM key of that name."""
    return KemPrivateKey(octets(name, 96))


def role(*names: str, threshold: int = 1) -> RoleKeys:
    """The role with the keys of those names."""
    return RoleKeys([key(name).jwk for name in names], threshold)


def root(version: int, signers: list[str], keys: list[str], threshold: int = 1) -> bytes:
    """A signed root."""
    roles = {name: role(name) for name in ROLES} | {"root": role(*keys, threshold=threshold)}
    return writing.sign(writing.root(version, FAR, roles), [key(name) for name in signers])


def targets(version: int, signer: str = "targets") -> bytes:
    """Signed targets without models."""
    return writing.sign(writing.targets(version, FAR, role("keys"), {}), [key(signer)])


def keys_role(version: int, content: bytes, signer: str = "keys") -> bytes:
    """The signed delegated role."""
    return writing.sign(writing.keys_role(version, FAR, content), [key(signer)])


def listed(hybrid: bool, lease: str = "lease") -> tuple[TrustedKey, ...]:
    """The keys of a product."""

    def one(use: Use, name: str, alg: str) -> TrustedKey:
        return keylist.trusted(use, key(name, alg).verify_key(), f"{use}-1", not_before=NOW)

    token = ("Ed25519", "ML-DSA-65") if hybrid else ("ES256",)
    found = [one(Use.PUBLISHER, f"publisher {alg}", alg) for alg in ("Ed25519", "ML-DSA-65")]
    found += [one(Use.LEASE, f"{lease} {alg}", alg) for alg in token]
    found += [one(Use.CHECKPOINT, "checkpoint", "Ed25519")]
    sealing = keylist.trusted(Use.SEALING, kem("s").public_key(), "sealing-1", not_before=NOW)
    return (*found, sealing)


def key_list(version: int, *, hybrid: bool = False, lease: str = "lease") -> bytes:
    """A key list."""
    salt = octets("salt", 32)
    return keylist.write(KeyList(version, "facefusion", "srv_vector", salt, listed(hybrid, lease)))


def composed(**parts: Any) -> dict[str, Any]:
    """The value of a ``trust.json``, verified or not."""
    return {
        "typ": "modelseal-trust",
        "version": 1,
        "root": json.loads(parts["root"]),
        "keys": {
            "targets": json.loads(parts["targets"]),
            "role": json.loads(parts["keys_role"]),
            "list": json.loads(parts["key_list"]),
        },
        "tls_ca": parts.get("tls_ca"),
    }


def good(*, hybrid: bool = False) -> dict[str, Any]:
    """The parts of a good trust."""
    content = key_list(1, hybrid=hybrid)
    return {
        "root": root(1, ["root"], ["root"]),
        "targets": targets(1),
        "keys_role": keys_role(1, content),
        "key_list": content,
    }


def refused() -> dict[str, tuple[str, dict[str, Any]]]:
    """Trust files that are wrong, with the code of the refusal."""
    other_list = key_list(1, lease="other")
    two = root(1, ["root"], ["root", "second"], threshold=2)
    alien = good() | {"targets": targets(1, signer="snapshot")}
    crossed = good() | {"keys_role": keys_role(1, key_list(1), signer="targets")}
    older = good()
    older["keys_role"] = keys_role(2, older["key_list"])
    odd = composed(**good())
    odd["keys"]["list"]["keys"][0]["use"] = "lease"
    return {
        "root-below-threshold": ("trust_signature", composed(**good() | {"root": two})),
        "root-signed-by-another": (
            "trust_signature", composed(**good() | {"root": root(1, ["second"], ["root"])}),
        ),
        "targets-signed-by-snapshot": ("trust_signature", composed(**alien)),
        "role-signed-by-targets": ("trust_signature", composed(**crossed)),
        "list-not-named": ("trust_signature", composed(**good() | {"key_list": other_list})),
        "list-and-role-differ": ("trust_malformed", composed(**older)),
        "use-changed": ("trust_signature", odd),
        "another-version": ("trust_malformed", composed(**good()) | {"version": 2}),
        "member-more": ("trust_malformed", composed(**good()) | {"extra": 1}),
    }  # fmt: skip


def updates() -> list[dict[str, Any]]:
    """Ways forward from ``trust.json``, with what they end in."""
    second = root(2, ["root", "root-2"], ["root-2"])
    third = root(3, ["root-2", "root-3"], ["root-3"])
    content = key_list(2, lease="lease-2")
    parts = {
        "targets": targets(2).decode(),
        "keys_role": keys_role(2, content).decode(),
        "key_list": content.decode(),
    }
    lone = root(2, ["root-2"], ["root-2"])

    def case(name: str, roots: list[bytes], expect: dict[str, Any], **more: Any) -> dict[str, Any]:
        texts = [item.decode() for item in roots]
        base = {"name": name, "roots": texts, **parts, "now": int(NOW.timestamp())}
        return {**base, **more, **expect}

    late = {"now": int(FAR.timestamp())}
    return [
        case("two-root-rotations", [second, third], {"root_version": 3, "keys_version": 2}),
        case("no-new-root", [], {"root_version": 1, "keys_version": 2}),
        case("root-skipped", [third], {"code": "trust_signature"}),
        case("root-not-signed-by-the-old-one", [lone], {"code": "trust_signature"}),
        case("root-again", [root(1, ["root"], ["root"])], {"code": "trust_rollback"}),
        case("expired", [second], {"code": "trust_expired"}, **late),
    ]


def write_trust() -> None:
    """``vectors/trust``."""
    folder = ROOT / "trust"
    (folder / "refused").mkdir(parents=True, exist_ok=True)
    accepted = {}
    for name, hybrid in (("trust", False), ("hybrid", True)):
        found = trust.compose(**good(hybrid=hybrid), tls_ca=None)
        (folder / f"{name}.json").write_bytes(found.raw)
        accepted[f"{name}.json"] = {
            "product": found.product,
            "server_id": found.server_id,
            "trait_salt": found.trait_salt.hex(),
            "sets": {
                use.value: [[k.kid, k.alg] for k in found.keys(use)]
                for use in Use
                if found.keys(use)
            },
        }
    codes = {}
    for name, (code, value) in refused().items():
        (folder / "refused" / f"{name}.json").write_bytes(_json(value))
        codes[f"{name}.json"] = code
    sample = {"b": [1, True, None], "a": 'quote " backslash \\ newline \n é 😀', "": {}}
    manifest = {
        "origin": "made by tools/make_trust_vectors.py from fixed names",
        "agreed_by": "python-tuf (tuf.api.metadata), run over the same files in the tests",
        "canonical": {"value": sample, "hex": canonical(sample).hex()},
        "accepted": accepted,
        "refused": codes,
        "updates": updates(),
    }
    (folder / "manifest.json").write_bytes(_json(manifest, indent=1))


class _Counted:
    """Octets that differ from call to call and not from run to run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def __call__(self, size_bytes: int) -> bytes:
        self._count += 1
        return octets(f"{self._name} {self._count}", size_bytes)


def kept_files(kek: bytes) -> dict[str, Any]:
    """A wrapped key file, a model record and a backup, each as its bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        provider = FileProvider("file:kek.key", kek, _Counted("kept"))
        online = OnlineKeys(folder, provider, server_id="srv_vector")
        online.add("lease", key("kept lease"), not_before=NOW, set_name="lease-1")
        (wrapped,) = [path.read_bytes() for path in folder.glob("lease-*.key")]
        names = [path.name for path in folder.glob("lease-*.key")]
        records = ModelRecords(folder, provider, product="facefusion")
        records.add(RECORD, DataKeys({0: octets("k0", 32), 1: octets("k1", 32)}, octets("t", 32)))
        record = (folder / f"{RECORD.file_id.hex()}.key").read_bytes()
    return {
        "wrapped_key_file": {
            "name": names[0],
            "hex": wrapped.hex(),
            "private": key("kept lease").to_pkcs8().hex(),
        },
        "model_record": {
            "hex": record.hex(),
            "keys": {"0": octets("k0", 32).hex(), "1": octets("k1", 32).hex()},
            "together": octets("t", 32).hex(),
        },
    }


RECORD = ModelRecord(
    file_id=bytes(range(32)),
    model="swap",
    model_version="1",
    release=1,
    digest="ab" * 32,
    size_bytes=1009782,
    name="swap.onnx",
    created_at=NOW,
)


def backup_content(kek: bytes) -> Archive:
    """A small archive: one key of each half, one model."""

    def stored(use: str) -> StoredKey:
        kept = key(f"backup {use}")
        start = int(NOW.timestamp())
        private = kept.to_pkcs8()
        return StoredKey(use, kept.alg, kept.kid, f"{use}-1", start, None, private)

    model = StoredModel(
        file_id=RECORD.file_id,
        model="swap",
        model_version="1",
        release=1,
        digest=RECORD.digest,
        size_bytes=RECORD.size_bytes,
        name="swap.onnx",
        created_at=int(NOW.timestamp()),
        keys={0: octets("k0", 32), 1: octets("k1", 32)},
        together=octets("t", 32),
    )
    return Archive(
        product="facefusion",
        server_id="srv_vector",
        created_at=NOW,
        trust=b"{}",
        desk=[stored("root")],
        online=[stored("lease")],
        kek_uri="file:kek.key",
        kek=kek,
        models=[model],
        documents={"targets.json": b"{}"},
        server_files={"server.toml": b""},
    )


def write_keys() -> None:
    """``vectors/keys``."""
    folder = ROOT / "keys"
    folder.mkdir(parents=True, exist_ok=True)
    kek, secret = octets("kek", 32), octets("secret", 48)
    work = Work(memory_kib=8 * 1024, iterations=2, lanes=2)
    recovery = kit.generate(lambda size: octets("recovery", size))
    protected = passphrase.protect(
        kek, recovery, "key-file", random=lambda n: octets("argon2 salt", n), work=work
    )
    manifest = {
        "origin": "made by tools/make_trust_vectors.py from fixed names",
        "agreed_by": "an independent reader in tests/keys/test_vectors.py, from the spec alone",
        "key_file": (b"\x89MSK1\r\n\x1a\x01" + kek).hex(),
        "envelope": {
            "key": kek.hex(),
            "key_id": envelope.key_id(kek).hex(),
            "context": {
                name: {"hex": value.hex()} if isinstance(value, bytes) else value
                for name, value in CONTEXT.items()
            },
            "context_cbor": cbor.encode(dict(CONTEXT)).hex(),
            "plaintext": secret.hex(),
            "wrapped": envelope.seal(kek, secret, CONTEXT, lambda n: octets("salt", n)).hex(),
        },
        "passphrase": {
            "passphrase": recovery,
            "purpose": "key-file",
            "plaintext": kek.hex(),
            "protected": protected.hex(),
        },
        **kept_files(kek),
        "backup": {
            "passphrase": recovery,
            "protected": passphrase.protect(
                archive.encode(backup_content(kek)),
                recovery,
                "backup",
                random=lambda n: octets("backup salt", n),
                work=work,
            ).hex(),
        },
        "recovery_passphrase": {
            "random": octets("recovery", 28).hex(),
            "text": recovery,
        },
    }
    (folder / "manifest.json").write_bytes(_json(manifest, indent=1))


def _json(value: object, indent: int | None = None) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=indent)
    return (text + "\n").encode()


if __name__ == "__main__":
    write_trust()
    write_keys()
