"""``modelseal catalog``: the signed list of what is published."""

from __future__ import annotations

from typing import Annotated

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


@app.command()
def sign(
    everything: Annotated[
        bool, typer.Option("--all", help="Every document, not only those half used up.")
    ] = False,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Sign anew what ages. Root, targets and key list; the server signs the rest itself."""
    from modelseal.desk import rotating

    with context.workspace(home) as desk, context.admin(home, server, ca) as api:
        done = rotating.sign_catalog(desk, api, everything=everything)
        state = api.catalog_state()
    roles = [state.root, state.targets, state.keys, state.snapshot, state.timestamp]
    answer = {
        "signed": done.signed,
        "roles": [
            {"role": role.role, "version": role.version, "expires_at": role.expires_at}
            for role in roles
        ],
    }

    def human() -> None:
        names = ", ".join(done.signed) or "nothing was due"
        talk.say(f"Signed anew: {names}.")
        tables.table(
            "Catalog",
            ("role", "version", "ends"),
            [(role.role, role.version, role.expires_at) for role in roles],
        )

    talk.answer(answer, human, as_json=json)
