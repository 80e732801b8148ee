"""Verification of signed TUF metadata (TUF specification 1.0): Ed25519, thresholds, versions.

Our own small reader beside python-tuf, because a client verifies its pinned trust at every start
and importing ``tuf`` costs more than everything else it does. A test holds both to the same
verdicts. Stricter than TUF in one point: a key id is the hash of its key, so that one key under
two names cannot meet a threshold of two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from modelseal import strict_json
from modelseal.crypto.jwk import Jwk
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import ModelsealError, TrustMalformed, TrustSignature
from modelseal.strict_json import JsonInvalid, b64u
from modelseal.trust.canonical import canonical

MAX_METADATA_BYTES = 4 * 1024 * 1024
MAX_KEYS = 64
MAX_SIGNATURES = 64
TOP_LEVEL_ROLES = ("root", "snapshot", "targets", "timestamp")
_ED25519_BYTES = 32


@dataclass(frozen=True, slots=True)
class Role:
    """Who may sign: the public Ed25519 bytes by key id, and how many of them must."""

    keys: Mapping[str, bytes]
    threshold: int

    def jwks(self) -> list[Jwk]:
        """The public keys."""
        return [_jwk(public) for public in self.keys.values()]


@dataclass(frozen=True, slots=True)
class Metadata:
    """One TUF document, parsed and not yet verified."""

    kind: str
    version: int
    expires_at: datetime
    signed: Mapping[str, Any]
    document: Mapping[str, Any]

    def signed_digest(self) -> bytes:
        """SHA-256 of the signed part: equal when two documents say the same."""
        return hashlib.sha256(canonical(self.signed)).digest()

    def verify(self, role: Role) -> None:
        """Returns when ``role.threshold`` of its keys signed; else ``TrustSignature``."""
        payload = canonical(self.signed)
        good = sum(self._holds(keyid, public, payload) for keyid, public in role.keys.items())
        if good < role.threshold:
            raise TrustSignature(f"{self.kind}: {good} of {role.threshold} signatures hold")

    def _holds(self, keyid: str, public: bytes, payload: bytes) -> bool:
        for entry in self.document["signatures"]:
            if entry["keyid"] == keyid:
                try:
                    key = VerifyKey.from_jwk(_jwk(public), "Ed25519")
                    key.verify(_unhex(entry["sig"]), payload)
                except ModelsealError:
                    return False
                return True
        return False


def read(data: bytes, kind: str) -> Metadata:
    """The document of type ``kind`` in ``data``; ``TrustMalformed`` for anything else."""
    try:
        document = strict_json.decode(data, max_bytes=MAX_METADATA_BYTES)
    except JsonInvalid as error:
        raise TrustMalformed(f"{kind}: {error.detail}") from None
    return from_document(document, kind)


def from_document(document: object, kind: str) -> Metadata:
    """Like ``read``, for JSON that is parsed already."""
    outer = _mapping(document, kind)
    if sorted(outer) != ["signatures", "signed"]:
        _malformed(kind, "a signed document holds signed and signatures")
    signed = _mapping(outer["signed"], kind)
    if signed.get("_type") != kind:
        _malformed(kind, f"this is no {kind}")
    spec = signed.get("spec_version")
    if not isinstance(spec, str) or spec.split(".")[0] != "1":
        _malformed(kind, "made for another version of TUF")
    _check_signatures(outer["signatures"], kind)
    version = whole(signed, "version", kind)
    if version < 1:
        _malformed(kind, "versions start at 1")
    return Metadata(kind, version, _expiry(signed, kind), signed, outer)


def top_level_roles(root: Metadata) -> dict[str, Role]:
    """The four roles that ``root`` names; ``TrustMalformed`` when one is missing or odd."""
    keys = _keys(root.signed.get("keys"), "root")
    roles = _mapping(root.signed.get("roles"), "root")
    if sorted(roles) != list(TOP_LEVEL_ROLES):
        _malformed("root", "a root names root, targets, snapshot and timestamp")
    return {name: _role(roles[name], keys, "root") for name in TOP_LEVEL_ROLES}


def delegated_role(targets: Metadata, name: str) -> Role:
    """The role ``name`` to which ``targets`` delegates exactly the path ``name``."""
    delegations = _mapping(targets.signed.get("delegations"), "targets")
    keys = _keys(delegations.get("keys"), "targets")
    roles = delegations.get("roles")
    if not isinstance(roles, list) or len(roles) > MAX_KEYS:
        _malformed("targets", "delegations hold a list of roles")
    found = [role for role in roles if _mapping(role, "targets").get("name") == name]
    if len(found) != 1 or found[0].get("paths") != [name]:
        _malformed("targets", f"one delegation of the path {name} is demanded")
    if name in _mapping(targets.signed.get("targets"), "targets"):
        _malformed("targets", f"{name} stands in the delegated role only")
    return _role(found[0], keys, "targets")


def check_target(role: Metadata, name: str, content: bytes) -> None:
    """Returns when ``role`` lists ``content`` under ``name`` by length and SHA-256."""
    targets = _mapping(role.signed.get("targets"), role.kind)
    if sorted(targets) != [name]:
        _malformed(role.kind, f"the role lists {name} and nothing else")
    entry = _mapping(targets[name], role.kind)
    hashes = _mapping(entry.get("hashes"), role.kind)
    if whole(entry, "length", role.kind) != len(content):
        raise TrustSignature(f"{name}: not the length that was signed")
    if hashes.get("sha256") != hashlib.sha256(content).hexdigest():
        raise TrustSignature(f"{name}: not the bytes that were signed")


def key_id(key: Mapping[str, object]) -> str:
    """The key id of a TUF key: SHA-256 of its canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(dict(key))).hexdigest()


