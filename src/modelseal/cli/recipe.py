"""``modelseal app``: app recipes, and one run under observation that writes one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelseal.cli import files, options, tables, talk
from modelseal.errors import Misuse

app = typer.Typer(no_args_is_help=True, help="Recipes: how known programs read their models.")


@app.command("list")
def list_(json: options.Json = False) -> None:
    """The recipes that come with modelseal."""
    from modelseal.runtime.recipes import force

    known = force.shipped()
    shown = {
        name: {"title": each.title, "verified": [v.program for v in each.verified]}
        for name, each in known.items()
    }
    rows = [
        (name, each.title, ", ".join(v.program for v in each.verified) or "unverified")
        for name, each in known.items()
    ]
    talk.answer(
        {"recipes": shown}, lambda: tables.table("Recipes", ["name", "program", "verified"], rows),
        as_json=json,
    )  # fmt: skip


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A recipe that comes along, or a file (.toml).")],
    json: options.Json = False,
) -> None:
    """Print a recipe, after checking it."""
    from modelseal.runtime import recipes
    from modelseal.runtime.recipes import force

    found = force.named(name, Path())
    talk.answer(found, lambda: talk.write(recipes.encode(found).decode()), as_json=json)


@app.command(context_settings={"allow_interspersed_args": False})
def observe(
    program: Annotated[
        list[str] | None, typer.Argument(metavar="-- PROGRAM...", help="The program to run.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Where the recipe goes (default: modelseal.recipe.toml).",
            readable=False,
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="What the recipe is called.")] = None,
    entitlement: Annotated[
        str | None, typer.Option("--entitlement", help="One entitlement for all its models.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a recipe that is there.")] = False,
) -> int:
    """Run a program once and write down how it reads its models."""
    from modelseal.runtime import recipes
    from modelseal.runtime.observe import running

    if not program:
        raise Misuse("name the program behind --: modelseal app observe -- python app.py")
    place = output or Path(recipes.FILE_NAME)
    if not force:
        files.refuse_existing(place)
    found = running.observe(program, name=name, entitlement=entitlement)
    if force:
        place.unlink(missing_ok=True)
    with files.whole(place) as out:
        out.write(recipes.encode(found.recipe))
    made = found.recipe
    talk.said(
        "recipe_written",
        path=str(place),
        files=sum(len(each.files) for each in made.file),
        readers=len(made.reader),
        checks=len(made.check),
        caches=len(made.cache),
        notes=made.notes or None,
    )
    return found.exit_code
