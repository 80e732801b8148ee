"""Which keys stand in the ordinary memory of a process that opened a model with a real license."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.publisher import foundation
from tests.client.world import World, seal
from tests.memory.scanner import counts

from modelseal import container
from modelseal.container import _keys as derivation
from modelseal.memory import Arena
from modelseal.runtime.source import MemorySource
from modelseal.types import MemoryProtection

ROOT = Path(__file__).resolve().parents[2]
MODEL = seal()

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/PID/mem"),
    pytest.mark.skipif(
        Arena(4096, MemoryProtection.SECRET).reached is not MemoryProtection.SECRET,
        reason="needs a kernel with secretmem: locked memory can be read by who may look",
    ),
]


def windows(keys: dict[str, bytes]) -> dict[str, bytes]:
    """Every 16 bytes of every key."""
    return {
        f"{name} from {at}": key[at : at + 16]
        for name, key in keys.items()
        for at in range(0, len(key) - 15, 16)
    }


@pytest.fixture
def known(tmp_path: Path) -> dict[str, bytes]:
    """A device with a lease in ``tmp_path``; the keys that it must not show."""
    world = World(tmp_path / "home")
    world.server.publish(MODEL)
    with world.client() as client:
        client.activate(world.server.issue("face.swap"))
        stored = client._core.store.lease_keys(client._core.unlock())
        lease = client._core.held().lease
        assert lease is not None
        secret = stored.for_nonce(lease.request_nonce)
        assert secret is not None
        kem = bytes(secret.kem)
    (tmp_path / "m.sealed").write_bytes(MODEL.data)
    (tmp_path / "trust").write_bytes(foundation().trust.raw)
    (tmp_path / "time").write_text(world.clock.at.isoformat())
    salt = container.parse(MemorySource(MODEL.data)).prologue_hash
    keys = {"KEM key": kem}
    for section, key in MODEL.keys.items():
        label = derivation.CHUNK_KEY + struct.pack("<I", section)
        keys[f"data key {section}"] = key
        keys[f"chunk key {section}"] = bytes(derivation._derive(salt, (key,), label))
    return windows(keys)


@pytest.fixture
def opened(known: dict[str, bytes], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable, str(ROOT / "tests/memory/opens.py"), str(tmp_path / "home/state"),
        str(tmp_path / "m.sealed"), str(tmp_path / "trust"), (tmp_path / "time").read_text(),
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_no_key_of_a_model_or_lease_stands_in_memory_that_can_be_looked_at(
    known: dict[str, bytes], opened: subprocess.Popen[str]
) -> None:
    """Data keys, the keys of chunks made of them, and the KEM key that opened the lease: while the
    model's file is open, and when it is closed and its plaintext kept."""
    assert opened.stdin is not None and opened.stdout is not None
    control = os.urandom(32)

    def go_on(word: str, line: str = "") -> None:
        assert opened.stdout is not None and opened.stdin is not None
        assert opened.stdout.readline() == f"{word}\n"
        if word != "ready":
            number, *found = counts(opened.pid, [control, *known.values()])
            assert number >= 1  # the scanner finds what is there
            assert not {name: n for name, n in zip(known, found, strict=True) if n}
        opened.stdin.write(line + "\n")
        opened.stdin.flush()

    go_on("ready", control.hex())
    go_on("open")
    go_on("held")
    assert opened.stdout.readline() == "320000 32\n"
