"""``modelseal lease``: the right to run without contact."""

from __future__ import annotations

import typer

from modelseal.cli import context, options, tables, talk
from modelseal.cli.daily import tell_status

app = typer.Typer(no_args_is_help=True, help="The right to run without contact.")


@app.command()
def show(
    app: options.App = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """The lease in force, its end and what it grants."""
    with context.client(state, app) as client:
        found = client.status()
    lease = {
        "state": found.state,
        "entitlements": found.entitlements,
        **(talk.plain(found.lease) or {}),
    }
    talk.answer(lease, lambda: tables.pairs(list(talk.plain(lease).items())), as_json=json)


@app.command()
def renew(
    app: options.App = None,
    server: options.DeviceServer = None,
    trust: options.Trust = None,
    ca: options.Ca = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Ask for the next lease now; takes over a changed plan."""
    with context.client(state, app, server, trust, ca) as client:
        client.renew()
        found = client.status()
    talk.answer(found, lambda: tell_status(found), as_json=json)
