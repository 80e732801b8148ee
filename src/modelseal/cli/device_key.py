"""``modelseal keys move device`` and ``keys approve``: the keys of this computer's TPM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelseal.cli import context, options, standing, talk
from modelseal.errors import Misuse, OutputExists


def move_device(
    to: Annotated[str, typer.Option("--to", help="tpm2: for this computer's TPM.")],
    app: options.App = None,
    server: options.DeviceServer = None,
    trust: options.Trust = None,
    ca: options.Ca = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """This device's key to its TPM. A new key there, certified by the old one; no seat is spent."""
    with context.client(state, app, server, trust, ca) as client:
        status = client.move_device(to)
    talk.answer(status, lambda: standing.tell(status), as_json=json)


def approve(
    output: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The policy file: KEYFILE.policy.", readable=False),
    ],
    by: Annotated[
        Path, typer.Option("--by", help="The owner's private ES256 key, PEM.", readable=False)
    ],
    pcrs: Annotated[str, typer.Option("--pcrs", help="The registers, like sha256:7,11.")],
    values: Annotated[
        str | None,
        typer.Option("--values", help="SHA-256 over their values, hex. Default: of this computer."),
    ] = None,
    tpm: Annotated[str, typer.Option("--tpm", help="The TPM to read the values from.")] = "",
    json: options.Json = False,
) -> None:
    """Approve a measured state of a computer.

    Keys with an authority then open in it. Earlier approvals in FILE stay. Without FILE beside
    the key, only its first state opens it.
    """
    from modelseal.keys.tpm2 import approving

    done = approving.approve(output, by, pcrs, values=values, tpm=tpm)
    talk.answer(done, lambda: talk.said("approved", **talk.plain(done)), as_json=json)


def authority(
    private: Annotated[
        Path, typer.Argument(metavar="FILE", help="The private key to write, PEM.", readable=False)
    ],
    public: Annotated[
        Path, typer.Option("--public", help="The public key to write, JWK.", readable=False)
    ],
    json: options.Json = False,
) -> None:
    """Make the key that approves measured states. Keep its private half off the computers."""
    from modelseal.keys.tpm2 import approving

    if private == public:
        raise Misuse("the two halves go into two files")
    if public.exists():
        raise OutputExists("the file exists already", path=str(public))
    made = approving.make_authority(private, public)
    talk.answer(made, lambda: talk.said("authority_made", **talk.plain(made)), as_json=json)
