"""Rules for every test: in continuous integration nothing skips, the law's tests open no socket.

Property tests are about results, not about time. ``make test`` draws the same examples every time,
so that its verdict is about the change; ``make soak`` draws others in each run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

PURE = frozenset({"license", "device", "crypto", "trust", "audit", "container"})
"""The folders whose tests run without a network, whatever they call."""
_inside: list[str] = []


def _no_socket(event: str, _args: tuple[object, ...]) -> None:
    if _inside and event.startswith("socket."):
        raise AssertionError(f"{_inside[-1]} used the network: {event}")


sys.addaudithook(_no_socket)


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile(
        "modelseal",
        deadline=None,
        derandomize=config.getoption("markexpr") != "soak",
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("modelseal")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes that share the tests know them by name: no address of an object is part of one."""
    if odd := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"tests named by where an object lies: {odd[:3]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    pure = Path(str(item.path)).parent.name in PURE
    if pure:
        _inside.append(item.nodeid)
    try:
        return (yield)
    finally:
        if pure:
            _inside.pop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.skipped and os.environ.get("MODELSEAL_ALLOW_NO_SKIP") and call.excinfo is not None:
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may skip: {call.excinfo.value}"
    return report
