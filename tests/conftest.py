"""Rules for every test: in continuous integration nothing skips, the law's tests open no socket."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PURE = frozenset({"license", "device", "crypto", "trust", "audit", "container"})
"""The folders whose tests run without a network, whatever they call."""
_inside: list[str] = []


def _no_socket(event: str, _args: tuple[object, ...]) -> None:
    if _inside and event.startswith("socket."):
        raise AssertionError(f"{_inside[-1]} used the network: {event}")


sys.addaudithook(_no_socket)


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
