"""What is measured: each case gives medians by contender, the plain one first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench import turns
from modelseal import container, processors
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk.filesource import FileSource
from modelseal.desk.output import PendingFile
from modelseal.types import EntitlementExpression

Found = Mapping[str, Mapping[str, float]]


class Place:
    """The folder of the shop, the plain files and their sealed counterparts."""

    def __init__(self, folder: Path, sealed: Mapping[str, Path]) -> None:
        self.folder, self.sealed = folder, sealed

    def once(
        self, reader: str, path: Path, *, depth: str = "", threads: int = 0, cold: bool = False
    ) -> turns.Took:
        """One load in a fresh process; a ``depth`` means that ``path`` is sealed."""
        job = {"reader": reader, "folder": str(self.folder), "path": str(path), "depth": depth,
               "threads": threads, "cold": cold}  # fmt: skip
        return _child("bench.once", job)

    def small(self, plain: list[Path], rounds: int, pairs: int) -> dict[str, Any]:
        """Many models in one process; see ``bench.small``."""
        models = {p.name: {"plain": str(p), "sealed": str(self.sealed[p.name])} for p in plain}
        job = {"folder": str(self.folder), "models": models, "rounds": rounds, "pairs": pairs}
        return dict(_child("bench.small", job))

    def law(self, rounds: int) -> dict[str, Any]:
        """Verifying and deciding in a client; see ``bench.law``."""
        return dict(_child("bench.law", {"folder": str(self.folder), "rounds": rounds}))


def safetensors(place: Place, plain: Path, rounds: int, *, cold: bool) -> Found:
    """One file into numpy, warm (and cold): plain readers, naive encryption, both depths."""
    sealed, naive = place.sealed[plain.name], _naively_encrypted(plain)
    load = partial(place.once, "safetensors sealed", sealed)
    plainly = partial(place.once, "safetensors plain", plain)
    contenders: dict[str, turns.Work] = {
        "plain": plainly,
        "sealed, tag, 1 thread": partial(load, depth="auto", threads=1),
        "sealed, full, 1 thread": partial(load, depth="full", threads=1),
        "naive AES-GCM": partial(place.once, "safetensors naive AES-GCM", naive),
        "plain bytes into an arena": partial(place.once, "bytes into an arena", plain),
        "mapped, every page touched": partial(
            place.once, "bytes mapped, every page touched", plain
        ),
    }
    contenders |= {
        "plain, one tensor of 16 MiB": partial(place.once, "one tensor plain", plain),
        "sealed, one tensor of 16 MiB": partial(
            place.once, "one tensor sealed", sealed, depth="auto"
        ),
    }
    if processors.count() > 1:
        contenders |= {
            "sealed, tag, all threads": partial(load, depth="auto"),
            "sealed, full, all threads": partial(load, depth="full"),
        }
    if cold:
        contenders |= {
            "plain, cold": partial(plainly, cold=True),
            "sealed, tag, cold": partial(load, depth="auto", cold=True),
        }
    load(depth="auto")  # the full verification that the record needs
    return turns.take(contenders, "plain", rounds, warm=1)


def onnx(place: Place, plain: Path, rounds: int) -> Found:
    """One model into ONNX Runtime, a fresh process each."""
    load = partial(place.once, "ONNX sealed", place.sealed[plain.name])
    contenders: dict[str, turns.Work] = {
        "plain": partial(place.once, "ONNX plain", plain),
        "sealed, tag": partial(load, depth="auto"),
        "sealed, full": partial(load, depth="full"),
    }
    load(depth="auto")
    return turns.take(contenders, "plain", rounds, warm=1)


def sealing(plain: Path, rounds: int) -> Found:
    """Seal, check of all leaves, digest; copying the file is the base."""
    publisher = [SigningKey.generate("Ed25519"), SigningKey.generate("ML-DSA-65")]
    recovery = KemPrivateKey.generate().public_key()
    out = plain.with_name("sealing.out")
    trust = [key.verify_key() for key in publisher]

    def seal(threads: int) -> None:
        with FileSource(plain) as source:
            entry = container.EntryPlan("model", source)
            right = EntitlementExpression.parse(["bench"])
            section = container.SectionPlan(right, [entry])
            plan = container.SealPlan("bench", "m", "1", 1, datetime.now(UTC), [section])
            out.unlink(missing_ok=True)
            file = PendingFile(out)
            container.seal(plan, file, publisher=publisher, recovery=recovery,
                           random=os.urandom, threads=threads)  # fmt: skip
            file.commit()

    def verify(threads: int) -> None:
        with FileSource(out) as source:
            model = container.parse(source).verify_signatures(trust, product="bench")
            model.verify_leaves(threads=threads)

    def copy() -> None:
        out.with_suffix(".copy").write_bytes(plain.read_bytes())

    every = processors.count()
    work = {
        "copy of the file": copy,
        "seal, 1 thread": partial(seal, 1),
        f"seal, {every} threads": partial(seal, every),
        "verify, 1 thread": partial(verify, 1),
        f"verify, {every} threads": partial(verify, every),
    }
    seal(1)
    size = plain.stat().st_size
    found = turns.take(
        {name: partial(_timed, each) for name, each in work.items()}, "copy of the file", rounds
    )
    for each in found.values():
        each["gigabytes_per_second"] = size / each["seconds"] / 1e9
        each["gigabytes_per_cpu_second"] = size / each["cpu_seconds"] / 1e9
    return found


def _timed(work: Any) -> turns.Took:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def _naively_encrypted(plain: Path) -> Path:
    target = plain.with_name(plain.name + ".naive")
    if not target.exists():
        target.write_bytes(
            bytes(12) + AESGCM(bytes(32)).encrypt(bytes(12), plain.read_bytes(), None)
        )
    return target


def _child(module: str, job: object) -> dict[str, Any]:
    command = [sys.executable, "-m", module, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))
