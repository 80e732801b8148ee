"""What a parser's file is made of, how one input is judged, and where seeds come from."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz import parsers
from modelseal.errors import InternalError, Misuse, ModelsealError

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "vectors"
EVERY = "every"
MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Harness:
    """One parser. Inputs have at most ``max_bytes``; ``misuse`` says that mistakes are told so."""

    name: str
    seeds: Callable[[], Iterable[bytes]]
    check: Callable[[bytes], None]
    max_bytes: int = MAX_BYTES
    misuse: bool = False

    def judge(self, data: bytes) -> bool:
        """True when ``data`` was accepted, False when it was refused; raises for a finding."""
        with refusable(misuse=self.misuse):
            self.check(data)
            return True
        return False


@contextmanager
def refusable(*, misuse: bool = False) -> Iterator[None]:
    """What happens inside may be refused; everything that is no refusal goes through."""
    try:
        yield
    except InternalError:
        raise
    except ModelsealError as error:
        if isinstance(error, Misuse) and not misuse:
            raise


def names() -> list[str]:
    """Every parser that has a file."""
    return sorted(module.name for module in pkgutil.iter_modules(parsers.__path__))


def load(name: str) -> Harness:
    """The harness in ``fuzz/parsers/NAME.py``, or that of all of them."""
    if name == EVERY:
        return every()
    module = importlib.import_module(f"fuzz.parsers.{name}")
    return Harness(
        name,
        module.seeds,
        module.check,
        getattr(module, "MAX_BYTES", MAX_BYTES),
        getattr(module, "MISUSE", False),
    )


def every() -> Harness:
    """All parsers as one, for a short run: the first byte of an input says whose it is."""
    found = [load(name) for name in names()]

    def seeds() -> Iterator[bytes]:
        for number, each in enumerate(found):
            yield from (bytes([number]) + seed[: each.max_bytes] for seed in each.seeds())

    def check(data: bytes) -> None:
        found[data[0] % len(found) if data else 0].judge(data[1:])

    return Harness(EVERY, seeds, check, max(each.max_bytes for each in found))


def vector(path: str) -> Any:
    """The JSON of one file below ``vectors``."""
    return json.loads((VECTORS / path).read_text())


def files(pattern: str, max_bytes: int = 1 << 20) -> Iterator[bytes]:
    """The files below ``vectors`` that match ``pattern``, the short ones."""
    for path in sorted(VECTORS.glob(pattern)):
        if path.stat().st_size <= max_bytes:
            yield path.read_bytes()
