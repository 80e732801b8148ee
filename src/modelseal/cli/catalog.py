"""``modelseal catalog``: the signed list of what is published."""

from __future__ import annotations

import typer

from modelseal.cli import context, options, tables, talk

app = typer.Typer(no_args_is_help=True, help="The signed list of what is published.")


@app.command("list")
def list_(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """The signed roles with their versions and ends."""
    with context.admin(home, server, ca) as api:
        state = api.catalog_state()
    roles = [state.root, state.targets, state.keys, state.snapshot, state.timestamp]
    rows = [
        {
            "role": role.role,
            "version": role.version,
            "expires_at": role.expires_at,
            "size_bytes": len(role.data),
        }
        for role in roles
    ]
    talk.answer(
        {"roles": rows},
        lambda: tables.table(
            "Catalog",
            ("role", "version", "ends", "size"),
            [(r["role"], r["version"], r["expires_at"], f"{r['size_bytes']:,} B") for r in rows],
        ),
        as_json=json,
    )
