from __future__ import annotations

import pytest
from tests.inference.serving import opened

from modelseal.crypto.signing import SigningKey
from modelseal.runtime import loading, report


@pytest.fixture(autouse=True)
def _no_proxy_and_no_hardening(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    report.forget()
    if not loading._hardened:
        loading._hardened.append("left to the tests of memory")


@pytest.fixture
def model(tmp_path):
    """A sealed model that was opened in memory."""
    with opened(tmp_path / "shop") as found:
        yield found


@pytest.fixture
def root():
    """The key with which a program speaks for itself in these tests."""
    return SigningKey.generate("Ed25519")
