"""Sealing and restoring end at any moment without a word, as kill -9 or the power ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests import onnx_graphs

from modelseal import container
from modelseal.desk import inplace, opening, output, sealing
from modelseal.desk.workspace import Workspace

RUNS = 24
RIGHT = ["face.swap"]
PROGRAM = """\
import os, shutil, signal, sys, time
from pathlib import Path
from modelseal.desk import inplace, sealing, workspace

home, what, source, folder, runs = sys.argv[1:]
optimise = what == "optimise"
if optimise:
    import onnx, onnxruntime
desk = workspace.open(home)
work = {
    "in place": lambda path: inplace.seal_in_place(desk, [path], entitlements=["face.swap"]),
    "restore": lambda path: inplace.restore(desk, path),
    "seal": lambda path: sealing.seal_paths(
        desk, [path], path.with_name("out.sealed"), entitlements=["face.swap"],
        model=path.parent.name, optimise=optimise),
}["seal" if optimise else what]
def run(name, seconds):
    place = Path(folder, name)
    place.mkdir()
    path = Path(shutil.copy(source, place / "swap.onnx"))
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM ends it where it is, like SIGKILL
        work(path)
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
    return time.monotonic() - began, ended
took, ended = run("whole", 600)
assert ended == 0
for n in range(1, int(runs) + 1):
    print(n, run(str(n), took * n / int(runs))[1], flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a Unix: timers and fork")
@pytest.mark.parametrize("what", ["in place", "restore", "seal", "optimise"])
def test_ended_at_any_moment_a_file_is_the_old_or_the_new_one_and_the_command_can_be_repeated(
    shop: Workspace, tmp_path: Path, what: str
) -> None:
    """And what was unfinished is gone after the repeat."""
    plain = onnx_graphs.products() if what == "optimise" else os.urandom(3_000_000)
    source, folder = tmp_path / "swap.onnx", tmp_path / "killed"
    source.write_bytes(plain)
    folder.mkdir()
    if what == "restore":
        inplace.seal_in_place(shop, [source], entitlements=RIGHT)
    sealed = source.read_bytes()
    shop.close()
    command = [sys.executable, "-c", PROGRAM, str(shop.home), what, source, folder, str(RUNS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    ended = dict(line.split() for line in done.stdout.splitlines())
    assert len(ended) == RUNS and set(ended.values()) <= {"0", str(int(signal.SIGALRM))}
    assert Counter(ended.values())[str(int(signal.SIGALRM))] > RUNS // 4
    for name in ended:
        _check(shop, folder / name, what, plain, sealed)


def _check(shop: Workspace, place: Path, what: str, plain: bytes, sealed: bytes) -> None:
    path, made = place / "swap.onnx", place / "out.sealed"
    if what == "in place":
        if path.read_bytes() == plain:
            inplace.seal_in_place(shop, [path], entitlements=RIGHT)
        assert path.read_bytes().startswith(container.MAGIC)
        inplace.restore(shop, path)
    elif what == "restore":
        if path.read_bytes() == sealed:
            inplace.restore(shop, path)
    else:
        if not made.exists():
            optimise = what == "optimise"
            sealing.seal_paths(
                shop, [path], made, entitlements=RIGHT, model=place.name, optimise=optimise
            )
        with opening.opened(shop, made) as model:
            assert model.model == place.name
        inplace.restore(shop, made, place / "back.onnx")
        assert (place / "back.onnx").read_bytes() == plain
    assert path.read_bytes() == plain
    if not made.exists():
        assert [file.name for file in place.iterdir()] == ["swap.onnx"]


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "swap.onnx"
    mine = output.PendingFile(path)
    mine.write(b"still being written")
    left = tmp_path / ".swap.onnx.0123456789abcdef.tmp"
    other = tmp_path / ".swap.onnx.bak.0123456789abcdef.tmp"
    for name in (left, other):
        name.write_bytes(b"left")
    again = output.PendingFile(path)
    assert not left.exists() and other.exists()
    mine.commit()
    again.discard()
    assert path.read_bytes() == b"still being written"
