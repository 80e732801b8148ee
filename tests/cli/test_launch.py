"""``modelseal run`` is read without Typer, and means what it means to Typer."""

from __future__ import annotations

import os
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from modelseal.cli import launch
from modelseal.cli.app import build
from modelseal.runtime import run as runner

WORDS = ("--", "--state", "--state=a", "--app", "--app=", "--report=r.json", "--isolated", "--help",
         "-x", "--sta", "python", "app.py", "--", "", "-", "a b", "--isolated=1")  # fmt: skip

TYPER = typer.main.get_command(build("run"))


def by_typer(words: list[str]) -> tuple[list[str], dict[str, object]]:
    """The program and the options that Typer makes of ``words``."""
    seen: list[tuple[list[str], dict[str, Any]]] = []

    def note(program: list[str], **more: Any) -> int:
        seen.append((program, more))
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "run", note)
        TYPER.main(args=words, prog_name="modelseal", standalone_mode=False)
    ((program, more),) = seen
    return program, {name: os.fspath(v) if v and v is not True else v for name, v in more.items()}


@given(words=st.lists(st.sampled_from(WORDS), max_size=6))
def test_what_is_read_without_typer_is_what_typer_reads(words: list[str]) -> None:
    quick = launch.of(["run", *words])
    if quick is not None:
        program, options = by_typer(["run", *words])
        assert quick.args == (program,)
        assert {"app": None, "report": None, "isolated": False} | quick.keywords == options


def test_every_plain_call_is_read_without_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSEAL_STATE", "device")
    for words in (
        ["run", "--", "python", "app.py", "--state", "its own"],
        ["run", "python", "-m", "app"],
        ["run", "--state", "s", "--app=a", "--report", "r", "--isolated", "--", "./app"],
    ):
        quick = launch.of(words)
        assert quick is not None
        assert quick.args == (words[words.index("--") + 1 if "--" in words else 1 :],)
        assert quick.keywords["state"] == ("s" if "--state" in words[:3] else "device")


@pytest.mark.parametrize(
    "words",
    ["", "run", "run --", "run --help", "status", "run --state", "run --stat x -- p", "run -p"],
)
def test_help_and_misuse_are_left_to_typer(words: str) -> None:
    assert launch.of(words.split()) is None
