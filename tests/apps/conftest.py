from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.runtime.shop import Shop

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(__file__).resolve().parent / "programs"
SITECUSTOMIZE = """\
import os
from tests.runtime import shop
shop.use_from_environment()
if os.environ.get("CHAINED"):
    print("chained")
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    folder = tmp_path / "shop"
    folder.mkdir()
    return Shop(folder)


@pytest.fixture
def environment(shop: Shop, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a program: a ``sitecustomize`` of its own, which uses the shop's license.

    Temporary folder and home are its own; nothing of ours is left in the former.
    """
    site, home = tmp_path / "site", tmp_path / "home"
    site.mkdir()
    home.mkdir()
    scratch = Path(tempfile.mkdtemp(prefix="ms-"))  # short: sockets of workers lie in it
    (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
    env = {k: v for k, v in os.environ.items() if not k.startswith("MODELSEAL_")}
    env |= {
        "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
        "SHOP": str(shop.folder),
        "TMPDIR": str(scratch),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    yield env
    left = set(os.listdir(scratch))
    shutil.rmtree(scratch)
    assert left <= {".ses"}  # ONNX Runtime's own, with or without us: a session id


@pytest.fixture
def plain(environment: dict[str, str]) -> Run:
    """Runs a program of ``programs`` as it is."""

    def run(program: str, *args: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROGRAMS / program), *map(str, args)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture
def protected(environment: dict[str, str]) -> Run:
    """Runs a program under ``modelseal run``'s function, with ``prefix`` before ``python``."""

    def run(program: str, *args: object, prefix: tuple[str, ...] = (), **how: object):
        child = [*prefix, sys.executable, str(PROGRAMS / program), *map(str, args)]
        return run_command(child, environment, **how)

    return run


def run_command(
    child: list[str], environment: dict[str, str], **how: object
) -> subprocess.CompletedProcess[str]:
    code = "import sys; from modelseal.runtime.run import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *child]
    env = {**environment, **how.pop("env", {})}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, **how)
