"""The house rules that import contracts cannot see."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelseal

SOURCE = Path(modelseal.__file__).parent
ROOT = Path(__file__).resolve().parent.parent
PURE = [
    *("admin", "attest/verify", "audit", "cbor.py", "container", "crypto", "device"),
    *("errors.py", "ids.py", "license", "strict_json.py", "texts", "trust", "types.py"),
]
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter"}
DOORS = {"open", "print", "input", "__import__", "exec", "eval", "compile"}


def _files(room: str) -> list[Path]:
    path = SOURCE / room
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_calls_no_clock_and_opens_nothing(room):
    found = []
    for file in _files(room):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                target = node.func
                if isinstance(target, ast.Name) and target.id in DOORS:
                    found.append(f"{file.name}:{node.lineno} {target.id}()")
                if (
                    isinstance(target, ast.Attribute)
                    and target.attr in CLOCKS
                    and isinstance(target.value, ast.Name)
                    and target.value.id in {"datetime", "date", "time"}
                ):
                    found.append(f"{file.name}:{node.lineno} {target.attr}()")
    assert found == []


def test_no_source_file_is_longer_than_the_ceiling():
    long = {
        str(file.relative_to(ROOT)): lines
        for room in ("src", "tests", "tools", "demo", "bench", "fuzz", "examples")
        for file in (ROOT / room).rglob("*.py")
        if (lines := len(file.read_text("utf-8").splitlines())) > 500
    }
    assert long == {}


def test_the_import_contracts_hold():
    run = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=SOURCE.parents[1],
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]


def test_importing_modelseal_pulls_in_nothing_heavy():
    heavy = ["ssl", "sqlite3", "torch", "onnxruntime", "numpy", "httpx", "tuf", "litestar"]
    heavy += ["sqlalchemy", "typer", "rich"]
    code = f"import modelseal, sys; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_six_files_under_1500_lines_explain_the_main_action():
    text = (SOURCE.parents[1] / "ARCHITECTURE.md").read_text("utf-8")
    named = re.findall(r"^[1-6]\. `([a-z_/]+\.py)`", text, re.MULTILINE)
    assert len(named) == 6
    assert sum(len((SOURCE / name).read_text("utf-8").splitlines()) for name in named) < 1500


def test_the_page_of_decisions_lists_all_of_them():
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", (folder / "README.md").read_text("utf-8"), re.M)
    titles = {
        path.name: path.read_text("utf-8").splitlines()[0].removeprefix("# ")
        for path in folder.glob("[0-9]*.md")
    }
    assert [name for _, name in listed] == sorted(titles)
    assert {name: title for title, name in listed} == titles
