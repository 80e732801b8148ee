"""A small log with known keys, and its export."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelseal import audit
from modelseal.audit import Event, EventKind, Personal, checkpoint, export
from modelseal.crypto.signing import SigningKey, VerifyKey

ORIGIN = "shop.example/log"
START = datetime(2026, 3, 4, 5, 6, 7, 250000, tzinfo=UTC)


def key(number: int = 1) -> SigningKey:
    """A fixed Ed25519 key, for tests only."""
    return SigningKey("Ed25519", Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def event(number: int, kind: EventKind = EventKind.LEASE_RENEWED, **params: object) -> Event:
    return Event(
        id=f"evt_0190a5e2-7b1c-7f3a-9c1d-{number:012x}",
        at=START + timedelta(seconds=number),
        kind=kind,
        actor="system",
        subjects={"license": "lic_1", "device": f"dev_{number % 7}"},
        reference=f"{number:08d}",
        params={"seq": number, **params},
    )


@dataclass
class Log:
    """A log as a server would keep it, in memory."""

    signer: SigningKey = field(default_factory=key)
    bodies: list[bytes] = field(default_factory=list)
    personal: dict[int, Personal] = field(default_factory=dict)
    tiles: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, events: list[Event]) -> str:
        size = len(self.bodies)
        fresh = [audit.encode(item) for item in events]
        grown = audit.grow(size, [audit.leaf_hash(body) for body in fresh], self.tiles.get)
        self.bodies += fresh
        self.tiles |= grown.tiles
        head = audit.Checkpoint(ORIGIN, grown.size, grown.root)
        self.notes.append(checkpoint.sign(head, self.signer))
        return self.notes[-1]

    @property
    def size(self) -> int:
        return len(self.bodies)

    def keys(self) -> list[VerifyKey]:
        return [self.signer.verify_key()]

    def export(self) -> list[bytes]:
        entries = [(body, self.personal.get(at)) for at, body in enumerate(self.bodies)]
        return list(export.write(ORIGIN, entries, self.size, self.tiles.get, self.notes))


def grown(size: int, step: int = 100, seed: int = 0) -> Log:
    log = Log()
    for start in range(0, size, step):
        log.add([event(number + seed) for number in range(start, min(size, start + step))])
    return log
