"""Every provider the contract suite runs over, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelseal import keys
from modelseal.keys import KeyProvider, file
from modelseal.keys.passphrase import Work
from modelseal.keys.provider import GuardedProvider
from modelseal.testing.keys import FakeKeyProvider, FakeKeyProviderWarning

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PASSPHRASE = "correct horse battery staple"
LIGHT = Work(memory_kib=8 * 1024, iterations=1, lanes=1)

Opener = Callable[[str], KeyProvider]
"""Opens the provider with the key of that name, made at its first use."""


@pytest.fixture(params=["file", "file with passphrase", "fake"])
def provider_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """The contract suite runs over each of these; add a line to add a provider."""

    def file_provider(option: str) -> Opener:
        def opener(name: str) -> KeyProvider:
            uri = f"file:{name}.key{option}"
            if not (tmp_path / f"{name}.key").exists():
                file.create(uri, ask=lambda _: PASSPHRASE, base=tmp_path, work=LIGHT)
            return keys.open_provider(uri, ask=lambda _: PASSPHRASE, base=tmp_path)

        return opener

    makers: dict[str, Opener] = {
        "file": file_provider(""),
        "file with passphrase": file_provider("?passphrase=ask"),
        "fake": lambda name: GuardedProvider(FakeKeyProvider(name)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FakeKeyProviderWarning)
        yield makers[request.param]


@pytest.fixture
def now() -> datetime:
    """One moment."""
    return NOW


@pytest.fixture
def passphrase() -> str:
    """The passphrase of every protected key in these tests."""
    return PASSPHRASE
