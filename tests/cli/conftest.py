"""One shop with a running server for all command line tests; every test has its own folder."""

from __future__ import annotations

import os

import pytest
from tests import onnx_models
from tests.cli.world import Shell, Shop, here, serving

BIG_BYTES = 3 << 20
TERMS = {
    "trial": ("--entitlement", "face.swap"),
    "pro": ("--entitlement", "face.swap", "--entitlement", "face.restore"),
    "big": ("--entitlement", "face.big"),
}


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """Two published models (a small one that loads, a big one to download) and three plans."""
    folder = tmp_path_factory.mktemp("publisher")
    home = folder / "shop"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    with serving(Shell(folder), home) as url:
        made = Shop(home, url)
        for name, data, entitlement in (
            ("swap.onnx", onnx_models.convolutions(), "face.swap"),
            ("big.onnx", os.urandom(BIG_BYTES), "face.big"),
        ):
            plain, sealed = folder / name, folder / f"{name}.sealed"
            plain.write_bytes(data)
            made.do("seal", plain, "-o", sealed, "--entitlement", entitlement)
            made.do("model", "publish", sealed)
        for name, terms in TERMS.items():
            made.do("plan", "create", name, *terms, "--seats", 1)
        yield made


@pytest.fixture
def shell(tmp_path):
    """A shell in the test's own folder."""
    return Shell(tmp_path)


@pytest.fixture
def laptop(shop, shell):
    """A device with a trial license, activated in ``laptop``; its key and license id."""
    key, license_id = shop.issue()
    ran = shell("activate", key, *shop.names, "--state", "laptop", "--json")
    assert ran.code == 0, ran
    return key, license_id
