"""However the demo ends, nothing of it is left but what it says."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from demo.world import ROOT
from face_fusion import models

SECONDS = 1800
UNPREPARED = """\
import sys
import demo.__main__ as demo
demo.prepare = lambda *_: False  # the models are taken as they are
sys.exit(demo.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_tidies_up(
    number: signal.Signals, prepared: Path, environment: dict[str, str], scratch: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Exit code 130, no temporary file, no half a report, and no server that goes on."""
    output = tmp_path / "demo-out"
    words = [sys.executable, "-m", "demo", "--models", str(prepared), "--output", str(output)]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        told = ""
        for line in demo.stdout:
            told += line
            if "Activate" in line:
                break
        demo.send_signal(number)
        told += demo.stdout.read()
    assert demo.returncode == 130, told
    assert list(scratch.iterdir()) == []
    assert list(output.iterdir()) == []
    found = re.search(r"https://127\.0\.0\.1:(\d+)", told)
    assert found is not None
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", int(found[1]))) != 0


def test_a_step_that_does_not_go_as_told_ends_the_demo(
    prepared: Path, environment: dict[str, str], scratch: Path, tmp_path: Path
) -> None:
    """Exit code 1, the step and what the command said, and nothing left."""
    folder, output = tmp_path / "models", tmp_path / "demo-out"
    shutil.copytree(prepared, folder)
    (folder / models.MESH).write_bytes(b"not a model")
    words = ["--models", str(folder), "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-c", UNPREPARED, *words], env=environment, cwd=ROOT, timeout=SECONDS,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "NOT as it should be: Detector and mesh are sealed" in done.stdout
    assert "face_mesh.onnx" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(scratch.iterdir()) == []
    assert list(output.iterdir()) == []
