"""Writing TUF metadata: what the desk signs (root, targets, keys) and what the server signs
(snapshot, timestamp). ``metadata.read`` and ``sign`` undo each other; python-tuf reads it too.

Pure: signers are handles, expiry times are arguments (aware UTC datetimes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelseal import strict_json
from modelseal.crypto import jwk as jwks
from modelseal.crypto.jwk import Jwk
from modelseal.crypto.signing import Signer
from modelseal.errors import TrustMalformed
from modelseal.trust.canonical import canonical
from modelseal.trust.metadata import key_id, read, tuf_key
from modelseal.types import check_aware

SPEC_VERSION = "1.0.31"
KEYS_ROLE = "keys"
Signed = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """The public Ed25519 keys of a role and how many of them must sign."""

    keys: Sequence[Jwk]
    threshold: int = 1


def sign(signed: Signed, signers: Iterable[Signer]) -> bytes:
    """The document of ``signed`` with one signature of each of ``signers`` (Ed25519)."""
    payload = canonical(signed)
    signatures = [
        {"keyid": key_id(_tuf_key(signer.jwk)), "sig": signer.sign(payload).hex()}
        for signer in signers
    ]
    return strict_json.encode({"signatures": signatures, "signed": signed})


def root(version: int, expires_at: datetime, roles: Mapping[str, RoleKeys]) -> Signed:
    """A root naming keys and threshold of ``root``, ``targets``, ``snapshot``, ``timestamp``."""
    keys = [key for role in roles.values() for key in role.keys]
    return {
        **_common("root", version, expires_at),
        "consistent_snapshot": True,
        "keys": _by_id(keys),
        "roles": {name: _role(role) for name, role in roles.items()},
    }


def targets(
    version: int, expires_at: datetime, keys_role: RoleKeys, entries: Mapping[str, object]
) -> Signed:
    """Top-level targets listing ``entries`` and delegating the path ``keys`` to ``keys_role``."""
    delegation = {"name": KEYS_ROLE, "paths": [KEYS_ROLE], "terminating": True}
    return {
        **_common("targets", version, expires_at),
        "targets": dict(entries),
        "delegations": {
            "keys": _by_id(keys_role.keys),
            "roles": [{**delegation, **_role(keys_role)}],
        },
    }


def keys_role(version: int, expires_at: datetime, content: bytes) -> Signed:
    """The delegated role ``keys`` for the key list ``content``."""
    entries = {KEYS_ROLE: target(len(content), hashlib.sha256(content).hexdigest())}
    return {**_common("targets", version, expires_at), "targets": entries}


def target(
    length_bytes: int, sha256: str, custom: Mapping[str, object] | None = None
) -> dict[str, object]:
    """A target entry: length, SHA-256 in hexadecimal and, where given, ``custom``."""
    entry: dict[str, object] = {"length": length_bytes, "hashes": {"sha256": sha256}}
    return entry if custom is None else {**entry, "custom": dict(custom)}


def snapshot(version: int, expires_at: datetime, *, targets: bytes, keys_role: bytes) -> Signed:
    """The snapshot of two signed documents."""
    meta = {"targets.json": _meta_file(targets), "keys.json": _meta_file(keys_role)}
    return {**_common("snapshot", version, expires_at), "meta": meta}


def timestamp(version: int, expires_at: datetime, *, snapshot: bytes) -> Signed:
    """The timestamp of a signed snapshot."""
    meta = {"snapshot.json": _meta_file(snapshot, "snapshot")}
    return {**_common("timestamp", version, expires_at), "meta": meta}


def _common(kind: str, version: int, expires_at: datetime) -> Signed:
    expires = check_aware(expires_at).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"_type": kind, "spec_version": SPEC_VERSION, "version": version, "expires": expires}


def _meta_file(data: bytes, kind: str = "targets") -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    return {
        "version": read(data, kind).version,
        "length": len(data),
        "hashes": {"sha256": digest},
    }


def _role(role: RoleKeys) -> dict[str, object]:
    return {"keyids": [key_id(_tuf_key(key)) for key in role.keys], "threshold": role.threshold}


def _by_id(keys: Sequence[Jwk]) -> dict[str, object]:
    return {key_id(_tuf_key(key)): _tuf_key(key) for key in keys}


def _tuf_key(jwk: Jwk) -> dict[str, object]:
    if jwk.get("crv") != "Ed25519":
        raise TrustMalformed("TUF metadata is signed with Ed25519 keys")
    return tuf_key(jwks.member(jwk, "x"))
