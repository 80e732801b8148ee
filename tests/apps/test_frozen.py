"""A program frozen by PyInstaller: refused cleanly as it is, open with ``modelseal.install()``.

The license is a real one: server, activation and sealing as at a customer's.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import onnx_models
from tests.apps.conftest import PROGRAMS, ROOT, run_command

from modelseal.runtime import reach

WITHOUT = ("IPython", "matplotlib", "onnx", "pandas", "scipy", "sympy", "tkinter", "torch",
           "transformers")  # fmt: skip
"""What the packages of the tests would bring along; the program uses none of it."""


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The plain model and the sealed one, in the folder of an activated customer."""
    folder = tmp_path_factory.mktemp("customer")
    plain = folder / "conv.onnx"
    plain.write_bytes(onnx_models.convolutions())
    code = (
        "import sys; from pathlib import Path; from bench import shop; "
        "shop.protect(Path(sys.argv[1]), [Path(sys.argv[2])])"
    )
    subprocess.run([sys.executable, "-c", code, folder, plain], cwd=ROOT, check=True)
    return plain, folder / f"{plain.name}.sealed"


@pytest.fixture(scope="module")
def frozen(sealed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The frozen program, with its ``modelseal.toml`` beside it."""
    made = tmp_path_factory.mktemp("frozen")
    left_out = [word for name in WITHOUT for word in ("--exclude-module", name)]
    command = [
        sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", "--onedir",
        "--distpath", made / "dist", "--workpath", made / "work", "--specpath", made,
        *left_out, PROGRAMS / "frozen.py",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = made / "dist" / "frozen"
    (folder / "modelseal.toml").write_text(
        'product = "facefusion"\nserver = "https://127.0.0.1:1"\n'
        f'trust = "{sealed[0].parent / "shop" / "trust.json"}"\n'
    )
    assert not list(folder.rglob("desk")), "the publisher's half stays at the publisher's"
    return str(folder / "frozen")


@pytest.mark.soak
def test_a_frozen_program_refuses_cleanly_without_install_and_opens_with_it(
    frozen: str, sealed: tuple[Path, Path], tmp_path: Path
) -> None:
    plain, model = sealed
    before = hashlib.sha256(model.read_bytes()).digest()
    env = {**os.environ, "MODELSEAL_STATE": str(plain.parent / "state"), "HOME": str(tmp_path)}

    def run(*arguments: object) -> tuple[int, str, str]:
        found = run_command([frozen, *map(str, arguments)], env)
        return found.returncode, found.stdout, found.stderr

    code, expected, _ = run(plain)
    assert code == 0 and len(expected) == 65
    code, out, err = run(model)
    assert (code, out) == (5, "InvalidProtobuf\n")
    assert "is frozen by PyInstaller" in err and "modelseal.install()" in err
    code, out, err = run(model, "--install")
    assert (code, out) == (0, expected), err
    alone = subprocess.run(
        [frozen, model, "--install"], env=env, capture_output=True, text=True, timeout=300
    )
    assert (alone.returncode, alone.stdout, alone.stderr) == (0, expected, "")
    env["MODELSEAL_STATE"] = str(tmp_path / "nobody")
    code, out, err = run(model, "--install")
    assert (code, out) == (5, "NotActivated\n") and "[not_activated]" in err
    assert hashlib.sha256(model.read_bytes()).digest() == before


def test_programs_that_no_hook_reaches_are_known_by_their_bytes(tmp_path: Path) -> None:
    def program(name: str, data: bytes) -> list[str]:
        path = tmp_path / name
        path.write_bytes(data)
        path.chmod(0o755)
        return [str(path)]

    elf = b"\x7fELF" + bytes(5000)
    assert reach.why_not(program("plain", elf)) is None
    cookie = b"MEI\x0c\x0b\x0a\x0b\x0e" + bytes(80)
    assert "PyInstaller" in str(reach.why_not(program("frozen", elf + cookie)))
    assert "Nuitka" in str(reach.why_not(program("compiled", elf + b"NUITKA_ONEFILE_PARENT")))
    script = f"#!{sys.executable} -I\nprint()\n".encode()
    assert "-I" in str(reach.why_not(program("script", script)))
    assert "-S" in str(reach.why_not(program("by-env", b"#!/usr/bin/env -S python3 -S\n")))
    assert reach.why_not(program("fine", b"#!/usr/bin/env python3\n")) is None
    assert reach.why_not(program("sh", b"#!/bin/sh -e\n")) is None
    assert reach.why_not(["no-such-program"]) is None
    embedded = program("python3.12", elf)
    (tmp_path / "python312._pth").write_text("python312.zip\n")
    assert "python312._pth" in str(reach.why_not([*embedded, "app.py"]))
