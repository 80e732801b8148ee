"""No struct is met for the first time by two threads at once: msgspec would end the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SERVER = """
import sys
from pathlib import Path
from modelseal import structs
from modelseal.desk import workspace
from modelseal.server.run import Running
workspace.init(Path(sys.argv[1]), "facefusion")
running = Running(Path(sys.argv[1]), listen="127.0.0.1:0")
print(structs.unprepared())
running.close()
"""
CLIENT = """
import modelseal
from modelseal import structs
modelseal.Client
print(structs.unprepared())
"""


@pytest.mark.parametrize("program", [SERVER, CLIENT], ids=["server", "client"])
def test_every_struct_is_ready_before_threads_begin(program: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "shop")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "[]\n"


def test_a_struct_that_came_later_is_named_until_it_is_prepared() -> None:
    program = """
from modelseal import structs
structs.prepare()
import modelseal.license.claims
assert "modelseal.license.claims.LeaseClaims" in structs.unprepared()
structs.prepare()
assert structs.unprepared() == []
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
