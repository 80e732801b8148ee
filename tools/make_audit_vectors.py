"""Writes ``vectors/audit``: events, a checkpoint, tiles, and exports whole and broken.

Run ``python tools/make_audit_vectors.py`` from the repository; everything is repeatable (the
signing key is a fixed test key). ``tests/audit/independent_log.py`` is the second implementation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from modelseal import audit
from modelseal.audit import Event, EventKind, checkpoint, commit, export
from modelseal.crypto.signing import SigningKey
from modelseal.strict_json import b64u, encode

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "audit"
ORIGIN = "shop.example/log"
KEY = SigningKey("Ed25519", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
START = datetime(2026, 3, 4, 5, 6, 7, 250000, tzinfo=UTC)
SIZE, STEP = 300, 100
KINDS = ("device_activated", "lease_renewed", "lease_denied", "license_issued", "key_rotated")
Lines = list[dict[str, Any]]


def event(number: int) -> Event:
    return Event(
        id=f"evt_0190a5e2-7b1c-7f3a-9c1d-{number:012x}",
        at=START + timedelta(milliseconds=1250 * number),
        kind=EventKind(KINDS[number % len(KINDS)]),
        actor=("system", "host", "token:tok_1", "device:dev_1")[number % 4],
        subjects={"license": f"lic_{number % 5}", "device": f"dev_{number % 7}"},
        reference=f"{number:08d}",
        params={"seq": number, "reason": 'sch\u00f6n "\u4f60\u597d"\n\u0001', "codes": ["a", None]},
    )


def events_of(lines: Lines) -> Lines:
    return [line for line in lines if line["type"] == "event"]


def releaf(line: dict[str, Any]) -> None:
    body = audit.encode(audit.event.from_members(line["event"]))
    line["leaf"] = b64u(audit.leaf_hash(body))


def edited(lines: Lines) -> None:
    events_of(lines)[123]["event"]["params"]["seq"] = 7


def edited_with_leaf(lines: Lines) -> None:
    edited(lines)
    releaf(events_of(lines)[123])


def deleted(lines: Lines) -> None:
    lines.remove(events_of(lines)[123])


def deleted_and_renumbered(lines: Lines) -> None:
    deleted(lines)
    for index, line in enumerate(events_of(lines)):
        line["index"] = index


def reordered(lines: Lines) -> None:
    one, two = (lines.index(events_of(lines)[at]) for at in (120, 125))
    lines[one], lines[two] = lines[two], lines[one]


def truncated(lines: Lines) -> None:
    for line in events_of(lines)[290:]:
        lines.remove(line)


def doubled(lines: Lines) -> None:
    lines.append(events_of(lines)[17])


def personal_edited(lines: Lines) -> None:
    events_of(lines)[5]["personal"]["email"] = "al@example.com"


def malformed(lines: Lines) -> None:
    events_of(lines)[10]["event"]["kind"] = "unheard_of"


def forged_checkpoint(lines: Lines) -> None:
    lines[-1]["note"] = lines[-1]["note"].replace(f"\n{SIZE}\n", f"\n{SIZE + 1}\n")


BREAKS: dict[str, tuple[Callable[[Lines], None], str, int | None, int | None]] = {
    "edited": (edited, "edited", 123, 123),
    "edited-with-leaf": (edited_with_leaf, "altered", 100, 199),
    "deleted": (deleted, "deleted", 123, 123),
    "deleted-and-renumbered": (deleted_and_renumbered, "deleted", 100, 199),
    "reordered": (reordered, "reordered", 120, 125),
    "truncated": (truncated, "truncated", 290, 299),
    "duplicated": (doubled, "duplicated", 17, 17),
    "personal-edited": (personal_edited, "edited", 5, 5),
    "malformed": (malformed, "malformed", 10, None),
    "forged-checkpoint": (forged_checkpoint, "checkpoint", None, None),
}


def build() -> tuple[list[bytes], dict[str, bytes], list[str], list[bytes]]:
    """Event bodies, tiles, checkpoints and the export of the vector log."""
    personal = commit({"email": "li@example.com"}, lambda size: bytes(range(size)))
    bodies: list[bytes] = []
    tiles: dict[str, bytes] = {}
    notes: list[str] = []
    for start in range(0, SIZE, STEP):
        batch = [event(number) for number in range(start, start + STEP)]
        batch = [replace(e, personal=personal.commitment) if e.id == event(5).id else e
                 for e in batch]  # fmt: skip
        fresh = [audit.encode(item) for item in batch]
        grown = audit.grow(start, [audit.leaf_hash(body) for body in fresh], tiles.get)
        bodies += fresh
        tiles |= grown.tiles
        head = audit.Checkpoint(ORIGIN, grown.size, grown.root)
        notes.append(checkpoint.sign(head, KEY))
    entries = [(body, personal if at == 5 else None) for at, body in enumerate(bodies)]
    return bodies, tiles, notes, list(export.write(ORIGIN, entries, SIZE, tiles.get, notes))


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    bodies, tiles, notes, lines = build()
    (FOLDER / "export.jsonl").write_bytes(b"".join(lines))
    (FOLDER / "checkpoint").write_text(notes[-1], encoding="utf-8")
    broken = []
    for name, (change, fault, first, last) in BREAKS.items():
        changed = [json.loads(line) for line in lines]
        change(changed)
        data = b"".join(encode(line) + b"\n" for line in changed)
        (FOLDER / f"export-{name}.jsonl").write_bytes(data)
        broken.append(
            {"file": f"export-{name}.jsonl", "fault": fault, "first": first, "last": last}
        )
    described = {
        "origin": "made by tools/make_audit_vectors.py; checked by tests/audit/independent_log.py",
        "key": KEY.jwk,
        "verifier_key": checkpoint.verifier_key(ORIGIN, KEY.verify_key()),
        "events": [
            {"bytes": body.decode("utf-8"), "leaf": audit.leaf_hash(body).hex()}
            for body in bodies[:8]
        ],
        "tiles": {path: data.hex() for path, data in sorted(tiles.items()) if "tile/1" in path
                  or path == f"tile/0/001.p/{SIZE - 256}"},
        "broken": broken,
    }  # fmt: skip
    text = json.dumps(described, indent=1, ensure_ascii=False)
    (FOLDER / "log.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
