"""``modelseal keys rotate``, ``move`` and ``retire``: other keys in place of the ones in force."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelseal.cli import context, options, tables, talk

if TYPE_CHECKING:
    from modelseal.admin import AdminApi, RewrappedKeys
    from modelseal.desk.rotating import Rotated
    from modelseal.desk.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="Other keys in place of the ones in force.")
move = typer.Typer(no_args_is_help=True, help="A key to another key provider.")


class SigningUse(StrEnum):
    """What ``rotate signing --key`` names."""

    LICENSE = "license"
    LEASE = "lease"
    STATUS = "status"
    CHECKPOINT = "checkpoint"
    ATTESTATION = "attestation"
    PUBLISHER = "publisher"
    ENDORSEMENT = "endorsement"


AtOnce = Annotated[
    bool,
    typer.Option(
        "--at-once",
        help="The old keys end now: after a theft. Devices that hear of it renew before they open.",
    ),
]


@app.command()
def signing(
    key: Annotated[
        list[SigningUse] | None,
        typer.Option(
            "--key", help="Only this use; repeatable. Default: all but publisher and endorsement."
        ),
    ] = None,
    at_once: AtOnce = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Key URI of a token on the server's host that makes and keeps the new keys,"
            " like pkcs11:token=shop?module-path=...",
        ),
    ] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """New signing keys. The old ones end when the last lease they signed has ended."""
    from modelseal.desk import rotating
    from modelseal.trust import Use

    uses = [Use(each.value) for each in key] if key else list(rotating.SIGNING)
    with _both(home, server, ca) as (desk, api):
        done = rotating.rotate(desk, api, uses, at_once=at_once, to=to)

    def human() -> None:
        _tell(done, home)
        if Use.PUBLISHER in uses:
            talk.say(
                "  Models that the old publisher key signed go on to open. After a theft, reseal"
            )
            talk.say(
                "  and publish them, withdraw the old releases, then: modelseal keys retire ID"
            )

    talk.answer(done, human, as_json=json)


@app.command()
def sealing(
    at_once: AtOnce = False,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """A new sealing key. License and data keys are sealed to it on their way to the server."""
    from modelseal.desk import rotating
    from modelseal.trust import Use

    with _both(home, server, ca) as (desk, api):
        done = rotating.rotate(desk, api, [Use.SEALING], at_once=at_once)
    talk.answer(done, lambda: _tell(done, home), as_json=json)


@app.command()
def root(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """A next root with new keys. It is signed by the old and the new; apps follow by it."""
    from modelseal.desk import rotating

    with _both(home, server, ca) as (desk, api):
        done = rotating.rotate_root(desk, api)

    def human() -> None:
        _tell(done, home)
        talk.say(
            "  Apps go on with the trust.json they have; ship the new one with the next release."
        )

    talk.answer(done, human, as_json=json)


@app.command()
def kek(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """A fresh key-encryption key. Stored keys are rewrapped, no sealed model changes."""
    _rewrap(None, home, server, ca, json=json)


@app.command()
def recovery(home: options.Home = None, json: options.Json = False) -> None:
    """A new key for the recovery entry of models sealed from now on."""
    from modelseal.desk import rotating

    with context.workspace(home) as desk:
        done = rotating.rotate_recovery(desk)

    def human() -> None:
        _tell(done, home)
        talk.say("  Models sealed before go on with the old key until you reseal them.")

    talk.answer(done, human, as_json=json)


@app.command()
def passphrase(home: options.Home = None, json: options.Json = False) -> None:
    """A new recovery passphrase, on a new kit. Old backups keep the old one."""
    from modelseal.desk import backup

    with context.workspace(home) as desk:
        done = backup.rotate_passphrase(desk)

    def human() -> None:
        talk.say(f"The new recovery passphrase is in {done.kit}. Print it, then remove the file.")
        _remind(home)
        talk.say("  Destroy the old backups: they open with the old passphrase for ever.")

    talk.answer(done, human, as_json=json)


@app.command()
def tls(
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help="A name or address of the server; repeatable. Default: as now."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="Write to this folder, for a server half that is elsewhere.",
            readable=False,
        ),
    ] = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """A new key and certificate for HTTPS. The workspace's own authority signs it."""
    from modelseal.desk import certifying

    with context.workspace(home) as desk:
        done = certifying.rotate_tls(desk, hosts=host or (), output=output)

    def human() -> None:
        talk.say(f"New certificate for {', '.join(done.hosts)}: {done.certificate}, {done.key}.")
        if output is not None:
            talk.say("  Copy both files to server/tls of the workspace on the server's host.")
        talk.say("  A server that runs takes it within seconds.")

    talk.answer(done, human, as_json=json)


@move.command("kek")
def move_kek(
    to: Annotated[
        str,
        typer.Option(
            "--to", help="Key URI on the server's host, like pkcs11:token=shop;object=kek?..."
        ),
    ],
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """The key-encryption key to another place. A fresh key there, rows rewrapped."""
    _rewrap(to, home, server, ca, json=json)


def retire(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, or its beginning.")],
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """End a listed key now. Models that only a retired publisher key signed open no longer."""
    from modelseal.desk import rotating

    with _both(home, server, ca) as (desk, api):
        done = rotating.retire(desk, api, key_id)
    talk.answer(done, lambda: _tell(done, home), as_json=json)


def _rewrap(
    to: str | None, home: Path | None, server: str | None, ca: Path | None, *, json: bool
) -> None:
    with context.admin(home, server, ca) as api:
        done = api.rotate_kek(to)

    def human() -> None:
        talk.write(f"{done.kek}\n")
        talk.say(
            f"{done.kek} wraps everything: {done.rows} rows and {done.files} key files rewrapped."
        )
        _tell_old(done)
        _remind(home)

    talk.answer(done, human, as_json=json)


def _tell_old(done: RewrappedKeys) -> None:
    for uri in done.previous:
        if uri in done.kept:
            talk.say(f"  {uri} wraps nothing any more; its provider leaves erasing it to you.")
        else:
            talk.say(f"  {uri} is erased here; copies of the disk may still hold it.")


@contextmanager
def _both(
    home: Path | None, server: str | None, ca: Path | None
) -> Iterator[tuple[Workspace, AdminApi]]:
    with context.workspace(home) as desk, context.admin(home, server, ca) as api:
        yield desk, api


def _tell(done: Rotated, home: Path | None) -> None:
    tables.table(
        "Keys",
        ("use", "algorithm", "id", "state", "ends"),
        [(key.use, key.alg, key.kid, key.state, key.not_after) for key in done.keys],
    )
    if done.resumed:
        talk.say("An interrupted rotation was finished; run it again for a further one.")
    talk.say(
        f"In force: root {done.root_version}, key list {done.keys_version}, in trust.json too."
    )
    _remind(home)


def _remind(home: Path | None) -> None:
    talk.say(
        "  Backups made before this are old. Make a new one:"
        f" modelseal keys backup FILE{context.home_option(home)}"
    )
