"""Rules for every test: in continuous integration nothing skips."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.skipped and os.environ.get("MODELSEAL_ALLOW_NO_SKIP") and call.excinfo is not None:
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may skip: {call.excinfo.value}"
    return report
