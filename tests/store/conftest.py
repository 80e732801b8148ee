"""The fixtures of ``tests/server``, with both kinds of store for every test that asks for one."""

from __future__ import annotations

import pytest
from tests.server.conftest import computer, copied, other_template, postgres, shop, template

__all__ = ["computer", "copied", "other_template", "postgres", "shop", "store", "template"]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str:
    """Which kind of store the test's shop has."""
    return str(request.param)