def tuf_key(public: bytes) -> dict[str, object]:
    """The TUF key of 32 public Ed25519 bytes."""
    return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public.hex()}}


def whole(members: Mapping[str, object], name: str, kind: str) -> int:
    """The whole number ``name``, 0 to 2^53 - 1; else ``TrustMalformed``."""
    value = members.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        _malformed(kind, f"{name} is no whole number")
    return value


def _keys(value: object, kind: str) -> dict[str, bytes]:
    keys = _mapping(value, kind)
    if len(keys) > MAX_KEYS:
        _malformed(kind, f"more than {MAX_KEYS} keys")
    return {keyid: _key(keyid, key, kind) for keyid, key in keys.items()}


def _key(keyid: str, value: object, kind: str) -> bytes:
    key = _mapping(value, kind)
    public = _unhex(_mapping(key.get("keyval"), kind).get("public"))
    if len(public) != _ED25519_BYTES or dict(key) != tuf_key(public) or keyid != key_id(key):
        _malformed(kind, "a key is Ed25519 under the hash of itself")
    return public


def _jwk(public: bytes) -> Jwk:
    return {"kty": "OKP", "crv": "Ed25519", "x": b64u(public)}


def _role(value: object, keys: Mapping[str, bytes], kind: str) -> Role:
    role = _mapping(value, kind)
    keyids = role.get("keyids")
    if not isinstance(keyids, list) or not all(isinstance(k, str) for k in keyids):
        _malformed(kind, "a role lists key ids")
    if len(set(keyids)) != len(keyids) or not set(keyids) <= set(keys):
        _malformed(kind, "a role lists each of its keys once")
    threshold = whole(role, "threshold", kind)
    if not 1 <= threshold <= len(keyids):
        _malformed(kind, "a threshold lies between 1 and the number of keys")
    return Role({keyid: keys[keyid] for keyid in keyids}, threshold)


def _check_signatures(value: object, kind: str) -> None:
    if not isinstance(value, list) or len(value) > MAX_SIGNATURES:
        _malformed(kind, "signatures are a short list")
    seen: set[str] = set()
    for entry in value:
        members = _mapping(entry, kind)
        keyid, signature = members.get("keyid"), members.get("sig")
        if not isinstance(keyid, str) or not isinstance(signature, str) or keyid in seen:
            _malformed(kind, "one signature per key id")
        seen.add(keyid)


def _expiry(signed: Mapping[str, object], kind: str) -> datetime:
    text = signed.get("expires")
    try:
        at = datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        _malformed(kind, "expires is no UTC time")
    return at


def _unhex(value: object) -> bytes:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        return b""


def _mapping(value: object, kind: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        _malformed(kind, "an object was expected")
    return value


def _malformed(kind: str, why: str) -> NoReturn:
    raise TrustMalformed(f"{kind}: {why}")
