"""Keys and makers shared by the container tests; neighbours are loaded by their path."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelseal.container import (
    BytesSink,
    BytesSource,
    EntryPlan,
    SealedResult,
    SealPlan,
    SectionPlan,
    VerifiedModel,
    parse,
    seal,
)
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.types import EntitlementExpression

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 65536


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reader() -> ModuleType:
    """The independent reader."""
    return _load(ROOT / "tests" / "container" / "independent_reader.py")


@pytest.fixture(scope="session")
def forging() -> ModuleType:
    """The maker of hostile files."""
    return _load(ROOT / "tools" / "container_forge.py")


class Publisher:
    """One publisher's keys and the shortest way to a sealed model."""

    def __init__(self) -> None:
        self.ed25519 = SigningKey.generate("Ed25519")
        self.mldsa = SigningKey.generate("ML-DSA-65")
        self.recovery = KemPrivateKey.generate()
        self._drawn = 0

    @property
    def pinned(self) -> list[Any]:
        return [self.ed25519.verify_key(), self.mldsa.verify_key()]

    def random(self, size: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(f"random {self._drawn}".encode()).digest(size)

    def plan(self, *sections: SectionPlan, **more: Any) -> SealPlan:
        values: dict[str, Any] = {
            "product": "demo", "model": "model", "model_version": "1.0", "release": 3,
            "created_at": datetime(2026, 10, 1, 12, tzinfo=UTC), "chunk_bytes": CHUNK,
        }  # fmt: skip
        return SealPlan(sections=sections, **(values | more))

    def section(
        self, entries: dict[str, bytes], entitlement: str = "face.swap", **more: Any
    ) -> SectionPlan:
        plans = [EntryPlan(name, BytesSource(plain)) for name, plain in entries.items()]
        return SectionPlan(EntitlementExpression.parse(entitlement.split()), plans, **more)

    def seal(
        self, *sections: SectionPlan, both: bool = False, **more: Any
    ) -> tuple[bytes, SealedResult]:
        sink = BytesSink()
        result = seal(
            self.plan(*sections, **more),
            sink,
            publisher=[self.ed25519, self.mldsa] if both else [self.ed25519],
            recovery=self.recovery.public_key(),
            random=self.random,
        )
        return sink.getvalue(), result

    def verified(self, data: bytes | bytearray | memoryview, **more: Any) -> VerifiedModel:
        return parse(BytesSource(data)).verify_signatures(
            [self.ed25519.verify_key()], product="demo", **more
        )


@pytest.fixture(scope="session")
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture(scope="session")
def content() -> Callable[[str, int], bytes]:
    """Bytes anybody can make again."""
    return lambda name, size: hashlib.shake_256(name.encode()).digest(size)
