"""``modelseal attest bundle``: what vendors say of their hardware, for sites without a network."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelseal.cli import context, files, options, tables, talk
from modelseal.errors import Misuse

if TYPE_CHECKING:
    from modelseal.trust import Trust

app = typer.Typer(no_args_is_help=True, help="What vendors say, for sites without a network.")
_MAX_FILE_BYTES = 16 << 20
_FOLDER = Path("server") / "endorsements"

Site = Annotated[
    Path | None,
    typer.Option(
        "--to",
        help="The folder that keeps the site's bundle (default: that of the workspace's server).",
        readable=False,
    ),
]


@app.command()
def create(
    items: Annotated[
        list[Path],
        typer.Argument(
            help="Files or folders: certificates, revocation lists, collateral, status lists.",
            readable=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle.", readable=False)],
    days: Annotated[int, typer.Option("--days", help="How long it is valid (1 to 180).")] = 30,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Sign files into a bundle. Its number is one more than the last bundle's."""
    from modelseal.desk import endorsing

    found = _files(items)
    with context.workspace(home) as desk, files.whole(output) as out:
        made, data = endorsing.create(desk, found, days=days, now=datetime.now(UTC))
        out.write(data)
    answer = {"path": output, **endorsing.shown(made)}

    def human() -> None:
        _tell(answer)
        talk.say(f"Next: modelseal attest bundle import {shlex.quote(str(output))}")

    talk.answer(answer, human, as_json=json)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="The bundle.", readable=False)],
    to: Site = None,
    trust: options.Trust = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Put a bundle in force here. One that is older than the last seen is refused."""
    from modelseal.desk import endorsing

    pinned = _trust(trust, home)
    folder = to if to is not None else context.home_of(home) / _FOLDER
    with files.about(path):
        taken = endorsing.take_in(folder, files.read(path), pinned, datetime.now(UTC))
    answer = {"path": folder / endorsing.BUNDLE, **endorsing.shown(taken)}
    talk.answer(answer, lambda: _tell(answer), as_json=json)


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="The bundle.", readable=False)],
    trust: options.Trust = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """What is in a bundle, once its signature and validity hold."""
    from modelseal.desk import endorsing

    pinned = _trust(trust, home)
    with files.about(path):
        found = endorsing.check(files.read(path), pinned, datetime.now(UTC))
    answer = {"path": path, **endorsing.shown(found)}
    talk.answer(answer, lambda: _tell(answer), as_json=json)


def _trust(trust: Path | None, home: Path | None) -> Trust:
    path = trust if trust is not None else context.home_of(home) / "trust.json"
    with files.about(path):
        from modelseal import trust as trusts

        return trusts.parse(files.read(path))


def _files(items: list[Path]) -> list[tuple[str, bytes]]:
    """Name and bytes of every file named or lying in a folder named; names must differ."""
    paths: list[Path] = []
    for item in items:
        with files.about(item):
            inner = sorted(p for p in item.iterdir() if p.is_file()) if item.is_dir() else [item]
        paths.extend(inner)
    names = [path.name for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Misuse(f"two files of the name {twice[0]}")
    return [(path.name, files.read(path, _MAX_FILE_BYTES)) for path in paths]


def _tell(answer: dict[str, Any]) -> None:
    tables.pairs([(name, value) for name, value in answer.items() if name != "items"])
    talk.write("\n")
    tables.table(
        "Files",
        ("name", "size", "SHA-256"),
        [(i["name"], f"{i['size_bytes']:,} B", i["sha256"]) for i in answer["items"]],
    )
