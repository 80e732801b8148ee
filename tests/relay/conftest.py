"""One shop with a running server, and relays: all of them real processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import onnx_models
from tests.cli.world import Ran, Shell, Shop, here, serving


@dataclass
class Relay:
    """A relay in ``folder`` and its token; ``run`` serves it."""

    shell: Shell
    shop: Shop
    folder: Path

    def do(self, command: str, *args: object) -> Ran:
        """``modelseal server relay COMMAND DIR``."""
        with self.named():
            return here("server", "relay", command, self.folder, *args, "--json")

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Commands in this process have the relay's token and folder."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MODELSEAL_TOKEN", self.shell.more["MODELSEAL_TOKEN"])
            patch.chdir(self.shell.folder)
            yield

    def sync(self) -> dict:
        """Over a line."""
        line = ("--server", self.shop.url, "--trust", self.shop.trust)
        ran = self.do("sync", *line)
        assert ran.code == 0, ran
        return ran.json

    @contextlib.contextmanager
    def run(self, *, kill: bool = False) -> Iterator[str]:
        """The URL it serves; ``kill`` ends it as a power cut does."""
        command = ("server", "relay", "run", self.folder, "--listen", "127.0.0.1:0")
        with self.shell.start(*command) as process:
            try:
                seen = ""
                for line in process.stderr:
                    seen += line
                    if "listens on http" in line:
                        break
                assert "listens on http" in seen, seen
                yield line.split("listens on ")[1].split()[0]
            finally:
                process.kill() if kill else process.terminate()
                process.communicate(timeout=300)
        assert process.returncode == (-9 if kill else 0)


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Iterator[Shop]:
    """One published model, a plan of two seats, a running server."""
    folder = tmp_path_factory.mktemp("publisher")
    home = folder / "shop"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    with serving(Shell(folder), home) as url:
        made = Shop(home, url)
        plain, sealed = folder / "swap.onnx", folder / "swap.onnx.sealed"
        plain.write_bytes(onnx_models.convolutions())
        made.do("seal", plain, "-o", sealed, "--entitlement", "face.swap")
        made.do("model", "publish", sealed)
        made.do("plan", "create", "pro", "--entitlement", "face.swap", "--seats", 2)
        yield made


@pytest.fixture
def relay(shop: Shop, tmp_path: Path) -> Relay:
    """A fresh relay with its own token."""
    token = shop.do("server", "token", "create", "--role", "relay")["token"]
    shell = Shell(tmp_path, {"MODELSEAL_TOKEN": token})
    made = Relay(shell, shop, tmp_path / "relay")
    assert made.do("init", "--trust", shop.trust).code == 0
    return made
