"""One log for all tests that only read it."""

from __future__ import annotations

import pytest
from tests.audit.world import Log, grown


@pytest.fixture(scope="session")
def log() -> Log:
    """700 events in seven checkpoints; tests do not change it."""
    return grown(700)
