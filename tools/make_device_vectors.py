"""Writes ``vectors/device``: digests and wrapped device keys with everything needed to open them.

Run ``python tools/make_device_vectors.py`` from the repository. The bytes are repeatable: the
randomness is SHAKE-256 of a counter. ``tests/device/independent_unwrap.py`` is the second reader.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2

from modelseal.device import (
    TraitKind,
    TraitReading,
    TraitValue,
    digest_for_server,
    wrap,
)

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "device"
SECRET = b"modelseal test secret: not a key"
VALUES = {
    "smbios_uuid": "4c4c4544004235108050b7c04f334432",
    "board_serial": b"/5B53DD2/CNCMC0012345/".hex(),
    "cloud_instance": b"i-0abc1234def567890".hex(),
    "disk_serial": b"S4EVNX0R123456".hex(),
    "mac": "8c04ba112233",
    "machine_id": "5f1e0c4b7a3d4e2f9b8c7d6e5f4a3b2c",
    "cpu_class": b"GenuineIntel|6|140|11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz".hex(),
    "tpm_ek": hashlib.sha256(b"an endorsement key").hexdigest(),
}
LAPTOP = ("disk_serial", "mac", "machine_id", "cpu_class")


def reading(kind: str, value: str | None = None) -> TraitReading:
    return TraitReading(TraitKind(kind), TraitValue(bytes.fromhex(value or VALUES[kind])))


def noise(seed: int) -> Callable[[int], bytes]:
    count = seed << 32

    def random(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(count.to_bytes(8, "big")).digest(size)

    return random


def digests() -> list[dict[str, Any]]:
    made = []
    for number in range(2):
        salt = hashlib.sha256(f"trait salt {number}".encode()).digest()
        for kind, value in VALUES.items():
            digest = digest_for_server(reading(kind), salt).digest
            made.append(
                {"trait_salt": salt.hex(), "kind": kind, "value": value, "digest": f"{digest:08x}"}
            )
    return made


def case(
    name: str, data: bytes, kinds: tuple[str, ...], result: str, **changed: str
) -> dict[str, Any]:
    traits = {kind: VALUES[kind] for kind in kinds} | changed
    secret = SECRET.hex() if result == "secret" else None
    return {"name": name, "file": data.hex(), "traits": traits, "code": None if secret else result,
            "secret": secret}  # fmt: skip


def refit(body: bytes) -> bytes:
    """``body`` with a fitting digest, as a forger writes it."""
    return body + hashlib.sha256(body).digest()


def cases() -> list[dict[str, Any]]:
    bound = wrap(SECRET, [reading(k) for k in LAPTOP], random=noise(1)).data
    everything = wrap(SECRET, [reading(k) for k in VALUES], random=noise(2)).data
    strong = ("smbios_uuid", "machine_id")
    plain = wrap(SECRET, [reading(k) for k in strong], random=noise(3)).data
    copyable = wrap(SECRET, [reading("mac")], random=noise(4)).data
    all_kinds = tuple(VALUES)
    fields = cbor2.loads(bound[9:-32])

    def forged(**changes: Any) -> bytes:
        bent = fields | {int(name[1:]): value for name, value in changes.items()}
        return refit(bound[:9] + cbor2.dumps(bent, canonical=True))

    spoilt = bytearray(fields[5])
    spoilt[0] ^= 1
    return [
        case("unchanged laptop", bound, LAPTOP, "secret"),
        case("a new network card", bound, LAPTOP, "secret", mac="8c04ba445566"),
        case("no disk", bound, ("mac", "machine_id", "cpu_class"), "secret"),
        case("all kinds", everything, all_kinds, "secret"),
        case("strong traits only, no Argon2id", plain, strong, "secret"),
        case("copyable", copyable, (), "secret"),
        case("another machine id", bound, LAPTOP, "device_changed",
             machine_id="0f1e0c4b7a3d4e2f9b8c7d6e5f4a3b2c"),
        case("two traits gone", bound, ("machine_id", "cpu_class"), "device_changed"),
        case("empty file", b"", LAPTOP, "state_damaged"),
        case("other magic", b"\x00" + bound[1:], LAPTOP, "state_damaged"),
        case("version 2", refit(bound[:8] + b"\x02" + bound[9:-32]), LAPTOP, "state_damaged"),
        case("cut", bound[:-1], LAPTOP, "state_damaged"),
        case("digest does not fit", bound[:-1] + bytes([bound[-1] ^ 1]), LAPTOP, "state_damaged"),
        case("not deterministic CBOR", refit(bound[:9] + b"\xbf" + bound[10:-32] + b"\xff"),
             LAPTOP, "state_damaged"),
        case("unknown profile", forged(f1=2), LAPTOP, "state_damaged"),
        case("short salt", forged(f2=bytes(31)), LAPTOP, "state_damaged"),
        case("mask outside the enrolled kinds", forged(f3=1), LAPTOP, "state_damaged"),
        case("no slot", forged(f4=[]), LAPTOP, "state_damaged"),
        case("set twice", forged(f4=[fields[4][0]] * 2), LAPTOP, "state_damaged"),
        case("copyable slot beside others", forged(f4=[[0, bytes(48)], *fields[4]]), LAPTOP,
             "state_damaged"),
        case("altered payload", forged(f5=bytes(spoilt)), LAPTOP, "state_damaged"),
        case("additional field", forged(f6=1), LAPTOP, "state_damaged"),
    ]  # fmt: skip


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    origin = (
        "made by tools/make_device_vectors.py; opened by tests/device/independent_unwrap.py too"
    )
    for name, key, value in (
        ("digests.json", "digests", digests()),
        ("wrapped.json", "cases", cases()),
    ):
        text = json.dumps({"origin": origin, key: value}, indent=1, ensure_ascii=False)
        (FOLDER / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
