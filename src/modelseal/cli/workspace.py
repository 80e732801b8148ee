"""``modelseal init``, ``seal``, ``inspect``, ``verify``: the publisher's first steps."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from modelseal import texts
from modelseal.cli import context, options, tables, talk
from modelseal.errors import Misuse, WorkspaceMissing


def init(
    product: Annotated[str, typer.Option("--product", help="The product's name.")],
    token_alg: Annotated[
        str, typer.Option("--token-alg", help="Ed25519, ES256, RS256 or hybrid.")
    ] = "Ed25519",  # noqa: S107 - the name of an algorithm
    kek: Annotated[
        str | None,
        typer.Option(
            "--kek",
            help="Key URI of the server's key-encryption key (default: file:kek.key). One that a"
            " key store holds already is taken.",
        ),
    ] = None,
    desk_key: Annotated[
        str | None,
        typer.Option(
            "--desk-key", help="Key URI of what encrypts the desk (default: file:desk.key)."
        ),
    ] = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Make a workspace. It holds desk, server, trust.json and the recovery kit."""
    from modelseal.desk import workspace

    if home is None:
        raise Misuse("name the new workspace with --home DIR")
    chosen: dict[str, Any] = {"kek": kek, "desk_key": desk_key}
    made = workspace.init(
        home,
        product,
        token_alg=token_alg,
        ask=context.ask_passphrase,
        **{name: uri for name, uri in chosen.items() if uri is not None},
    )
    with made:
        shown = {
            "home": home,
            "product": made.product,
            "server_id": made.trust.server_id,
            "trust": home / "trust.json",
            "recovery_kit": home / "recovery-kit.txt",
        }

    def human() -> None:
        talk.write(f"{home}\n")
        talk.said(
            "initialised",
            product=product,
            home=home,
            trust=shown["trust"],
            kit=shown["recovery_kit"],
            where=context.home_option(home),
        )

    talk.answer(shown, human, as_json=json)


def seal(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT...", help="Files, folders or a seal.toml.", readable=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="The sealed file, or a folder for several.", readable=False
        ),
    ] = None,
    entitlement: options.EntitlementList = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model id (default: the file's stem).")
    ] = None,
    model_version: Annotated[
        str, typer.Option("--model-version", help="A version text for people.")
    ] = "",
    together_with: Annotated[
        list[Path] | None,
        typer.Option(
            "--together-with", help="Opens only where this sealed model does, too.", readable=False
        ),
    ] = None,
    min_level: Annotated[
        str, typer.Option("--min-level", help="The assurance level it needs: L0 to L5.")
    ] = "L0",
    memory: Annotated[
        str, typer.Option("--memory", help="The memory it needs: locked, or secret.")
    ] = "locked",
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Replace each file by its sealed one, CRC-32 kept; `model restore` undoes it.",
        ),
    ] = False,
    optimise: Annotated[
        bool,
        typer.Option(
            "--optimise",
            help="ONNX models also as ONNX Runtime optimises them on machines like this one:"
            " they load faster there, the file grows.",
        ),
    ] = False,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Seal models. Encrypted once, signed, the same bytes for every customer."""
    from modelseal.desk import inplace, sealing

    terms: dict[str, Any] = {
        "entitlements": entitlement or [],
        "min_level": options.level(min_level),
        "memory": options.protection(memory),
    }
    if in_place and (output or together_with or optimise):
        raise Misuse("--in-place keeps file and name and takes no -o, --together-with, --optimise")
    with context.workspace(home) as desk, talk.progress("sealing", quiet=json) as bar:
        if in_place:
            sealed = inplace.seal_in_place(
                desk, inputs, model=model, model_version=model_version, progress=bar, **terms
            )
        else:
            sealed = sealing.seal_paths(
                desk,
                inputs,
                output,
                model=model,
                model_version=model_version,
                together_with=together_with or [],
                optimise=optimise,
                progress=bar,
                **terms,
            )

    def human() -> None:
        for item in sealed:
            talk.write(f"{item.path}\n")
            opens = texts.said("or").join(item.entitlements)
            told = {"model": item.model, "release": item.release, "size": f"{item.size_bytes:,}"}
            talk.said("sealed", **told, entitlements=opens)
            if item.optimised:
                talk.said("sealed_optimised", names=", ".join(item.optimised))
        files = " ".join(shlex.quote(str(item.path)) for item in sealed)
        talk.said("sealed_next", files=files, where=context.home_option(home))

    talk.answer({"sealed": sealed}, human, as_json=json)


def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A sealed model or a token file.", readable=False)
    ],
    json: options.Json = False,
) -> None:
    """What can be read without any key."""
    from modelseal.cli import recognise

    found = recognise.inspect(path)
    talk.answer(found, lambda: _tell_inspected(found), as_json=json)


def verify(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Any of our byte strings.", readable=False)
    ],
    trust: options.Trust = None,
    home: options.Home = None,
    json: options.Json = False,
) -> None:
    """Prove any of our files by the pinned trust. Every leaf is checked; no key is needed."""
    from modelseal.cli import recognise

    if trust is None:
        trust = _trust_of(home)
    with talk.progress("verifying", quiet=json) as bar:
        found = recognise.verify(path, trust, bar)

    def human() -> None:
        _tell_inspected(found)
        talk.said("genuine", path=path)

    talk.answer(found, human, as_json=json)


def _trust_of(home: Path | None) -> Path:
    try:
        return context.home_of(home) / "trust.json"
    except WorkspaceMissing:
        raise Misuse("name the publisher's trust.json with --trust, or --home DIR") from None


_SECTION = ("id", "kind", "entitlement", "level", "plain_bytes", "chunks")


def _tell_inspected(found: dict[str, object]) -> None:
    shown = talk.plain(found)
    sections = shown.pop("sections", None) or []
    for signer in shown.pop("signers", None) or []:
        shown[f"signed {signer['alg']}"] = signer["kid"]
    tables.pairs([(name, value) for name, value in shown.items() if value not in (None, [], {})])
    if sections:
        rows = [[section.get(name) for name in _SECTION] for section in sections]
        tables.table("Sections", [name.replace("_", " ") for name in _SECTION], rows)
