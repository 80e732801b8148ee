"""``run --isolated``: no foreign code comes in with the program, and what was found is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import modelseal
from modelseal.runtime import isolation
from modelseal.runtime import run as runner

CODE = "import sys; from modelseal.cli import main; sys.exit(main(sys.argv[1:]))"
SOURCE = Path(modelseal.__file__).parent.parent
SHOWS = """\
import json, os, subprocess, sys
told = {"environ": dict(os.environ), "path": sys.path, "trace": sys.gettrace() is not None,
        "profile": sys.getprofile() is not None, "modules": sorted(sys.modules)}
if sys.version_info >= (3, 12):
    told["tools"] = [sys.monitoring.get_tool(n) for n in range(6)]
if len(sys.argv) > 1:
    child = subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, check=True)
    told["child"] = json.loads(child.stdout)
print(json.dumps(told))
"""


def isolated(
    *command: str, options: tuple[str, ...] = (), prefix: tuple[str, ...] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    foreign = ("MODELSEAL_", "PYTHON", "LD_")  # OpenCV sets one of the loader's when imported
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    parent = [*prefix, sys.executable, "-E", "-c", CODE, "run", "--isolated", *options, "--"]
    return subprocess.run(
        [*parent, *command], env=kept | env, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def program(tmp_path: Path) -> str:
    place = tmp_path / "program" / "shows.py"
    place.parent.mkdir()
    place.write_text(SHOWS)
    return str(place)


def environment_of(folder: Path, pth: str) -> tuple[str, Path]:
    """A Python of a fresh environment that has modelseal, and one ``.pth`` file beside it."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "shared.pth").write_text(f"{SOURCE}\n")
    (packages / "zz_evil.pth").write_text(pth)
    return str(folder / "bin" / "python"), packages


def test_variables_that_bring_foreign_code_are_gone_for_the_program_and_its_children(
    program: str, tmp_path: Path
) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "sitecustomize.py").write_text("import sys; sys.modules['evil'] = sys\n")
    brought = {
        "PYTHONPATH": str(evil),
        "PYTHONSTARTUP": str(evil / "start.py"),
        "PYTHONPYCACHEPREFIX": str(evil),
        "LD_LIBRARY_PATH": str(evil),
        "OPENSSL_CONF": str(evil / "openssl.cnf"),
        "DYLD_INSERT_LIBRARIES": "evil.dylib",
    }
    found = isolated(
        sys.executable, program, "and a child", PYTHONUTF8="1", ENV="production", **brought
    )
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    for each in (told, told["child"]):
        env = each["environ"]
        assert "evil" not in each["modules"] and str(evil) not in each["path"]
        assert env["PYTHONPATH"] == str(runner.site_folder())
        assert env["PYTHON_DISABLE_REMOTE_DEBUG"] == env["PYTHONNOUSERSITE"] == "1"
        assert (env["PYTHONUTF8"], env["ENV"]) == ("1", "production")
        assert not (brought.keys() - {"PYTHONPATH"}) & env.keys()
    for name in brought.keys() - {"PYTHONPATH"}:
        assert name in found.stderr
    assert f"import path {evil}: removed" in found.stderr


