"""``modelseal attest collect``: this machine says what it is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelseal.cli import files, options, tables, talk
from modelseal.errors import Misuse, OutputExists

if TYPE_CHECKING:
    from modelseal.attest.collect import Part


def collect(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A new folder for the evidence.", readable=False)
    ],
    report_data: Annotated[
        str, typer.Option("--report-data", help="What the evidence shall be bound to, in hex.")
    ],
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="azure-vtpm, gramine, nitro, tsm (SEV-SNP, TDX, CCA), tpm2, nvidia or software;"
            " default: the first that is here.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Make this machine's hardware say what it is, bound to a value.

    The value is bound exactly as it is: each interface says which lengths it takes.
    """
    from modelseal.attest import collect as collecting

    try:
        bound = bytes.fromhex(report_data)
    except ValueError:
        raise Misuse("--report-data is hex") from None
    if output.exists():
        raise OutputExists("will not write into it", path=str(output))
    found = collecting.collect(bound, by)
    try:
        output.mkdir()
    except OSError as error:
        raise files.translate(error, output) from None
    parts = _written(output, found.parts)
    beside = _written(output, found.endorsements)
    answer: dict[str, Any] = {
        "kind": found.kind,
        "source": found.source,
        "evidence": parts,
        "endorsements": beside,
    }

    def human() -> None:
        tables.pairs(list(answer.items()))
        given = " ".join(f"--endorsements {shlex.quote(str(path))}" for path in beside)
        shown = " ".join(shlex.quote(str(path)) for path in parts)
        talk.say(
            f"Next: modelseal attest appraise {shown} --kind {found.kind}"
            f" --report-data {report_data} {given}".rstrip()
        )

    talk.answer(answer, human, as_json=json)


def _written(folder: Path, parts: tuple[Part, ...]) -> list[Path]:
    paths = []
    for part in parts:
        path = folder / part.name
        with files.whole(path) as out:
            out.write(part.data)
        paths.append(path)
    return paths
