"""The whole command line, one noun a file."""

from __future__ import annotations

from typing import Annotated

import typer

from modelseal.cli import (
    audit,
    catalog,
    daily,
    device,
    doctor,
    keys,
    lease,
    license,
    model,
    plan,
    server,
    workspace,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Give an AI model to customers without losing it.",
)


def _version(asked: bool) -> None:
    if asked:
        from modelseal import __version__
        from modelseal.cli import talk

        talk.write(f"modelseal {__version__}\n")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Give an AI model to customers without losing it."""


for _verb in (workspace.init, workspace.seal, workspace.inspect, workspace.verify):
    app.command(rich_help_panel="Publisher")(_verb)
for _verb in (daily.activate, daily.deactivate, daily.status, daily.pull):
    app.command(rich_help_panel="Device")(_verb)
app.command(
    rich_help_panel="Device",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)(daily.run)
app.command(rich_help_panel="Device")(doctor.doctor)
for _name, _noun in (
    ("model", model.app),
    ("plan", plan.app),
    ("license", license.app),
    ("device", device.app),
    ("lease", lease.app),
    ("keys", keys.app),
    ("catalog", catalog.app),
    ("audit", audit.app),
    ("server", server.app),
):
    app.add_typer(_noun, name=_name, rich_help_panel="Nouns")
