"""``modelseal server``: run the license server and look after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from modelseal.cli import context, options, relay, spans, tables, talk
from modelseal.errors import Misuse

app = typer.Typer(no_args_is_help=True, help="Run the license server and look after it.")
token = typer.Typer(no_args_is_help=True, help="Access tokens for people and programs.")
app.add_typer(token, name="token")
app.add_typer(relay.app, name="relay")
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="sqlite:///FILE or postgresql://USER@HOST/NAME, instead of the one configured.",
    ),
]


@app.command()
def run(
    listen: Annotated[
        str | None, typer.Option("--listen", help="Address and port (127.0.0.1:8443).")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="The address customers use.")
    ] = None,
    behind_proxy: Annotated[
        list[str] | None,
        typer.Option("--behind-proxy", help="CIDR of the ingress; permits plain HTTP from it."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="So many processes share the address (1).", metavar="N"),
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", help="text, or json: one object a line on stderr.")
    ] = None,
    sign_in_issuer: Annotated[
        str | None,
        typer.Option("--sign-in-issuer", help="People sign in at this OpenID Connect provider."),
    ] = None,
    sign_in_client_id: Annotated[
        str | None, typer.Option("--sign-in-client-id", help="As this client of the provider.")
    ] = None,
    sign_in_role: Annotated[
        list[str] | None,
        typer.Option(
            "--sign-in-role", help="GROUP=ROLE: who gets which role; repeat.", metavar="GROUP=ROLE"
        ),
    ] = None,
    database: Database = None,
    home: options.Home = None,
) -> None:
    """Serve until stopped (Ctrl-C or SIGTERM)."""
    from modelseal.cli import Ended
    from modelseal.server import serve

    place = context.home_of(home)
    say = _logging(place, log)
    sign_in = (sign_in_issuer, sign_in_client_id, ";".join(sign_in_role or ()))
    try:
        with _sign_in(*sign_in):
            serve(
                place,
                listen=listen,
                public_url=public_url,
                behind_proxy=behind_proxy or [],
                workers=workers,
                database=database,
                ask=context.ask_passphrase,
                on_ready=lambda url: say("listening", url=url),
            )
    except (KeyboardInterrupt, Ended):
        say("stopped")


@contextmanager
def _sign_in(*wanted: str | None) -> Iterator[None]:
    """Inside, the environment says what the flags said: every worker process reads it there."""
    import os

    from modelseal.server.services import signin

    before = dict(os.environ)
    said = zip(signin.SETTINGS, wanted, strict=True)
    os.environ.update({signin.ENVIRONMENT + name: value for name, value in said if value})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _logging(place: Path, wanted: str | None) -> Callable[..., None]:
    """The process logs in the form asked for; how it tells a person, which is by that, too."""
    import logging
    import os

    from modelseal import texts
    from modelseal.server import logs
    from modelseal.server.services import config

    form = wanted or os.environ.get("MODELSEAL_LOG") or config.load(place / "server").log
    if form not in logs.FORMS:
        raise Misuse("--log is text or json")
    logs.use("json" if form == "json" else "text")
    if form == "text":
        return talk.said
    log = logging.getLogger("modelseal.server")
    return lambda name, **values: log.info("%s", texts.said(name, **values))


@app.command()
def migrate(
    database: Database = None, home: options.Home = None, json: options.Json = False
) -> None:
    """Bring the database to this release's schema."""
    from modelseal.server import migrate as migrate_store

    version = migrate_store(context.home_of(home), database)
    talk.answer({"schema": version}, lambda: talk.said("schema", version=version), as_json=json)


@app.command()
def backup(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The new backup file.", readable=False)
    ],
    database: Database = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Write the database to one file, while the server runs. Keys: `modelseal keys backup`."""
    from modelseal.cli import files
    from modelseal.server.services import open_server

    place = context.home_of(home)
    with (
        open_server(
            place, ask=context.ask_passphrase, database=database, migrate_store=False
        ) as server,
        files.whole(path) as out,
    ):
        made = server.backup(out)
    talk.answer(
        made,
        lambda: talk.said(
            "store_backed_up", path=path, rows=made.rows, at=talk.plain(made.snapshot_at)
        ),
        as_json=json,
    )


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", readable=False)],
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            help="An export of the lost log (`audit export`): its revocations are done again.",
            readable=False,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Throw away what the database holds now.")
    ] = False,
    database: Database = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Put a backup back. The server is stopped; its devices go on."""
    from modelseal.cli import audit_check, files
    from modelseal.server.services import restore as put_back

    place = context.home_of(home)
    lost = None if events is None else audit_check.read_lines(events)
    with files.reading(path) as file, files.about(path):
        done = put_back(
            place, file, lost=lost, replace=replace, database=database, ask=context.ask_passphrase
        )

    def human() -> None:
        at = talk.plain(done.snapshot_at)
        talk.said("store_restored", rows=done.rows, at=at, done=done.again.done)
        if events is None:
            talk.said("store_restored_without_events", at=at)
        if done.again.unknown:
            talk.said("store_restored_unknown", count=done.again.unknown)
        for license_id in done.again.rekey:
            talk.said("store_restored_rekey", license=license_id)

    talk.answer(done, human, as_json=json)


@token.command("create")
def token_create(
    role: Annotated[
        str, typer.Option("--role", help="owner, support, auditor, automation or relay.")
    ],
    expires: Annotated[str, typer.Option("--expires", help="For example 90d.")] = "90d",
    label: Annotated[str, typer.Option("--label", help="Whose it is.")] = "",
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Make a token; it is shown this once."""
    from modelseal.admin import Role

    try:
        wanted = Role(role)
    except ValueError:
        raise Misuse(f"--role knows {', '.join(Role)}") from None
    with context.admin(home, server, ca) as api:
        made = api.create_token(wanted, spans.seconds(expires), label)

    def human() -> None:
        talk.write(f"{made.token}\n")
        ends = talk.plain(made.expires_at)
        talk.said("token_made", token_id=made.token_id, role=role, ends=ends)

    talk.answer(made, human, as_json=json)


@token.command("list")
def token_list(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """Tokens without their secrets."""
    with context.admin(home, server, ca) as api:
        items, following = context.pages(api.list_tokens, everything=everything)
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table(
            "Tokens",
            ("token", "role", "label", "expires", "revoked"),
            [(t.token_id, t.role, t.label, t.expires_at, t.revoked_at) for t in items],
        ),
        as_json=json,
    )


@token.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN_ID")],
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """The token opens nothing from now on."""
    with context.admin(home, server, ca) as api:
        record = api.revoke_token(token_id)
    talk.answer(record, lambda: talk.said("token_revoked", token_id=token_id), as_json=json)
