"""``modelseal attest call``: one inference by a service that proved itself first."""

from __future__ import annotations

import json as jsons
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelseal.cli import files, options, tables, talk
from modelseal.errors import InputMissing, Misuse, OutputExists

if TYPE_CHECKING:
    from modelseal.inference.calling import Connection
    from modelseal.inference.tensors import Array

TOKEN_VARIABLE = "MODELSEAL_INFERENCE_TOKEN"
_MAX_INPUT_BYTES = 1 << 30


def call(
    url: Annotated[str, typer.Argument(metavar="URL", help="https://host:port of the service.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name there.")],
    policy: Annotated[
        Path, typer.Option("--policy", help="What the service has to prove.", readable=False)
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            help="NAME=FILE (.npy or .json) for each input; FILE alone where there is one.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .json file, a .npy file, or a new folder of .npy files (default: print).",
            readable=False,
        ),
    ] = None,
    endorsements: Annotated[
        list[Path] | None,
        typer.Option(
            "--endorsements",
            help="Certificates, revocation lists or collateral of the vendor.",
            readable=False,
        ),
    ] = None,
    entitlement: Annotated[
        str | None,
        typer.Option("--entitlement", help="Use the policy's rules for this entitlement."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Ask a service for an inference once its evidence holds.

    It is judged by the policy first; until then nothing is sent but a nonce. A token
    goes into MODELSEAL_INFERENCE_TOKEN.
    """
    from modelseal.inference.calling import connect

    if output is not None and os.path.lexists(output):
        raise OutputExists("will not overwrite", path=str(output))
    given = [files.read(path) for path in endorsements or ()]
    read = [_read(text) for text in inputs or ()]
    with connect(
        url,
        files.read(policy),
        entitlement=entitlement,
        endorsements=given,
        token=os.environ.get(TOKEN_VARIABLE) or None,
    ) as service:
        outputs = service.infer(model, _fitted(service, model, read)) if read else {}
        answer: dict[str, Any] = {
            "service": _about(service),
            "model": model,
            "outputs": _plain(outputs),
        }
    if output is not None:
        answer["written"] = _write(output, outputs, answer)
    talk.answer(answer, lambda: _tell(answer), as_json=json)


def _about(service: Connection) -> dict[str, Any]:
    result = service.result
    return {
        "status": result.status.value,
        "level": result.level.name,
        "kinds": [one.kind for one in result.submodules],
        "policy": result.policy_digest.hex(),
        "models": dict(service.models),
    }


def _read(text: str) -> tuple[str, Any]:
    """Name (perhaps empty) and array or JSON value of one ``--input``."""
    name, equals, rest = text.partition("=")
    path = Path(rest if equals else text)
    data = files.read(path, _MAX_INPUT_BYTES)
    if path.suffix == ".npy":
        return (name if equals else ""), _npy(data, path)
    if path.suffix != ".json":
        raise Misuse("--input is a .npy or .json file")
    try:
        return (name if equals else ""), jsons.loads(data)
    except (ValueError, RecursionError):
        raise InputMissing("no JSON", path=str(path)) from None


def _npy(data: bytes, path: Path) -> Array:
    import io

    import numpy as np

    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError):
        found = None
    if not isinstance(found, np.ndarray):
        raise InputMissing("no array", path=str(path))
    return found


def _fitted(service: Connection, model: str, read: list[tuple[str, Any]]) -> Mapping[str, Array]:
    """The arrays by name; JSON values become what the model takes."""
    ports = {port["name"]: port for port in service.metadata(model)["inputs"]}
    if len(read) == 1 and not read[0][0] and len(ports) == 1:
        read = [(next(iter(ports)), read[0][1])]
    if sorted(name for name, _ in read) != sorted(ports):
        raise Misuse(f"{model} takes {', '.join(ports)}: --input NAME=FILE for each")
    return {name: _array(value, ports[name]) for name, value in read}


def _array(value: Any, port: Mapping[str, Any]) -> Array:
    import numpy as np

    from modelseal.inference import tensors

    if isinstance(value, np.ndarray):
        return value
    try:
        found: Array = np.array(value, dtype=tensors.numpy_type(port["datatype"]))
    except (ValueError, TypeError, OverflowError):
        raise Misuse(f"{port['name']} is {port['datatype']}, which this JSON is not") from None
    return found


def _plain(outputs: Mapping[str, Array]) -> dict[str, Any]:
    from modelseal.inference import tensors

    return {
        name: {
            "datatype": tensors.datatype(array),
            "shape": list(array.shape),
            "data": array.tolist(),
        }
        for name, array in outputs.items()
    }


def _write(path: Path, outputs: Mapping[str, Array], answer: Mapping[str, Any]) -> list[Path]:
    if path.suffix == ".json":
        with files.whole(path) as out:
            out.write(jsons.dumps(answer["outputs"]).encode() + b"\n")
        return [path]
    if path.suffix == ".npy":
        if len(outputs) != 1:
            raise Misuse("several outputs do not go into one .npy file: name a folder")
        _save(path, next(iter(outputs.values())))
        return [path]
    try:
        path.mkdir()
    except OSError as error:
        raise files.translate(error, path) from None
    names = {name: re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") for name in outputs}
    if len(set(names.values())) != len(names):
        names = {name: f"{number}" for number, name in enumerate(outputs)}
    written = []
    for name, array in outputs.items():
        target = path / f"{names[name]}.npy"
        _save(target, array)
        written.append(target)
    return written


def _save(path: Path, array: Array) -> None:
    import numpy as np

    if array.dtype.kind == "O":
        array = array.astype(np.str_)
    with files.whole(path) as out:
        np.save(out, array, allow_pickle=False)


def _tell(answer: Mapping[str, Any]) -> None:
    tables.pairs([(name, _short(value)) for name, value in answer["service"].items()])
    talk.write("\n")
    for name, found in answer["outputs"].items():
        talk.write(f"{name} {found['datatype']} {found['shape']}\n")
        if not answer.get("written"):
            talk.write(jsons.dumps(found["data"]) + "\n")


def _short(value: object) -> object:
    return jsons.dumps(value) if isinstance(value, (dict, list)) else value
