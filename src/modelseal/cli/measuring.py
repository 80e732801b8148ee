"""``modelseal doctor --bench``: what protection costs on this computer.

Without a model: bytes at random are sealed under throwaway keys and read back beside the plain
file. With one that is here plain and sealed: both are loaded, and run where that can be done, in
turns, with the license that this device holds. Medians; the base of every ratio is the plain file.
"""

from __future__ import annotations

import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from modelseal import container, processors
from modelseal.container import EntryPlan, SealPlan, SectionPlan, VerifiedModel
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk.filesource import FileSource
from modelseal.desk.output import PendingFile
from modelseal.errors import Misuse
from modelseal.memory import Arena
from modelseal.types import EntitlementExpression

SIZE_BYTES = 64 << 20
ROUNDS = 7
PAIRS = 30
_PIECE_BYTES = 1 << 18
Work = Callable[[], object]


class Measured(msgspec.Struct, frozen=True):
    """One way of reading or running, against the plain one."""

    what: str
    seconds: float
    ratio: float
    cpu_ratio: float


class Report(msgspec.Struct, frozen=True):
    """``identical``: outputs of both models are the same bits; None where nothing was run."""

    size_bytes: int
    processors: int
    measured: list[Measured]
    identical: bool | None = None


def throughput(size_bytes: int = SIZE_BYTES, rounds: int = ROUNDS) -> Report:
    """Reading ``size_bytes`` plain and sealed, warm, into fresh memory; sealing them.

    What lies on the disk meanwhile is random and gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="modelseal-doctor-") as folder:
        plain, sealed = Path(folder, "plain"), Path(folder, "sealed")
        with plain.open("wb") as file:
            for _ in range(0, size_bytes, _PIECE_BYTES):
                file.write(secrets.token_bytes(_PIECE_BYTES))
        signer, recovery = SigningKey.generate(), KemPrivateKey.generate()

        def seal() -> container.SealedResult:
            sealed.unlink(missing_ok=True)
            output = PendingFile(sealed)
            with FileSource(plain) as source:
                right = EntitlementExpression.parse(["bench"])
                section = SectionPlan(right, [EntryPlan("plain", source)])
                plan = SealPlan("bench", "bench", "1", 1, datetime.now(UTC), [section])
                made = container.seal(
                    plan, output, publisher=[signer], recovery=recovery.public_key(),
                    random=os.urandom, threads=processors.count(),
                )  # fmt: skip
            output.commit()
            return made

        key = seal().data_keys[1]
        with FileSource(plain) as source, FileSource(sealed) as closed:
            model = container.parse(closed).verify_signatures(
                [signer.verify_key()], product="bench"
            )
            work: dict[str, Work] = {"plain": lambda: _read(source)}
            for depth in ("tag", "full"):
                for threads in {1: None, processors.count(): None}:
                    many = "thread" if threads == 1 else "threads"
                    work[f"sealed, {depth}, {threads} {many}"] = _opener(model, key, depth, threads)
            measured = _in_turns(work, rounds)
        measured += _in_turns({"copy": lambda: _copy(plain), "seal": seal}, rounds)
    return Report(plain_bytes(size_bytes), processors.count(), _named(measured))


def plain_bytes(size_bytes: int) -> int:
    """The size of a file that is written in whole pieces."""
    return -(-size_bytes // _PIECE_BYTES) * _PIECE_BYTES


def model(plain: Path, sealed: Path, rounds: int = ROUNDS, pairs: int = PAIRS) -> Report:
    """Loading, and for ONNX running, ``sealed`` beside ``plain``, which holds the same model.

    Raises ``Misuse`` for an ending whose loader is not measured, and what the loaders raise.
    """
    ending = plain.suffix.lower()
    if ending == ".onnx":
        return _onnx(plain, sealed, rounds, pairs)
    if ending != ".safetensors":
        raise Misuse("measured are .onnx and .safetensors", path=str(plain))
    import safetensors.numpy

    import modelseal

    work: dict[str, Work] = {
        "plain": lambda: safetensors.numpy.load_file(plain),
        "load": lambda: modelseal.safetensors.load_file(sealed),
    }
    measured = _in_turns(work, rounds)
    return Report(plain.stat().st_size, processors.count(), _named(measured))


def _onnx(plain: Path, sealed: Path, rounds: int, pairs: int) -> Report:
    import numpy as np
    import onnxruntime

    import modelseal

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    made: dict[str, Callable[[], Any]] = {
        "plain": lambda: onnxruntime.InferenceSession(str(plain), options),
        "load": lambda: modelseal.onnx.InferenceSession(str(sealed), options),
    }
    measured = _in_turns(made, rounds)
    one, other = made["plain"](), made["load"]()
    given = _inputs(one)
    outputs = [session.run(None, given) for session in (one, other)]
    same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*outputs, strict=True))
    runs: dict[str, Work] = {
        "plain": lambda: one.run(None, given),
        "inference": lambda: other.run(None, given),
    }
    measured += _in_turns(runs, pairs)
    return Report(plain.stat().st_size, processors.count(), _named(measured), same)


def _inputs(session: Any) -> dict[str, Any]:
    """Random numbers that fit; sizes that are free are 1, of pictures 32."""
    import numpy as np

    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64,
             "tensor(float16)": np.float16, "tensor(int64)": np.int64,
             "tensor(int32)": np.int32}  # fmt: skip
    rng, found = np.random.default_rng(0), {}
    for node in session.get_inputs():
        if node.type not in kinds:
            raise Misuse(f"an input of the model is a {node.type}, which is not measured")
        free = (1, 3, 32, 32) if len(node.shape) == 4 else (1,) * len(node.shape)
        shape = [n if isinstance(n, int) else one for n, one in zip(node.shape, free, strict=True)]
        found[node.name] = np.asarray(rng.random(shape), dtype=kinds[node.type])
    return found


def _in_turns(work: Mapping[str, Work], rounds: int) -> list[tuple[str, float, float, float]]:
    """Name, median seconds and median ratios to the first within each round, wall and CPU."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    names = list(work)
    for number in range(-1, rounds):  # the first round warms up
        for name in names if number % 2 else reversed(names):
            cpu, wall = time.process_time(), time.perf_counter()
            kept = work[name]()
            took = time.perf_counter() - wall, time.process_time() - cpu
            del kept
            if number >= 0:
                seen[name].append(took)
    found, base = [], seen[names[0]]
    for name, each in seen.items():
        seconds = statistics.median(wall for wall, _ in each)
        found.append((name, seconds, _ratio(each, base, 0), _ratio(each, base, 1)))
    return found


def _ratio(each: list[tuple[float, float]], base: list[tuple[float, float]], at: int) -> float:
    pairs = zip(each, base, strict=True)
    return statistics.median(mine[at] / max(other[at], 1e-9) for mine, other in pairs)


def _named(found: list[tuple[str, float, float, float]]) -> list[Measured]:
    return [Measured(*each) for each in found]


def _read(source: FileSource) -> Arena:
    arena = Arena(source.size_bytes)
    for start in range(0, source.size_bytes, _PIECE_BYTES):
        source.read_into(start, arena.view[start : start + _PIECE_BYTES])
    return arena


def _opener(model: VerifiedModel, key: bytes, depth: str, threads: int) -> Work:
    def run() -> Arena:
        arena = Arena(model.section(1).plain_bytes)
        model.open_section(1, key, arena.view, depth=depth, threads=threads)
        return arena

    return run


def _copy(path: Path) -> None:
    target = path.with_suffix(".copy")
    target.unlink(missing_ok=True)
    target.write_bytes(path.read_bytes())


__all__ = ["Measured", "Report", "model", "throughput"]
