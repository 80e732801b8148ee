from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.runtime.shop import Shop, ShopLicensee

from modelseal.runtime import default, loading, report, sharing


@pytest.fixture(autouse=True)
def _tell_everything() -> Iterator[None]:
    """Refusals are told anew in every test, and no test makes this process undumpable."""
    report.forget()
    if not loading._hardened:
        loading._hardened.append("left to the tests of memory")
    sharing.forget()
    yield
    default.use_licensee(None)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    folder = tmp_path / "shop"
    folder.mkdir()
    return Shop(folder)


@pytest.fixture
def licensee(shop: Shop) -> ShopLicensee:
    """The licensee in use by the loaders of this process."""
    found = ShopLicensee(shop.folder)
    default.use_licensee(found)
    return found