def test_a_preloaded_library_does_not_reach_the_program(program: str, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("compiles a library: apt-get install gcc")
    source, library = tmp_path / "evil.c", tmp_path / "evil.so"
    source.write_text(
        "#include <stdlib.h>\n__attribute__((constructor)) static void in(void) "
        '{ setenv("PRELOADED", "1", 1); }\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    plain = subprocess.run(
        [sys.executable, program], env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True, check=True,
    )  # fmt: skip
    assert "PRELOADED" in json.loads(plain.stdout)["environ"]
    found = isolated(sys.executable, program, LD_PRELOAD=str(library))
    assert "LD_PRELOAD" not in json.loads(found.stdout)["environ"]
    assert f"LD_PRELOAD={library}: removed" in found.stderr


def test_hooks_that_a_pth_file_installed_are_taken_out_and_the_file_is_named(
    program: str, tmp_path: Path
) -> None:
    watching = (
        "import sys, threading; sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None); "
        "threading.settrace(lambda *a: None)"
    )
    if sys.version_info >= (3, 12):
        watching += "; sys.monitoring.use_tool_id(0, 'evil')"
    python, packages = environment_of(tmp_path / "v", watching + "\n")
    found = isolated(python, program)
    told = json.loads(found.stdout)
    assert not told["trace"] and not told["profile"]
    assert not any(told.get("tools", ()))
    for said in ("tracing hook ", "profiling hook ", "tracing hook of threads "):
        assert f"isolated: {said}" in found.stderr, found.stderr
    assert f"code of nobody's package {packages / 'zz_evil.pth'}: stays" in found.stderr
    assert "shared.pth" not in found.stderr  # runs nothing


def test_without_isolation_hooks_of_the_program_stay(program: str, tmp_path: Path) -> None:
    python, _ = environment_of(tmp_path / "v", "import sys; sys.settrace(lambda *a: None)\n")
    command = [sys.executable, "-c", CODE, "run", "--", python, program]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert json.loads(found.stdout)["trace"] and found.stderr == ""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")
def test_a_debugger_is_named(program: str, tmp_path: Path) -> None:
    prefix = ("strace", "-f", "-o", str(tmp_path / "trace"), "-e", "trace=none")
    found = isolated(sys.executable, program, prefix=prefix)
    assert found.returncode == 0 and "isolated: debugger process" in found.stderr


def test_what_was_found_is_in_the_journal_and_in_the_report(program: str, tmp_path: Path) -> None:
    app, state = tmp_path / "app", tmp_path / "state"
    app.mkdir()
    state.mkdir()
    (app / "modelseal.toml").write_text('product = "p"\n')
    options = ("--report", str(tmp_path / "told.json"), "--state", str(state), "--app", str(app))
    python, _ = environment_of(tmp_path / "v", "import sys; sys.settrace(lambda *a: None)\n")
    found = isolated(python, program, options=options, PYTHONSTARTUP="x.py")
    assert found.returncode == 0
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["exit_code"], told["refusals"]) == (0, [])
    kinds = {each["kind"]: each["outcome"] for each in told["found"]}
    assert kinds["variable of Python"] == kinds["tracing hook"] == "removed"
    assert kinds["code of nobody's package"] == "stays"
    entries = [json.loads(line) for line in (state / "journal").read_text().splitlines()]
    assert kinds.keys() <= {entry.get("found") for entry in entries}


def test_nothing_is_said_of_a_clean_environment(program: str, tmp_path: Path) -> None:
    python, _ = environment_of(tmp_path / "v", "")
    found = isolated(python, program, HOME=str(tmp_path))
    assert (found.returncode, found.stderr) == (0, "")


def test_what_a_package_owns_is_not_named(program: str, tmp_path: Path) -> None:
    python, packages = environment_of(tmp_path / "v", "import sys\n")
    (packages / "evil-1.dist-info").mkdir()
    (packages / "evil-1.dist-info" / "RECORD").write_text("evil.py,,\nzz_evil.pth,sha256=x,11\n")
    assert isolated(python, program, HOME=str(tmp_path)).stderr == ""


def test_the_environment_is_cleaned_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    env, found = isolation.clean(
        {"PYTHONHOME": "/x", "HOME": "/h", "PYTHONPATH": "/ours:/y"}, "/ours"
    )
    assert env == {
        "HOME": "/h", "PYTHONPATH": "/ours", "PYTHONNOUSERSITE": "1",
        "PYTHON_DISABLE_REMOTE_DEBUG": "1", isolation.ISOLATED: "1",
    }  # fmt: skip
    assert [str(each) for each in found if each.kind != "preloaded library"] == [
        "variable of Python PYTHONHOME=/x: removed",
        "import path /y: removed",
    ]
