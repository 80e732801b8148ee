"""The whole command line, one noun a file; built as far as one call needs it.

Typer works out every parameter of every command that it is given, which takes longer than most
commands do.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

_VERBS = {
    "init": "workspace",
    "seal": "workspace",
    "inspect": "workspace",
    "verify": "workspace",
    "activate": "daily",
    "deactivate": "daily",
    "status": "daily",
    "pull": "daily",
    "doctor": "doctor",
    "login": "login",
    "logout": "login",
    "run": "daily",
}
_NOUNS = {
    "model": "model",
    "plan": "plan",
    "license": "license",
    "device": "device",
    "lease": "lease",
    "keys": "keys",
    "catalog": "catalog",
    "audit": "audit",
    "server": "server",
    "webhook": "webhook",
    "hook": "hook",
    "app": "recipe",
    "attest": "attest",
}
_SETTINGS = {"run": {"allow_interspersed_args": False}}


def _version(asked: bool) -> None:
    if asked:
        from modelseal import __version__
        from modelseal.cli import talk

        talk.write(f"modelseal {__version__}\n")
        raise typer.Exit


def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Give an AI model to customers without losing it."""


def build(first: str | None = None) -> typer.Typer:
    """The command line; with only the verb or noun ``first`` in it where there is such a one."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Give an AI model to customers without losing it.",
    )
    app.callback()(top)
    known = first in _VERBS or first in _NOUNS
    for name, place in _VERBS.items():
        if not known or name == first:
            verb = getattr(import_module(f"modelseal.cli.{place}"), name)
            app.command(name, context_settings=_SETTINGS.get(name))(verb)
    for name, place in _NOUNS.items():
        if not known or name == first:
            app.add_typer(import_module(f"modelseal.cli.{place}").app, name=name)
    return app
