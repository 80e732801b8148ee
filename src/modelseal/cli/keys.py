"""``modelseal keys``: what there is, and getting it back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelseal.cli import context, device_key, options, rotate, tables, talk
from modelseal.errors import Misuse

app = typer.Typer(
    no_args_is_help=True, help="The publisher's keys: list, backup, recovery, rotation."
)
app.add_typer(rotate.app, name="rotate")
app.add_typer(rotate.move, name="move")
rotate.move.command("device")(device_key.move_device)

Passphrase = Annotated[
    str | None,
    typer.Option(
        "--passphrase", help="`-` reads it from standard input; default: ask, or the recovery kit."
    ),
]


@app.command("list")
def list_(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Every key, its use and validity, and what wraps it. Never a private part."""
    from modelseal.desk import keystores

    with context.workspace(home) as desk:
        if server is None:
            keys, stores = desk.list_keys(), keystores.named(desk)
        else:
            with context.admin(home, server, ca) as api:
                known = api.server_keys()
            keys, stores = desk.list_keys(server=known), keystores.named(desk, known)

    def human() -> None:
        tables.table(
            "Keys",
            ("use", "algorithm", "id", "where", "state", "from", "ends"),
            [(k.use, k.alg, k.kid[:16], k.where, k.state, k.not_before, k.not_after) for k in keys],
        )
        tables.table("Wrapped by", ("what", "key URI"), [(each.use, each.uri) for each in stores])

    talk.answer({"items": keys, "key_stores": stores}, human, as_json=json)


@app.command()
def backup(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The backup to write.", readable=False)
    ],
    passphrase: Passphrase = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """All keys in one file. It is encrypted under the recovery passphrase."""
    from modelseal.desk import backup as backups

    with context.workspace(home) as desk:
        made = backups.backup(desk, path, _passphrase(home, passphrase)[0])

    def human() -> None:
        talk.said("backed_up", keys=made.keys, path=path, where=context.home_option(home))
        if made.elsewhere:
            talk.said("backup_elsewhere", count=made.elsewhere)

    talk.answer(made, human, as_json=json)


@app.command("recovery-test")
def recovery_test(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The backup to test.", readable=False)
    ],
    passphrase: Passphrase = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Prove every key in a backup. It is opened in memory; nothing is written."""
    from modelseal.desk import backup as backups

    text, from_kit = _passphrase(home, passphrase)
    with context.workspace(home) as desk:
        proved = backups.recovery_test(path, text, workspace=desk, typed=not from_kit)

    def human() -> None:
        talk.said("backup_good", keys=proved.keys)
        if proved.elsewhere:
            talk.said("backup_elsewhere", count=proved.elsewhere)
        if from_kit:
            talk.said("backup_by_kit")

    talk.answer(proved, human, as_json=json)


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", readable=False)],
    passphrase: Passphrase = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Build a workspace anew from a backup. The folder is empty or not there."""
    from modelseal.desk import backup as backups

    if home is None:
        raise Misuse("name the new workspace with --home DIR")
    restored = backups.restore_backup(path, _passphrase(None, passphrase)[0], home)
    talk.answer(
        restored,
        lambda: talk.said("restored", keys=restored.keys, home=home),
        as_json=json,
    )


app.command("retire")(rotate.retire)
app.command("authority")(device_key.authority)
app.command("approve")(device_key.approve)


def _passphrase(home: Path | None, given: str | None) -> tuple[str, bool]:
    """The passphrase, and whether it came from the kit that is still on the disk."""
    if given not in (None, "-"):
        raise Misuse("a passphrase is never an argument; --passphrase - reads standard input")
    if given is None and home is not None:
        from modelseal.desk import kit

        found = kit.read_passphrase(home)
        if found is not None:
            return found, True
    return talk.ask_secret("Recovery passphrase"), False
