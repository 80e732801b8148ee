"""TUF 1.0 metadata with the stricter rules of trust.md, section 2."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .encoding import Refused, expect, olpc, refuse

TOP = {"root", "targets", "snapshot", "timestamp"}
_BAD = "trust_malformed"
_MOST = 64


def hexadecimal(text: object, size: int) -> bytes:
    """Exactly `size` bytes in lower-case hexadecimal."""
    expect(isinstance(text, str) and len(text) == 2 * size, _BAD, "no hexadecimal of its length")
    try:
        data = bytes.fromhex(str(text))
    except ValueError:
        refuse(_BAD, "no hexadecimal")
    expect(data.hex() == text, _BAD, "no lower-case hexadecimal")
    return data


def _whole(value: object, least: int) -> bool:
    return type(value) is int and least <= value < 2**53


def document(value: Any, kind: str) -> dict[str, Any]:
    """The signed part of a document of one type, in its form; nothing is verified yet."""
    expect(isinstance(value, dict) and set(value) == {"signatures", "signed"}, _BAD, "no document")
    signed, signatures = value["signed"], value["signatures"]
    expect(isinstance(signed, dict) and signed.get("_type") == kind, _BAD, f"no {kind}")
    expect(isinstance(signatures, list) and len(signatures) <= _MOST, _BAD, "signatures")
    for entry in signatures:
        texts = isinstance(entry, dict) and isinstance(entry.get("keyid"), str)
        expect(texts and isinstance(entry.get("sig"), str), _BAD, "a signature")
    names = [entry["keyid"] for entry in signatures]
    expect(len(set(names)) == len(names), _BAD, "a key id stands twice")
    version = str(signed.get("spec_version", ""))
    expect(version.startswith("1."), _BAD, "another TUF version")
    expect(_whole(signed.get("version"), 1), _BAD, "version")
    expires(signed)
    return dict(signed)


def expires(signed: dict[str, Any]) -> int:
    """The end of a document, in seconds."""
    text = signed.get("expires")
    try:
        return int(datetime.strptime(f"{text}+0000", "%Y-%m-%dT%H:%M:%SZ%z").timestamp())
    except ValueError:
        refuse(_BAD, "expires")


def keys_of(holder: dict[str, Any]) -> dict[str, bytes]:
    """Key ids and public keys of a root or of delegations."""
    keys = holder.get("keys")
    expect(isinstance(keys, dict) and len(keys) <= _MOST, _BAD, "keys")
    found = {}
    for name, key in (keys or {}).items():
        form = {"keytype", "scheme", "keyval"}
        expect(isinstance(key, dict) and set(key) == form, _BAD, "members of a key")
        expect(key["keytype"] == key["scheme"] == "ed25519", _BAD, "not Ed25519")
        value = key["keyval"]
        expect(
            isinstance(value, dict) and set(value) == {"public"}, _BAD, "members of a key's value"
        )
        expect(name == hashlib.sha256(olpc(key)).hexdigest(), _BAD, "not the id of its key")
        found[name] = hexadecimal(key["keyval"]["public"], 32)
    return found


def _role(role: Any, keys: dict[str, bytes]) -> tuple[list[str], int]:
    """Key ids and threshold of a role, in their form."""
    expect(isinstance(role, dict), _BAD, "a role")
    ids, threshold = role.get("keyids"), role.get("threshold")
    texts = isinstance(ids, list) and all(isinstance(name, str) for name in ids)
    expect(texts and len(set(ids)) == len(ids), _BAD, "key ids of a role")
    expect(set(ids) <= set(keys), _BAD, "a role's key is missing")
    expect(_whole(threshold, 1) and threshold <= len(ids), _BAD, "threshold")
    return ids, threshold


def verify(value: dict[str, Any], role: dict[str, Any], keys: dict[str, bytes]) -> None:
    """`value` is signed by the threshold of a role."""
    ids, threshold = _role(role, keys)
    message, good = olpc(value["signed"]), 0
    for entry in value["signatures"]:
        name = entry["keyid"]
        if name not in ids:
            continue
        try:
            signature = hexadecimal(entry["sig"], 64)
            Ed25519PublicKey.from_public_bytes(keys[name]).verify(signature, message)
        except (InvalidSignature, Refused):
            continue
        good += 1
    expect(good >= threshold, "trust_signature", "below the threshold")


class Root:
    """A TUF root: verifies what its four roles sign."""

    def __init__(self, value: Any) -> None:
        self.document = value
        self.signed = document(value, "root")
        self.version: int = self.signed["version"]
        self.keys = keys_of(self.signed)
        roles = self.signed.get("roles")
        expect(isinstance(roles, dict) and set(roles or ()) == TOP, _BAD, "roles of the root")
        self.roles: dict[str, dict[str, Any]] = roles or {}
        for role in self.roles.values():
            _role(role, self.keys)

    def verify(self, value: Any, role: str) -> dict[str, Any]:
        """The signed part of a top-level document."""
        signed = document(value, role)
        verify(value, self.roles[role], self.keys)
        return signed

    def successor(self, value: Any) -> Root:
        """The next root, signed by this one and by itself."""
        after = Root(value)
        self.verify(value, "root")
        after.verify(value, "root")
        expect(after.version == self.version + 1, "trust_rollback", "not the next root")
        return after


def delegated(targets: dict[str, Any], value: Any) -> dict[str, Any]:
    """The signed part of the delegated role `keys`, verified by the top-level targets."""
    delegations = targets.get("delegations", {})
    named = [role for role in delegations.get("roles", ()) if role.get("name") == "keys"]
    expect(len(named) == 1 and named[0].get("paths") == ["keys"], _BAD, "no delegation `keys`")
    expect("keys" not in targets.get("targets", {}), _BAD, "targets list `keys` themselves")
    signed = document(value, "targets")
    verify(value, named[0], keys_of(delegations))
    expect(set(signed.get("targets", ())) == {"keys"}, _BAD, "lists more than `keys`")
    return signed


def matches(data: bytes, target: Any) -> bool:
    """Whether bytes have the length and the SHA-256 that a role lists."""
    digest = hashlib.sha256(data).hexdigest()
    hashes = target.get("hashes", {}) if isinstance(target, dict) else {}
    return bool(hashes.get("sha256") == digest and target.get("length") == len(data))
