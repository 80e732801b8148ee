"""``modelseal server relay``: the license server's post box in a closed network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelseal.cli import context, files, options, relay_budget, tables, talk
from modelseal.errors import Misuse

if TYPE_CHECKING:
    from modelseal.server.relay.carrying import Line
    from modelseal.server.relay.syncing import Office, Synced

app = typer.Typer(
    no_args_is_help=True, help="Carry questions and answers of a closed network; serve its cache."
)
app.command("budget")(relay_budget.budget)
app.command("budgets")(relay_budget.budgets)
app.command("revoke")(relay_budget.revoke)
app.command("restore")(relay_budget.restore)
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The relay's folder.", readable=False)]
MainServer = Annotated[
    str | None, typer.Option("--server", help="The license server; a token in MODELSEAL_TOKEN.")
]
TrustFile = Annotated[
    Path | None,
    typer.Option(
        "--trust", help="The product's trust.json, for its TLS authority.", readable=False
    ),
]
Models = Annotated[bool, typer.Option("--models/--no-models", help="Bring the sealed models, too.")]


@app.command()
def init(
    folder: Folder,
    trust: Annotated[
        Path, typer.Option("--trust", help="The product's trust.json.", readable=False)
    ],
    json: options.Json = False,
) -> None:
    """Make a relay. It holds no key and decides nothing."""
    from modelseal import trust as trusts
    from modelseal.server.relay import box

    pinned = trusts.parse(files.read(trust))
    about = box.make(
        folder, server=pinned.server_id, product=pinned.product, now=_now(), random=os.urandom
    )
    talk.answer(
        {"relay": about.relay, "server": about.server, "product": about.product},
        lambda: talk.said("relay_made", relay=about.relay, path=folder),
        as_json=json,
    )


@app.command()
def run(
    folder: Folder,
    listen: Annotated[str, typer.Option("--listen", help="Address and port.")] = "127.0.0.1:8445",
) -> None:
    """Serve devices until stopped (Ctrl-C or SIGTERM).

    Beyond this computer it needs DIR/tls/server.pem and DIR/tls/server.key.
    """
    from modelseal.cli import Ended
    from modelseal.server.relay.run import serve

    try:
        serve(folder, listen=listen, on_ready=lambda url: talk.said("listening", url=url))
    except (KeyboardInterrupt, Ended):
        talk.said("stopped")


@app.command()
def sync(
    folder: Folder,
    server: MainServer = None,
    trust: TrustFile = None,
    ca: options.Ca = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Write the file for a courier instead.", readable=False),
    ] = None,
    read: Annotated[
        Path | None,
        typer.Option("--read", help="Take in the file that a courier brought.", readable=False),
    ] = None,
    models: Models = True,
    json: options.Json = False,
) -> None:
    """Synchronise with the license server, by a line or by files.

    What waits is carried out, what is new brought in. Over a line it reports, too.
    """
    from modelseal.server.relay import files as forms
    from modelseal.server.relay import syncing
    from modelseal.server.relay.box import Box
    from modelseal.server.relay.run import opened

    if sum(each is not None for each in (server, write, read)) != 1:
        raise Misuse("name one: --server URL, --write FILE or --read FILE")
    with Box(folder) as box, opened(box, _now) as giving:
        if write is not None:
            files.refuse_existing(write)
            made = syncing.question(box, _now(), os.urandom, giving)
            with files.whole(write) as out:
                out.write(forms.write(made))
            talk.answer(
                {"questions": len(made.questions), "sync": made.report.sync},
                lambda: talk.said(
                    "relay_question_written", path=write, questions=len(made.questions)
                ),
                as_json=json,
            )
            return
        if read is not None:
            with files.about(read):
                file = forms.read(files.read(read, forms.MAX_BYTES), forms.AnswerFile)
                done = syncing.take_in(box, file, _beside(read), _now(), giving)
        else:
            with _line(server or "", trust, ca) as (line, office):
                done = syncing.over_line(
                    box, line, office, models=models, now=_now(), random=os.urandom,
                    giving=giving,
                )  # fmt: skip
    _tell(done, json)


@app.command()
def carry(
    question: Annotated[
        Path, typer.Argument(metavar="QUESTION", help="What `sync --write` wrote.", readable=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file for `sync --read`.", readable=False)
    ],
    server: Annotated[
        str, typer.Option("--server", help="The license server; a token in MODELSEAL_TOKEN.")
    ],
    trust: TrustFile = None,
    ca: options.Ca = None,
    models: Models = True,
    json: options.Json = False,
) -> None:
    """As the courier, where there is a line: answer a relay's file.

    New sealed models lie in OUTPUT.models; carry that folder along.
    """
    from modelseal.server.relay import files as forms
    from modelseal.server.relay import syncing

    files.refuse_existing(output)
    with files.about(question):
        asked = forms.read(files.read(question, forms.MAX_BYTES), forms.QuestionFile)
    place = None
    if models:
        place = _beside(output)
        try:
            place.mkdir(exist_ok=True)
        except OSError as error:
            raise files.translate(error, place) from None
    with _line(server, trust, ca) as (line, office):
        answered = syncing.answer(asked, line, office, place)
    with files.whole(output) as out:
        out.write(forms.write(answered))
    found = {
        "answers": sum(bool(each.status) for each in answered.answers),
        "models": len(answered.models),
        "event_id": answered.event_id,
        "state": answered.state.value,
    }

    def human() -> None:
        talk.said("relay_carried", path=output, answers=found["answers"], models=found["models"])
        _warn(answered.state.value)

    talk.answer(found, human, as_json=json)


@app.command()
def status(folder: Folder, json: options.Json = False) -> None:
    """What waits, what lies ready, when it last met the license server."""
    from modelseal.server.relay.box import Box

    with Box(folder) as box:
        found: dict[str, object] = {"relay": box.about.relay, **box.counts()}
        found |= {name: box.noted(name) for name in ("synced_at", "state")}
        found["overdrawn"] = int(box.noted("overdrawn") or 0)
        found["models"] = len(box.digests())
        found |= relay_budget.told(box)

    def human() -> None:
        talk.said("relay_status", **{**found, "overdrawn": found["overdrawn"] or None})
        relay_budget.show(found)

    talk.answer(found, human, as_json=json)


@app.command("list")
def list_(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """Every relay by its newest report."""
    with context.admin(home, server, ca) as api:
        items, following = context.pages(api.list_relays, everything=everything)
    columns = ("relay", "state", "synced_at", "waiting", "devices", "ahead", "found")
    rows = [tuple(talk.plain(each)[name] for name in columns) for each in items]
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table("Relays", columns, rows),
        as_json=json,
    )


def _tell(done: Synced, json: bool) -> None:
    state = None if done.state is None else done.state.value

    def human() -> None:
        talk.said(
            "relay_synced", answers=done.answers, documents=done.documents, models=done.models
        )
        if done.failed:
            talk.said("relay_failed", count=done.failed)
        _warn(state)

    talk.answer(
        {
            "answers": done.answers,
            "documents": done.documents,
            "models": done.models,
            "failed": done.failed,
            "event_id": done.event_id,
            "state": state,
        },
        human,
        as_json=json,
    )


def _warn(state: str | None) -> None:
    if state in ("apart", "behind"):
        talk.said(f"relay_{state}")


@contextmanager
def _line(server: str, trust: Path | None, ca: Path | None) -> Iterator[tuple[Line, Office]]:
    """The license server as devices reach it, and the calls of relays."""
    from modelseal import trust as trusts
    from modelseal.client.transport import HttpTransport, TransportSettings
    from modelseal.desk.channel import check_url
    from modelseal.desk.remote import RemoteAdmin

    token = os.environ.get("MODELSEAL_TOKEN", "")
    if not token:
        raise Misuse("--server needs a relay's access token in MODELSEAL_TOKEN")
    pinned = None if trust is None else files.read(trust)
    authority = None if pinned is None else trusts.parse(pinned).tls_ca
    line = HttpTransport(TransportSettings(check_url(server), authority, ca))
    try:
        with RemoteAdmin(server, token, trust=pinned, ca=ca) as remote:
            yield line, remote
    finally:
        line.close()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.models")


def _now() -> datetime:
    return datetime.now(UTC)
