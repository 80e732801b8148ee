"""``modelseal audit``: the append-only log of every act."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelseal.cli import context, options, tables, talk

app = typer.Typer(no_args_is_help=True, help="The append-only log of every act.")


@app.command("list")
def list_(
    subject: Annotated[
        str | None, typer.Option("--subject", help="Only events of this license, device, … id.")
    ] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """Events in the order of the log."""
    with context.admin(home, server, ca) as api:
        items, following = context.pages(
            lambda cursor: api.list_events(cursor, subject), everything=everything
        )
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table(
            "Audit log",
            ("#", "at", "event", "actor", "subjects", "reference"),
            [
                (e.index, e.at, e.kind, e.actor, list(e.subjects.values()), e.reference)
                for e in items
            ],
        ),
        as_json=json,
    )


@app.command()
def export(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The file to write; Parquet by .parquet, else JSON Lines.",
            readable=False,
        ),
    ],
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """The whole log with its signed checkpoint. `audit verify` proves it anywhere."""
    from modelseal.cli import audit_table, files

    count = 0
    with context.admin(home, server, ca) as api, files.whole(output) as out:
        if output.suffix == audit_table.SUFFIX:
            count = audit_table.write(api.export_events(), out)
        else:
            for line in api.export_events():
                out.write(line if line.endswith(b"\n") else line + b"\n")
                count += 1
    talk.answer(
        {"path": output, "lines": count},
        lambda: talk.said("exported", count=count, path=output),
        as_json=json,
    )


@app.command()
def verify(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[EXPORT]", help="An export; default: the workspace.", readable=False
        ),
    ] = None,
    witness: Annotated[
        Path | None,
        typer.Option(
            "--witness", help="An older checkpoint that must be contained.", readable=False
        ),
    ] = None,
    trust: options.Trust = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Prove the log. No event was altered, removed, moved or added; offline on an export."""
    from modelseal.cli import audit_check

    if path is None:
        with context.admin(home, server, ca) as api:
            lines = list(api.export_events())
    else:
        lines = audit_check.read_lines(path)
    trust_path = trust or context.home_of(home) / "trust.json"
    proved = audit_check.verify(lines, trust_path, witness)
    talk.answer(
        proved,
        lambda: talk.said("log_holds", size=proved["size"], root_hash=proved["root_hash"]),
        as_json=json,
    )
