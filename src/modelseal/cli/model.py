"""``modelseal model``: the catalog of sealed models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from modelseal.cli import context, files, options, tables, talk

app = typer.Typer(no_args_is_help=True, help="The catalog of sealed models.")

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Model id, record id or file id.")]


@app.command()
def publish(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Sealed models.", readable=False)
    ],
    channels: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            help="Whose plans get them; repeat for several. Default: as before, else stable.",
        ),
    ] = None,
    min_release: Annotated[
        int | None,
        typer.Option("--min-release", min=1, help="The oldest release that may still be opened."),
    ] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Give sealed models and their keys to the server. The desk signs the catalog."""
    from modelseal.desk import publishing

    published = []
    with (
        context.workspace(home) as desk,
        context.admin(home, server, ca) as api,
        talk.progress("publishing", quiet=json) as bar,
    ):
        for path in paths:
            with files.about(path):
                item = publishing.publish(
                    desk,
                    api,
                    path,
                    channels=channels or (),
                    min_release=min_release,
                    progress=_named(bar, path.name),
                )
            published.append(item)

    def human() -> None:
        for item in published:
            talk.write(f"{item.record_id}\n")
            name = "published_already" if item.already else "published"
            talk.said(name, model=item.model, release=item.release)
        talk.said("published_next")

    talk.answer({"published": published}, human, as_json=json)


@app.command("list")
def list_(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """Published models, withdrawn ones too."""
    with context.admin(home, server, ca) as api:
        items, following = context.pages(api.list_models, everything=everything)
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table(
            "Models",
            (
                "model",
                "release",
                "file",
                "channels",
                "entitlements",
                "size",
                "published",
                "withdrawn",
            ),
            [
                (
                    item.model,
                    item.release,
                    item.name,
                    item.channels,
                    item.entitlements,
                    f"{item.size_bytes:,} B",
                    item.published_at,
                    item.withdrawn_at,
                )
                for item in items
            ],
        ),
        as_json=json,
    )


@app.command()
def show(
    model: ModelName,
    release: Annotated[int | None, typer.Option("--release", help="Default: the newest.")] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """One published model."""
    with context.admin(home, server, ca) as api:
        record = api.show_model(model, release)
    talk.answer(record, lambda: tables.pairs(list(talk.plain(record).items())), as_json=json)


@app.command()
def withdraw(
    model: ModelName,
    release: Annotated[int | None, typer.Option("--release", help="Default: the newest.")] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Take a model out of the catalog and of later leases."""
    from modelseal.desk import publishing

    with context.workspace(home) as desk, context.admin(home, server, ca) as api:
        record = publishing.withdraw(desk, api, model, release=release)
    talk.answer(
        record,
        lambda: talk.said("withdrawn", model=record.model, release=record.release),
        as_json=json,
    )


@app.command()
def reseal(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The sealed model.", readable=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The new sealed file.", readable=False)
    ],
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Seal a model anew under new data keys, after a key leaked."""
    from modelseal.desk import resealing

    with (
        files.about(path),
        context.workspace(home) as desk,
        talk.progress("resealing", quiet=json) as bar,
    ):
        sealed = resealing.reseal(desk, path, output, progress=bar)
    talk.answer(
        sealed,
        lambda: talk.said("resealed", model=sealed.model, release=sealed.release, path=sealed.path),
        as_json=json,
    )


@app.command()
def restore(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The sealed model.", readable=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Write here instead of replacing the file.", readable=False
        ),
    ] = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Get the plain files back, with the desk's keys. Undoes `seal --in-place`."""
    from modelseal.desk import inplace

    with files.about(path), context.workspace(home) as desk:
        restored = inplace.restore(desk, path, output)

    def human() -> None:
        for item in restored:
            talk.write(f"{item.path}\n")
            talk.said("model_restored", model=item.model, release=item.release, path=item.path)

    talk.answer({"restored": restored}, human, as_json=json)


def _named(bar: talk.Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: bar(done, total, name)
