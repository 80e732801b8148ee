"""Every command that a page tells people to type exists, with these options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from modelseal.cli.app import build

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/how-to/*.md")])
_SPAN = re.compile(r"`(modelseal [^`\n]+)`")
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """What stands in code spans and in the lines of code blocks."""
    found = _SPAN.findall(text)
    for block in _FENCE.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        found += [line.strip().removeprefix("$ ") for line in lines if "modelseal " in line]
    return [each for each in found if each.startswith("modelseal ")]


def problem(line: str) -> str | None:
    """Why ``line`` is no command of ours; None when it is one."""
    words = shlex.split(line, comments=True)[1:]
    command, name = get_command(build()), "modelseal"
    while getattr(command, "commands", None) and words:
        if words[0].startswith("-"):
            break
        if words[0] not in command.commands:
            return f"{name} has no {words[0]}"
        name, command = f"{name} {words[0]}", command.commands[words[0]]
        words = words[1:]
    known = {option for param in command.params for option in param.opts} | {"--help"}
    for word in words:
        if word in ("--", "&&", "|", ">"):
            break
        option = word.split("=")[0]
        if option.startswith("-") and option != "-" and option not in known:
            return f"{name} has no option {option}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_the_page_exists(page: Path) -> None:
    wrong = {line: why for line in commands(page.read_text("utf-8")) if (why := problem(line))}
    assert wrong == {}


def test_a_command_or_option_that_does_not_exist_is_found() -> None:
    assert problem("modelseal keys rotate kek --home shop") is None
    assert problem("modelseal keys turn kek") == "modelseal keys has no turn"
    assert problem("modelseal keys rotate kek --fast") == (
        "modelseal keys rotate kek has no option --fast"
    )


def test_key_loss_names_a_command_for_every_key() -> None:
    """Each row of the table says for both misfortunes what to type or that nothing is needed."""
    page = (ROOT / "docs" / "key-loss.md").read_text("utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| **")]
    assert len(rows) >= 15
    for row in rows:
        assert len(row) == 4, row[0]
        assert "`modelseal " in row[2] + row[3] or "The same" in row[3], row[0]
    verbs = ("root", "signing", "kek", "sealing", "recovery", "passphrase", "tls")
    assert all(f"`modelseal keys rotate {verb}" in page for verb in verbs)
