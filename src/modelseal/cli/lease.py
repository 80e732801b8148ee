"""``modelseal lease``: the right to run without contact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelseal.cli import carry, context, files, options, standing, tables, talk
from modelseal.errors import Misuse

if TYPE_CHECKING:
    from modelseal.client.airgap import RequestFile

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
    talk.answer(found, lambda: standing.tell(found), as_json=json)


Out = Annotated[
    Path | None, typer.Option("-o", "--output", help="The file to write.", readable=False)
]
Qr = Annotated[bool, typer.Option("--qr", help="Print numbered QR codes.")]
QrOut = Annotated[
    Path | None,
    typer.Option("--qr-out", help="A new folder for the QR codes as images.", readable=False),
]
Svg = Annotated[bool, typer.Option("--svg", help="Images as SVG instead of PNG.")]


@app.command()
def request(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="LICENSE_KEY",
            help="The license key of an activation, or - to be asked for it; none to renew.",
        ),
    ] = None,
    next_: Annotated[
        int, typer.Option("--next", help="So many leases ahead (0 to 64), each opened by a code.")
    ] = 0,
    eula: Annotated[
        str | None,
        typer.Option("--eula", help="Accept the agreement: `accept`, or the digest you have read."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="A name for this device, shown to seat holders.")
    ] = None,
    replace: Annotated[
        str | None, typer.Option("--replace", help="Take over the seat of this device.")
    ] = None,
    show_lease: Annotated[
        bool,
        typer.Option("--show-lease", help="Show the lease to a server that was restored."),
    ] = False,
    output: Out = None,
    qr: Qr = False,
    qr_out: QrOut = None,
    svg: Svg = False,
    app: options.App = None,
    server: options.DeviceServer = None,
    trust: options.Trust = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Write a request without a network. It asks to activate, else to renew."""
    outputs = carry.Outputs(output, qr_out, shown=qr, svg=svg)
    outputs.check()
    text = talk.ask_secret("License key") if key == "-" else key
    if text == "":
        raise Misuse("no license key was given")
    with context.client(state, app, server, trust) as client:
        accepted = eula
        if eula == "accept":
            accepted = client.config.eula_digest
            if accepted is None:
                raise Misuse("the app names no agreement; give the digest you have read")
        made = client.air_gap.request(
            text, eula=accepted, replace=replace, label=label, next_count=next_,
            show_lease=show_lease,
        )  # fmt: skip
    lines = outputs.write(made.token, "request", quiet=json)

    def human() -> None:
        talk.said("request_written", path=output, op=made.op)
        if made.again:
            talk.said("request_again")

    talk.answer(_written(made, output, qr_out, lines), human, as_json=json)


@app.command("return")
def return_(
    output: Out = None,
    qr: Qr = False,
    qr_out: QrOut = None,
    svg: Svg = False,
    app: options.App = None,
    trust: options.Trust = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Write the request that gives the seat back. Keys and lease are erased first."""
    outputs = carry.Outputs(output, qr_out, shown=qr, svg=svg)
    outputs.check()
    with context.client(state, app, None, trust) as client:
        made = client.air_gap.give_back()
    lines = outputs.write(made.token, "return", quiet=json)
    talk.answer(
        _written(made, output, qr_out, lines),
        lambda: talk.said("return_written", path=output),
        as_json=json,
    )


@app.command()
def respond(
    request: Annotated[
        Path,
        typer.Argument(
            metavar="REQUEST",
            help="The request, or its scanned codes, one a line; - for input.",
            readable=False,
        ),
    ],
    output: Out = None,
    qr: Qr = False,
    qr_out: QrOut = None,
    svg: Svg = False,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Answer a device's request file. Runs where the workspace is; needs no network."""
    from modelseal.admin.airgap import MAX_REQUEST_BYTES

    outputs = carry.Outputs(output, qr_out, shown=qr, svg=svg)
    outputs.check()
    data = carry.read(request, max_bytes=MAX_REQUEST_BYTES)
    with context.admin(home, server, ca) as api, files.about(request):
        made = api.respond(data)
    lines = outputs.write(made.response, "response", quiet=json)
    shown = {name: value for name, value in talk.plain(made).items() if name != "response"}
    told = {**shown, "path": output}
    told["next_count"] = made.next_count or None
    name = "responded"
    if made.code is not None:
        name = "responded_refused"
    elif made.op == "return":
        name = "responded_returned"
    talk.answer(
        {**shown, "path": output, "size_bytes": len(made.response), "parts": lines},
        lambda: talk.said(name, **told),
        as_json=json,
    )


@app.command("import")
def import_(
    response: Annotated[
        Path | None,
        typer.Argument(
            metavar="RESPONSE",
            help="The response, or its scanned codes, one a line; - for input.",
            readable=False,
        ),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option("--code", help="The code that support read out, or - to be asked for it."),
    ] = None,
    app: options.App = None,
    server: options.DeviceServer = None,
    trust: options.Trust = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Take in what the publisher answered. Or the code of a lease made ahead."""
    from modelseal.license import air_gap

    if (response is None) == (code is None):
        raise Misuse("name the response, or the code with --code")
    with context.client(state, app, server, trust) as client:
        if response is not None:
            data = carry.read(response, max_bytes=air_gap.MAX_BYTES)
            with files.about(response):
                found = client.air_gap.import_response(data)
        else:
            found = client.air_gap.import_code(
                talk.ask_secret("Code") if code == "-" else str(code)
            )
    name = "imported_return" if found.op == "return" else "imported"
    told = {**talk.plain(found), "next_count": found.next_count or None}
    talk.answer(found, lambda: talk.said(name, **told), as_json=json)


@app.command()
def code(
    device: Annotated[str, typer.Argument(metavar="DEVICE_ID", help="The device id (dev_…).")],
    further: Annotated[
        bool,
        typer.Option("--further", help="The one after the code told last, though it is not due."),
    ] = False,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """The code of a device's next lease, to read out. The chain moves to it."""
    with context.admin(home, server, ca) as api:
        found = api.lease_code(device, further)

    def human() -> None:
        talk.write(found.code + "\n")
        told = talk.plain(found)
        talk.said("code_given", **told)
        if found.again:
            talk.said("code_again", **told)

    talk.answer(found, human, as_json=json)


def _written(
    made: RequestFile, output: Path | None, images: Path | None, lines: list[str]
) -> dict[str, Any]:
    """What a program is told of a request: everything but the request itself."""
    return {
        "op": made.op,
        "device_id": made.device_id,
        "seq": made.seq,
        "again": made.again,
        "next_count": made.next_count,
        "size_bytes": len(made.token),
        "path": output,
        "qr_out": images,
        "parts": lines,
    }
