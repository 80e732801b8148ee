"""``modelseal attest prove``: what a server takes this machine for; and the policy it goes by."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelseal.cli import attest_reference, context, files, options, tables, talk
from modelseal.errors import AppraisalPolicyInvalid, OutputExists

if TYPE_CHECKING:
    from modelseal.client.proving import Shown


def prove(
    model: Annotated[Path, typer.Argument(help="A sealed model that demands it.", readable=False)],
    level: Annotated[
        str | None,
        typer.Option("--level", help="L1 to L5 (default: the highest that the model demands)."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", help="azure-vtpm, gramine, nitro, tsm, tpm2, nvidia; default: what is here."
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FOLDER",
            help="Keep what was shown to the server, for an auditor to judge it again.",
            readable=False,
        ),
    ] = None,
    app: options.App = None,
    server: options.DeviceServer = None,
    trust: options.Trust = None,
    ca: options.Ca = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Prove what this machine is, as loading the model would.

    The license server says what it takes it for. The keys that come are for this one run, and are
    gone when it ends. Ends with 6 where the level is not reached, and says why.
    """
    wanted = None if level is None else int(options.level(level))
    if save is not None and save.exists():
        raise OutputExists("will not write into it", path=str(save))
    pieces: dict[str, Shown] = {}
    with context.client(state, app, server, trust, ca, collectors=by) as client:
        try:
            found = client.prove(model, wanted, shown=lambda one: pieces.update(_named(one)))
        finally:
            if save is not None:
                _keep(save, pieces)
    answer = {
        "model": model,
        "level": found.level,
        "kinds": list(found.kinds),
        "expires_at": found.expires_at,
    }
    talk.answer(answer, lambda: tables.pairs(list(answer.items())), as_json=json)


def _named(one: Shown) -> dict[str, Shown]:
    """By kind: of a question that was asked again the last one counts."""
    return {one.evidence.kind: one}


def _keep(folder: Path, pieces: dict[str, Shown]) -> None:
    """A folder for each kind: its evidence, what it is bound to, and certificates as judged."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from modelseal.attest.verify.endorsements import certificates_in

    for kind, one in pieces.items():
        beside = [c for part in one.evidence.endorsements for c in certificates_in(part.data)]
        written = {
            **{part.name: part.data for part in one.evidence.parts},
            **{f"beside-{n}.der": c.public_bytes(Encoding.DER) for n, c in enumerate(beside, 1)},
            "report-data.hex": one.bound.hex().encode(),
        }
        files.fill(folder / kind, written)


def use(
    policy: Annotated[
        Path, typer.Argument(metavar="POLICY", help="The appraisal policy.", readable=False)
    ],
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Let the workspace's server go by a policy.

    From now on; one with a fault is refused.
    """
    from modelseal.attest.kinds import known
    from modelseal.attest.verify import policy as policies
    from modelseal.server.services import config

    data = files.read(policy)
    try:
        digest = policies.parse(data, known()).base.digest.hex()
    except AppraisalPolicyInvalid as error:
        error.params.setdefault("path", str(policy))
        raise
    folder = context.home_of(home) / "server"
    path = folder / config.load(folder).attestation_policy
    attest_reference.replace(path, data)
    answer = {"path": path, "policy": digest}

    def human() -> None:
        tables.pairs(list(answer.items()))
        talk.say(f"Next, on a machine: modelseal attest prove MODEL  ({shlex.quote(str(path))})")

    talk.answer(answer, human, as_json=json)
