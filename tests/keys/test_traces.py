"""After work is done no unwrapped key is found: on the disk, in logs, in what the keeper held.

A child process does the work and waits; this process, which knows the keys, searches it.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.keys.stores.softhsm import PIN, SoftHsm
from tests.keys.stores.transit import Transit

from modelseal import keys
from modelseal.keys import envelope
from modelseal.memory import SecretBytes
from modelseal.types import MemoryProtection

CHILD = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from modelseal import keys
uri, forget = sys.argv[1], sys.argv[2] == "forget"
provider = keys.open_provider(uri)
again = []
for line in sys.stdin:
    word, _, text = line.strip().partition(" ")
    if word == "open":
        wrapped = bytes.fromhex(text)
        size = len(provider.unwrap(wrapped, {"purpose": "trace", "product": "p"}))
        provider.wrap(b"another secret of 32 bytes or so", {"purpose": "trace", "product": "p"})
        if forget:
            provider.forget()
        print("done", size, flush=True)
    else:
        break
"""


def forms(secret: bytes) -> list[bytes]:
    """How a key may look where it does not belong."""
    return [
        secret,
        secret.hex().encode(),
        base64.b64encode(secret),
        base64.urlsafe_b64encode(secret),
    ]


def found_in(place: bytes, secret: bytes) -> bool:
    return any(form.rstrip(b"=") in place for form in forms(secret))


def memory_of(pid: int) -> Iterator[bytes]:
    """Every readable range of the process's memory."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            named = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if named is None or "[v" in line:
                continue
            start, end = (int(number, 16) for number in named.groups())
            try:
                memory.seek(start)
                yield memory.read(end - start)
            except (OSError, ValueError, OverflowError):
                continue


class Watched:
    """The child, its answers, and where it may write."""

    def __init__(self, uri: str, folder: Path, *, forget: bool = True) -> None:
        env = {**os.environ, "TMPDIR": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, uri, "forget" if forget else "keep"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )

    def open(self, wrapped: bytes) -> None:
        """The child unwraps, wraps something else, and waits."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"open {wrapped.hex()}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().startswith("done")

    def end(self) -> str:
        """What it logged."""
        _, told = self.process.communicate("end\n", timeout=300)
        assert self.process.returncode == 0
        return told


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="needs Linux: memory is read through /proc"
)


def test_the_key_of_a_file_is_in_its_one_locked_page_and_in_no_log(tmp_path: Path) -> None:
    """That page cannot be read from outside; without ``memfd_secret`` it is the one to see."""
    uri = f"file:{tmp_path}/kek.key"
    made = keys.create(uri)
    secret = (tmp_path / "kek.key").read_bytes()[-32:]
    child = Watched(uri, tmp_path)
    child.open(made.wrap(b"k" * 32, {"purpose": "trace", "product": "p"}))
    held = sum(found_in(part, secret) for part in memory_of(child.process.pid))
    logged = child.end()
    with SecretBytes(b"x") as probe:
        assert held == (0 if probe.reached is MemoryProtection.SECRET else 1)
    assert not found_in(logged.encode(), secret)


def test_a_working_key_is_in_no_file_and_no_log_and_ends_when_it_is_forgotten(
    transit: Transit, tmp_path: Path
) -> None:
    """The text in which Vault sends it stays in memory that Python freed; the key itself not."""
    provider = keys.create(transit.uri("traces"))
    wrapped = provider.wrap(b"k" * 32, {"purpose": "trace", "product": "p"})
    ((_, working),) = provider._inner._working._kept.values()  # type: ignore[attr-defined]
    secret = working.reveal()
    place = tmp_path / "child"
    place.mkdir()
    child = Watched(transit.uri("traces"), place)
    child.open(wrapped)
    assert not any(secret in part for part in memory_of(child.process.pid))
    logged = child.end()
    assert not found_in(logged.encode(), secret) and "root-token" not in logged
    assert not any(found_in(path.read_bytes(), secret) for path in place.rglob("*"))


def test_an_hsms_pin_and_keys_are_in_no_file_and_no_log(softhsm: SoftHsm, tmp_path: Path) -> None:
    uri = softhsm.uri("traces")
    secret = os.urandom(32)
    wrapped = keys.create(uri).wrap(secret, {"purpose": "trace", "product": "p"})
    child = Watched(uri, tmp_path)
    child.open(wrapped)
    logged = child.end()
    assert PIN not in logged and not found_in(logged.encode(), secret)
    assert not any(found_in(path.read_bytes(), secret) for path in tmp_path.rglob("*"))
    for path in softhsm.tokens.rglob("*"):
        if path.is_file():
            assert not found_in(path.read_bytes(), secret)
    assert envelope.owner(wrapped) is None
