"""One emulated TPM for all tests that leave nothing in it; others start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tpm import SwTpm, emulator

from modelseal.tpm2.chip import Tpm


@pytest.fixture(scope="session")
def shared() -> Iterator[SwTpm]:
    """A TPM without certificates, shared by the tests of this folder."""
    with emulator() as found:
        yield found


@pytest.fixture
def tpm(shared: SwTpm) -> Iterator[Tpm]:
    """A connection to the shared TPM, in which nothing is left loaded."""
    with shared.connect() as found:
        yield found
        assert found.reap() == 0


@pytest.fixture
def own() -> Iterator[SwTpm]:
    """A TPM of this test's own, to be cleared, killed and altered."""
    with emulator() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where key files lie."""
    made = tmp_path / "keys"
    made.mkdir(mode=0o700)
    return made
