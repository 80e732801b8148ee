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

from bench import make, turns
from modelseal import container, processors
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk.filesource import FileSource
from modelseal.desk.output import PendingFile
from modelseal.types import EntitlementExpression

AT_ONCE_BYTES = 2**31 - 1
"""What one call of ``cryptography`` encrypts at most, so that the naive way ends there."""
Found = Mapping[str, Mapping[str, float]]


class Place:
    """The folder of the shop, the plain files and their sealed counterparts."""

    def __init__(self, folder: Path, sealed: Mapping[str, Path]) -> None:
        self.folder, self.sealed = folder, sealed

    def once(
        self, reader: str, path: Path, *, depth: str = "", threads: int = 0, cold: bool = False,
        before: int = 0, at_hand: bool = False, needs: str = "",
    ) -> turns.Took:  # fmt: skip
        """One load in a fresh process that has imported what it ``needs``, after so many
        ``before`` it; a ``depth`` means that ``path`` is sealed."""
        job = {"reader": reader, "folder": str(self.folder), "path": str(path), "depth": depth,
               "threads": threads, "cold": cold, "before": before, "at_hand": at_hand,
               "needs": needs}  # fmt: skip
        return _child("bench.once", job)

    def small(self, plain: list[Path], rounds: int, pairs: int) -> dict[str, Any]:
        """Many models in one process; see ``bench.small``."""
        models = {
            p.name: {"plain": str(p), "sealed": str(self.sealed[p.name]),
                     "optimised": str(self.sealed[f"{p.name}.optimised"])}
            for p in plain
        }  # fmt: skip
        job = {"folder": str(self.folder), "models": models, "rounds": rounds, "pairs": pairs}
        return dict(_child("bench.small", job))

    def law(self, rounds: int) -> dict[str, Any]:
        """Verifying and deciding in a client; see ``bench.law``."""
        return dict(_child("bench.law", {"folder": str(self.folder), "rounds": rounds}))


ARENA = "plain bytes into an arena"
"""What the memory of a load and the reading cost without any protection; see ``of_arena``."""
AT_HAND = ", memory at hand"
USED = ", in memory used before"
COLD = ", cold"


def safetensors(place: Place, plain: Path, rounds: int, *, cold: bool) -> Found:
    """One file into numpy, warm (and cold): plain readers, naive encryption, both depths."""
    load = partial(place.once, "safetensors sealed", place.sealed[plain.name])
    plainly = partial(place.once, "safetensors plain", plain)
    arena = partial(place.once, "bytes into an arena", plain)
    tag = {"plain": plainly, "sealed, tag, 1 thread": partial(load, depth="auto", threads=1)}
    both = tag | {
        "sealed, full, 1 thread": partial(load, depth="full", threads=1),
        ARENA: partial(arena, threads=1),
    }
    contenders = both | {
        "an arena alone": partial(place.once, "an arena alone", plain, threads=1),
        "mapped, every page touched": partial(
            place.once, "bytes mapped, every page touched", plain
        ),
    }
    contenders |= again(both, AT_HAND, at_hand=True) | again(tag, USED, before=2)
    if plain.stat().st_size < AT_ONCE_BYTES:
        naive = _naively_encrypted(plain)
        contenders["naive AES-GCM"] = partial(place.once, "safetensors naive AES-GCM", naive)
    if processors.count() > 1:
        contenders |= {
            "sealed, tag, all threads": partial(load, depth="auto"),
            "sealed, full, all threads": partial(load, depth="full"),
        }
    if cold:
        unlimited = {"plain": plainly, ARENA: arena, "sealed, tag": partial(load, depth="auto")}
        contenders |= again(unlimited, COLD, cold=True)
    load(depth="auto")  # the full verification that the record needs
    return of_arena(take(contenders, "plain", rounds))


def again(loads: Mapping[str, turns.Work], state: str, **option: Any) -> dict[str, turns.Work]:
    """The same ``loads`` in another ``state`` of memory, which ``option`` of ``once`` makes."""
    return {f"{name}{state}": partial(load, **option) for name, load in loads.items()}


