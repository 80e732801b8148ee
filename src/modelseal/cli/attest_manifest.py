"""``modelseal attest manifest``: where a confidential deployment starts."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from modelseal.cli import attest_serve, files, options, talk
from modelseal.errors import Misuse, OutputExists

_UNITS = {"M": 1 << 20, "G": 1 << 30}


def manifest(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Sealed ONNX models, as in attest serve."),
    ],
    platform: Annotated[
        str, typer.Option("--platform", help="gramine (SGX) or cvm (SEV-SNP, TDX).")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.", readable=False)],
    server: Annotated[str, typer.Option("--server", help="The license server.")],
    trust: Annotated[
        Path, typer.Option("--trust", help="The publisher's trust.json.", readable=False)
    ],
    listen: Annotated[
        str, typer.Option("--listen", help="Address and port of the service.")
    ] = "0.0.0.0:8444",
    gramine_folder: Annotated[
        Path,
        typer.Option("--gramine", help="Where Gramine's libsysdb.so lies.", readable=False),
    ] = Path("/usr/lib/x86_64-linux-gnu/gramine"),
    enclave: Annotated[
        str, typer.Option("--enclave-size", help="Gramine: a power of two, like 4G.")
    ] = "4G",
    threads: Annotated[int, typer.Option("--threads", help="Gramine: threads at most.")] = 64,
    requirement: Annotated[
        str, typer.Option("--install", help="cvm: what pip installs.")
    ] = "modelseal[serve,attest]",
    json: options.Json = False,
) -> None:
    """Render a Gramine manifest or a confidential VM's recipe.

    Checked for its syntax and not tested on the hardware: start it there, record what it measures
    with `modelseal attest reference add`, and only then let a policy name it.
    """
    from modelseal.inference import rendering

    if output.exists():
        raise OutputExists("will not write into it", path=str(output))
    wish = rendering.Wish(dict(map(attest_serve.named, models)), server, trust, listen)
    if platform == "gramine":
        made = rendering.gramine(
            wish, prefix=gramine_folder, enclave_bytes=_size(enclave), threads=threads
        )
    elif platform == "cvm":
        made = rendering.cvm(wish, requirement=requirement)
    else:
        raise Misuse("--platform is gramine or cvm")
    written = [_write(output, name, data) for name, data in made.items()]
    answer = {"platform": platform, "files": written, "tested_on_hardware": False}
    talk.answer(
        answer,
        lambda: talk.said("manifest_written", path=output, count=len(written)),
        as_json=json,
    )


def _write(folder: Path, name: str, data: bytes) -> Path:
    path = folder.joinpath(*PurePosixPath(name).parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(path) as out:
            out.write(data)
        if data.startswith(b"#!"):
            path.chmod(0o755)
    except OSError as error:
        raise files.translate(error, path) from None
    return path


def _size(text: str) -> int:
    unit = _UNITS.get(text[-1:].upper(), 0)
    if not unit or not text[:-1].isdecimal() or len(text) > 6:
        raise Misuse("--enclave-size is a number with M or G, like 4G")
    return int(text[:-1]) * unit
