"""The whole command line, one noun a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from modelseal.cli import (
    attest,
    audit,
    catalog,
    daily,
    device,
    doctor,
    hook,
    keys,
    lease,
    license,
    login,
    model,
    plan,
    recipe,
    server,
    webhook,
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


_VERBS: tuple[tuple[str, Callable[..., object]], ...] = (
    ("init", workspace.init),
    ("seal", workspace.seal),
    ("inspect", workspace.inspect),
    ("verify", workspace.verify),
    ("activate", daily.activate),
    ("deactivate", daily.deactivate),
    ("status", daily.status),
    ("pull", daily.pull),
    ("doctor", doctor.doctor),
    ("login", login.login),
    ("logout", login.logout),
)
for _name, _verb in _VERBS:
    app.command(_name)(_verb)
app.command("run", context_settings={"allow_interspersed_args": False})(daily.run)
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
    ("webhook", webhook.app),
    ("hook", hook.app),
    ("app", recipe.app),
    ("attest", attest.app),
):
    app.add_typer(_noun, name=_name)
