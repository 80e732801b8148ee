"""The verbs of every day on a device: activate, deactivate, status, pull, run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelseal.cli import context, options, standing, tables, talk
from modelseal.errors import Misuse

if TYPE_CHECKING:
    from modelseal.client import Client

Key = Annotated[
    str | None,
    typer.Argument(metavar="KEY", help="The license key, or - to read it from standard input."),
]


def activate(
    key: Key = None,
    replace: Annotated[
        str | None, typer.Option("--replace", help="Take over the seat of this device.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="A name for this device, shown to seat holders.")
    ] = None,
    eula: Annotated[
        str | None,
        typer.Option("--eula", help="Accept the agreement: `accept`, or the digest you have read."),
    ] = None,
    switch: Annotated[
        bool,
        typer.Option("--switch", help="Give back the seat of another license held here first."),
    ] = False,
    device_key: Annotated[
        str | None,
        typer.Option(
            "--device-key", help="Where a new device key is made: tpm2: for this computer's TPM."
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Only show what would be sent about this computer."),
    ] = False,
    app: options.App = None,
    server: options.DeviceServer = None,
    trust: options.Trust = None,
    ca: options.Ca = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Enter a license key once. From then on the app works, offline too."""
    if explain:
        with context.client(state, app, server, trust, ca) as client:
            shown = client.traits()
        talk.answer({"traits": shown}, lambda: standing.tell_traits(shown), as_json=json)
        return
    text = talk.ask_secret("License key") if key in (None, "-") else key
    if not text:
        raise Misuse("no license key was given")
    with context.client(state, app, server, trust, ca, device_key) as client:
        accepted = _accepted(client, text) if eula == "accept" else eula
        with talk.progress("", quiet=json) as bar:
            client.activate(
                text, eula=accepted, replace=replace, label=label, switch=switch, on_progress=bar
            )
        status = client.status()
    talk.answer(status, lambda: standing.tell(status), as_json=json)


def _accepted(client: Client, key: str) -> str | None:
    """The digest of the agreement that is accepted: the one the app ships, else the plan's own.

    None when there is none to accept.
    """
    shipped = client.config.eula_digest
    if shipped is not None:
        return shipped
    terms = client.lookup(key).eula
    if terms is None:
        return None
    talk.said("accepted", digest=terms.digest, uri=terms.uri)
    return terms.digest


def deactivate(
    app: options.App = None,
    server: options.DeviceServer = None,
    trust: options.Trust = None,
    ca: options.Ca = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Give the seat back and erase keys and lease from this device."""
    with context.client(state, app, server, trust, ca) as client:
        returned = client.deactivate()
    talk.answer(
        returned,
        lambda: talk.said("returned", seat_free_at=talk.plain(returned.seat_free_at)),
        as_json=json,
    )


def status(
    app: options.App = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Where this device stands. License, lease, days left, level, limits."""
    with context.client(state, app) as client:
        found = client.status()
    talk.answer(found, lambda: standing.tell(found), as_json=json)


def pull(
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder for the models.", readable=False)
    ] = None,
    app: options.App = None,
    server: options.DeviceServer = None,
    trust: options.Trust = None,
    ca: options.Ca = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Download all granted models, sealed. Each chunk is verified; resumes where it stopped."""
    with (
        context.client(state, app, server, trust, ca) as client,
        talk.progress("", quiet=json) as bar,
    ):
        pulled = client.pull(to=to, on_progress=bar)

    def human() -> None:
        tables.table(
            "Models",
            ("file", "model", "release", "size", "done"),
            [(p.path, p.model, p.release, f"{p.size_bytes:,} B", p.outcome) for p in pulled.models],
        )
        if pulled.not_granted:
            talk.said("not_granted", names=pulled.not_granted)

    talk.answer(pulled, human, as_json=json)


def run(
    program: Annotated[
        list[str] | None, typer.Argument(metavar="-- PROGRAM...", help="The program to run.")
    ] = None,
    isolated: Annotated[
        bool,
        typer.Option(
            "--isolated",
            help="Start it without foreign import paths, preloaded libraries and tracing hooks.",
        ),
    ] = False,
    app: options.App = None,
    state: options.State = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", help="Where exit code, refusals and findings go as JSON.", readable=False
        ),
    ] = None,
) -> int:
    """Run a program unchanged. The sealed models it opens are unlocked in memory."""
    from modelseal.runtime import run as runner

    if not program:
        raise Misuse("name the program behind --, for example: modelseal run -- python app.py")
    return runner.run(program, state=state, app=app, isolated=isolated, report=report)
