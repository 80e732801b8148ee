"""``modelseal hook``: the hook of ``modelseal run`` in a virtual environment for good."""

from __future__ import annotations

from typing import Annotated

import typer

from modelseal.cli import options, talk

app = typer.Typer(no_args_is_help=True, help="The hook of `run` in a virtual environment.")
Python = Annotated[
    str | None,
    typer.Option("--python", help="A Python of that environment (default: modelseal's own)."),
]


@app.command()
def install(python: Python = None, json: options.Json = False) -> None:
    """Let every program of a virtual environment open sealed models."""
    from modelseal.runtime import installed

    found = installed.install(python)
    words = "hook_installed" if found.changed else "hook_there"
    talk.answer(found._asdict(), lambda: talk.said(words, path=found.path), as_json=json)


@app.command()
def remove(python: Python = None, json: options.Json = False) -> None:
    """Take the hook out again."""
    from modelseal.runtime import installed

    found = installed.remove(python)
    words = "hook_removed" if found.changed else "hook_not_there"
    talk.answer(found._asdict(), lambda: talk.said(words, path=found.path), as_json=json)
