"""Every command that a page shows exists, with the options it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from tests.cli.world import here

from modelseal.cli.app import build

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "docs" / "how-to").glob("*.md"))
_INLINE = re.compile(r"`(modelseal [^`]+)`")


def _shown(page: Path) -> list[str]:
    """The command lines of a page: in blocks of code, and inline."""
    text = page.read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.startswith("modelseal ")]
    return [part for line in lines + _INLINE.findall(text) for part in line.split(" && ")]


def _command(words: list[str]):
    """The command that ``words`` name, and the words behind its name."""
    found = typer.main.get_command(build())
    while words and words[0] in getattr(found, "commands", {}):
        found, words = found.commands[words[0]], words[1:]
    return found, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_exists_with_its_options(page):
    for line in _shown(page):
        words = shlex.split(line.split(" # ")[0])[1:]
        command, rest = _command(words)
        if not rest and getattr(command, "commands", None):
            continue
        assert not getattr(command, "commands", None), f"{line}: there is no such verb"
        rest = rest[: rest.index("--")] if "--" in rest else rest
        known = {name for parameter in command.params for name in getattr(parameter, "opts", ())}
        for word in rest:
            assert not word.startswith("-") or word == "-" or word in known | {"--help"}, line


def test_the_first_ten_minutes_show_the_daily_path():
    shown = _shown(ROOT / "docs" / "how-to" / "publish-a-model.md")
    named = {" ".join(line.split()[1:3]) for line in shown}
    for command in ("init --home", "model publish", "license issue", "server run", "keys backup"):
        assert command in named


def test_no_summary_in_a_help_text_is_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def walk(command, words):
        for name, child in getattr(command, "commands", {}).items():
            walk(child, [*words, name])
        if getattr(command, "commands", None):
            listed = here(*words, "--help").out.split("Commands:")[1]
            assert "..." not in listed, words

    walk(typer.main.get_command(build()), [])
