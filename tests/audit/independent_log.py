"""A second implementation of log and note, written from the specifications alone.

RFC 6962 section 2.1, C2SP tlog-checkpoint and signed-note; no code shared with the package.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def tree(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree(leaves[:half]) + tree(leaves[half:])).digest()


def canonical(value: Any) -> bytes:
    """RFC 8785 for objects without floats."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8")


def open_note(note: str, verifier_key: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint signed by ``verifier_key``."""
    name, number, encoded = verifier_key.split("+", 2)
    public = base64.b64decode(encoded)
    key_id = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    assert key_id.hex() == number and public[0] == 1
    text, signatures = note.rsplit("\n\n", 1)
    line = next(s for s in signatures.splitlines() if s.startswith(f"\u2014 {name} "))
    signature = base64.b64decode(line.split(" ")[2])
    assert signature[:4] == key_id
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature[4:], (text + "\n").encode())
    origin, size, root = text.split("\n")[:3]
    return origin, int(size), base64.b64decode(root)


def check_export(data: bytes, verifier_key: str) -> int:
    """The number of events of an export that holds; an assertion fails otherwise."""
    lines = [json.loads(line) for line in data.splitlines()]
    events = [line for line in lines if line["type"] == "event"]
    notes = [line["note"] for line in lines if line["type"] == "checkpoint"]
    leaves = [leaf(canonical(line["event"])) for line in events]
    assert [line["index"] for line in events] == list(range(len(events)))
    for note in notes:
        _origin, size, root = open_note(note, verifier_key)
        assert size <= len(leaves) and tree(leaves[:size]) == root
    assert size == len(leaves)
    return len(leaves)
