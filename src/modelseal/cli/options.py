"""The options every noun shares, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelseal.errors import Misuse
from modelseal.types import Level, MemoryProtection

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", envvar="MODELSEAL_HOME", help="The publisher's workspace.", readable=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        help="Use this server (https://…) with `modelseal login` or the token in"
        " MODELSEAL_TOKEN, instead of the workspace's own half.",
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", help="Trust this certificate authority (PEM) for HTTPS.", readable=False),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", envvar="MODELSEAL_STATE", help="The device's state folder.", readable=False
    ),
]
App = Annotated[
    Path | None,
    typer.Option("--app", help="The app's folder or its modelseal.toml.", readable=False),
]
DeviceServer = Annotated[str | None, typer.Option("--server", help="The license server.")]
Trust = Annotated[
    Path | None, typer.Option("--trust", help="The publisher's trust.json.", readable=False)
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit log.")]
EntitlementList = Annotated[
    list[str] | None,
    typer.Option(
        "--entitlement", help="What a license must grant: a+b means both, repeated means either."
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="Every page, not only the first.")]


def level(text: str) -> Level:
    """The assurance level ``L0`` to ``L5`` (or 0 to 5); ``Misuse``."""
    number = text.upper().removeprefix("L")
    if number not in ("0", "1", "2", "3", "4", "5"):
        raise Misuse("an assurance level is one of L0 to L5")
    return Level(int(number))


def protection(text: str) -> MemoryProtection:
    """The memory protection that a model demands; ``Misuse``."""
    if text not in ("locked", "secret"):
        raise Misuse("--memory is locked or secret")
    return MemoryProtection(text)
