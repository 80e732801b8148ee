"""No plaintext of a model is written anywhere, from the first seal to the end of the story."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from face_fusion import models
from tests.demo.writes import Plaintext, search, traced

NEEDS_STRACE = pytest.mark.skipif(
    shutil.which("strace") is None, reason="needs strace: apt-get install strace"
)
STORY_SECONDS = 3600
TELL = """\
import sys
from pathlib import Path
from demo import report, story
from demo.telling import Telling
prepared, output = map(Path, sys.argv[1:])
report.clear(output)
report.write(story.tell(Telling(), prepared, output, 5), output)
"""
CONTROLS = {
    "write": "open(out, 'wb').write(data)",
    "a piece of it behind other bytes": (
        "open(out, 'wb', 0).write(b'#' * 1001 + data[len(data) // 2 :][:200])"
    ),
    "writev": "os.writev(os.open(out, os.O_WRONLY | os.O_CREAT), [b'#', data])",
    "pwrite": "os.pwrite(os.open(out, os.O_WRONLY | os.O_CREAT), data, 5)",
    "a copy by the kernel": "shutil.copyfile(path, out)",
    "copy_file_range": (
        "os.copy_file_range(os.open(path, os.O_RDONLY),"
        " os.open(out, os.O_WRONLY | os.O_CREAT), len(data))"
    ),
    "a mapping": (
        "file = open(out, 'w+b'); file.truncate(len(data));"
        " mmap.mmap(file.fileno(), len(data))[:] = data"
    ),
    "a child": "subprocess.run(['cp', '--reflink=never', path, out], check=True)",
}


@pytest.fixture(scope="module")
def plaintext(small: Path) -> Plaintext:
    found = Plaintext(small / name for name in models.ALL)
    assert len(found) > 100_000
    return found


@NEEDS_STRACE
def test_the_story_writes_no_plaintext_and_leaves_nothing_behind(
    small: Path, plaintext: Plaintext, environment: dict[str, str], scratch: Path, tmp_path: Path
) -> None:
    """Publisher, server and customer, to the end; the page that comes out fetches nothing."""
    trace, output = tmp_path / "trace", tmp_path / "demo-out"
    words = [sys.executable, "-c", TELL, str(small), str(output)]
    done = traced(trace, words, env=environment, timeout=STORY_SECONDS)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    seen = search(trace, plaintext)
    trace.unlink()
    assert seen.leaks == []
    sealed = sum((small / name).stat().st_size for name in models.ALL)
    assert seen.written_bytes > 3 * sealed  # sealed, published, pulled
    assert seen.calls["write"] > 300
    assert list(scratch.iterdir()) == []
    _is_whole(output)


def _is_whole(output: Path) -> None:
    found = json.loads((output / "report.json").read_text())
    steps = [step for chapter in found["chapters"] for step in chapter["steps"]]
    assert len(found["chapters"]) == 6
    assert all(step["seconds"] > 0 for step in steps)
    assert {path.name for path in output.iterdir()} == {
        "report.html", "report.json", *found["pictures"],
    }  # fmt: skip
    page = (output / "report.html").read_text()
    addresses = re.findall(r"""(?:src|href|url|action)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    assert addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert "<script" not in page


@NEEDS_STRACE
@pytest.mark.parametrize("how", CONTROLS)
def test_a_program_that_writes_plaintext_is_caught(
    how: str, small: Path, plaintext: Plaintext, tmp_path: Path
) -> None:
    """By whatever call it does so: the search above can fail."""
    trace, out = tmp_path / "trace", tmp_path / "out"
    code = (
        "import mmap, os, shutil, subprocess, sys\npath, out = sys.argv[1:]\n"
        f"data = open(path, 'rb').read()\n{CONTROLS[how]}"
    )
    model = small / models.RESTORE["fast"]
    done = traced(trace, [sys.executable, "-c", code, str(model), str(out)], timeout=300)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 0
    assert search(trace, plaintext).leaks


@NEEDS_STRACE
def test_a_program_that_writes_other_bytes_is_not_caught(
    plaintext: Plaintext, tmp_path: Path
) -> None:
    """Random bytes, zeros and a copy of another file raise no alarm."""
    trace, out = tmp_path / "trace", tmp_path / "out"
    code = (
        "import os, shutil, sys\n"
        "open(sys.argv[1], 'wb').write(os.urandom(1 << 20) + bytes(1 << 16))\n"
        "shutil.copyfile(sys.argv[1], sys.argv[1] + '2')"
    )
    assert traced(trace, [sys.executable, "-c", code, str(out)], timeout=300).returncode == 0
    seen = search(trace, plaintext)
    assert seen.leaks == []
    assert seen.written_bytes > 1 << 20
