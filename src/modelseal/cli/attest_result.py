"""``modelseal attest result``: the signed verdicts beside an event of the server's log."""

from __future__ import annotations

import json as jsons
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelseal.cli import context, files, options, tables, talk

if TYPE_CHECKING:
    from modelseal.admin import AttestationVerdict


def result(
    event: Annotated[str, typer.Argument(help="The event id of a release, or of a refused one.")],
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FOLDER",
            help="Write each result (EAR), its record and its policy into this folder.",
            readable=False,
        ),
    ] = None,
    trust: options.Trust = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Show what the server found when a machine proved itself.

    Each verdict is signed by the server. Who has the evidence comes to it again with `attest
    appraise`, the policy and the time that are written here.
    """
    from modelseal import trust as trusts
    from modelseal.attest.verify import ear
    from modelseal.trust import Use

    with context.admin(home, server, ca) as api:
        found = api.show_attestation(event)
    path = trust or context.home_of(home) / "trust.json"
    with files.about(path):
        pinned = trusts.parse(files.read(path))
    shown: list[dict[str, Any]] = []
    for number, one in enumerate(found.verdicts, 1):
        claims = ear.read(one.ear, lambda kid, at: pinned.verify_keys(Use.ATTESTATION, kid, at))
        shown.append(dict(claims[ear.DEVELOPER]))
        if save is not None:
            _save(save, number, one, shown[-1])
    answer = {"event_id": found.event_id, "verdicts": shown}
    talk.answer(answer, lambda: _tell(shown), as_json=json)


def text(record: dict[str, Any]) -> bytes:
    """A record as it is written to files: equal verdicts are equal files."""
    return jsons.dumps(record, indent=2, sort_keys=True).encode() + b"\n"


def _save(folder: Path, number: int, one: AttestationVerdict, record: dict[str, Any]) -> None:
    written = {
        f"result-{number}.jwt": one.ear.encode(),
        f"record-{number}.json": text(record),
        f"policy-{number}.json": one.policy.encode(),
    }
    files.fill(folder, written, exist_ok=True)


def _tell(shown: list[dict[str, Any]]) -> None:
    for record in shown:
        digests = record["digests"]
        tables.pairs(
            [
                *((name, record[name]) for name in ("now", "genuine", "status", "step", "code")),
                ("evidence", digests["evidence"]),
                ("endorsements", digests["endorsements"]),
                ("policy", digests["policy"]),
                ("digest", record["digest"]),
            ]
        )