def take(contenders: Mapping[str, turns.Work], base: str, rounds: int) -> dict[str, dict[str, Any]]:
    """``turns.take``: each is compared with the base in its own state of memory."""
    bases = {
        name: f"{base}{state}"
        for name in contenders
        for state in (AT_HAND, USED, COLD)
        if name.endswith(state)
    }
    return turns.take(contenders, base, rounds, bases=bases)


def of_arena(found: dict[str, dict[str, Any]]) -> Found:
    """With ``of_arena``: the time by that of plain bytes read into the same memory."""
    for name, each in found.items():
        beside = f"{ARENA}{AT_HAND}" if name.endswith(AT_HAND) else ARENA
        if name.startswith("sealed") and not name.endswith((USED, COLD)):
            each["of_arena"] = each["cpu_seconds"] / found[beside]["cpu_seconds"]
    return found


def lazy(place: Place, plain: Path, rounds: int) -> Found:
    """The first tensor (16 MiB) of a large file, and opening it, verified in full."""
    sealed = place.sealed[plain.name]
    contenders: dict[str, turns.Work] = {
        "plain, first tensor": partial(place.once, "one tensor plain", plain),
        "sealed, first tensor": partial(place.once, "one tensor sealed", sealed, depth="full"),
        "sealed, opening alone": partial(place.once, "opening sealed", sealed, depth="full"),
    }
    return turns.take(contenders, "plain, first tensor", rounds)


def onnx(place: Place, plain: Path, rounds: int) -> Found:
    """One model into ONNX Runtime, a fresh process each."""
    load = partial(place.once, "ONNX sealed", place.sealed[plain.name])
    optimised = partial(place.once, "ONNX sealed", place.sealed[f"{plain.name}.optimised"])
    contenders: dict[str, turns.Work] = {
        "plain": partial(place.once, "ONNX plain", plain),
        "plain, external data": partial(place.once, "ONNX plain", make.external(plain)),
        "sealed, tag": partial(load, depth="auto"),
        "sealed, full": partial(load, depth="full"),
        "optimised, tag": partial(optimised, depth="auto"),
    }
    load(depth="auto")
    optimised(depth="auto")  # the known answer, once per device
    return turns.take(contenders, "plain", rounds, warm=1)


def sealing(plain: Path, rounds: int) -> Found:
    """Seal and check of all leaves; copying the file is the base. Neither waits for the disk."""
    publisher = [SigningKey.generate("Ed25519"), SigningKey.generate("ML-DSA-65")]
    recovery = KemPrivateKey.generate().public_key()
    out, kept = plain.with_name("sealing.out"), plain.with_name("sealing.kept")
    trust = [key.verify_key() for key in publisher]

    def seal(threads: int, target: Path = out, *, keep: bool = False) -> turns.Took:
        file = PendingFile(target)
        with FileSource(plain) as source:
            entry = container.EntryPlan("model", source)
            right = EntitlementExpression.parse(["bench"])
            section = container.SectionPlan(right, [entry])
            plan = container.SealPlan("bench", "m", "1", 1, datetime.now(UTC), [section])
            took = _timed(lambda: container.seal(plan, file, publisher=publisher,
                          recovery=recovery, random=os.urandom, threads=threads))  # fmt: skip
        if keep:
            file.commit()
        else:
            file.discard()
        return took

    def verify(threads: int) -> None:
        with FileSource(kept) as source:
            model = container.parse(source).verify_signatures(trust, product="bench")
            model.verify_leaves(threads=threads)

    def copy() -> turns.Took:
        target = out.with_suffix(".copy")
        target.unlink(missing_ok=True)
        return _timed(lambda: target.write_bytes(plain.read_bytes()))

    every = processors.count()
    work: dict[str, turns.Work] = {
        "copy of the file": copy,
        "seal, 1 thread": partial(seal, 1),
        f"seal, {every} threads": partial(seal, every),
        "verify, 1 thread": partial(_timed, partial(verify, 1)),
        f"verify, {every} threads": partial(_timed, partial(verify, every)),
    }
    seal(1, kept, keep=True)
    size = plain.stat().st_size
    found = turns.take(work, "copy of the file", rounds)
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
    # What is imported at first use is not compiled while the clock runs.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise SystemExit(f"{module} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))
