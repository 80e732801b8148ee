"""``modelseal attest serve``: an inference service that proves itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelseal.cli import files, options, talk
from modelseal.errors import ExtraMissing, Misuse

if TYPE_CHECKING:
    from modelseal.attest.collect import Collector
    from modelseal.inference.batching import Limits
    from modelseal.inference.models import Model

_MIB = 1 << 20


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Sealed ONNX models; NAME=FILE serves one under another name."
        ),
    ],
    listen: Annotated[str, typer.Option("--listen", help="Address and port.")] = "127.0.0.1:8444",
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="What proves this machine, as in attest collect; repeat for a GPU"
            " (default: the first that is here).",
        ),
    ] = None,
    endorsements: Annotated[
        list[Path] | None,
        typer.Option("--endorsements", help="Certificates to send along.", readable=False),
    ] = None,
    max_batch: Annotated[
        int, typer.Option("--max-batch", help="Rows in one run, 1 turns batching off.")
    ] = 16,
    batch_wait: Annotated[
        float, typer.Option("--batch-wait", help="Milliseconds a question waits for others.")
    ] = 2.0,
    queue: Annotated[int, typer.Option("--queue", help="Questions that may wait.")] = 64,
    max_body: Annotated[int, typer.Option("--max-body", help="MiB of one question.")] = 64,
    threads: Annotated[
        int, typer.Option("--threads", help="Threads of one run (default: all processors).")
    ] = 0,
    tokens: Annotated[
        Path | None,
        typer.Option(
            "--tokens",
            help="A file of bearer tokens, one a line; callers need one.",
            readable=False,
        ),
    ] = None,
    state: options.State = None,
    app: options.App = None,
    server: options.DeviceServer = None,
    trust: options.Trust = None,
    ca: options.Ca = None,
) -> None:
    """Serve sealed models inside attested hardware.

    Clients speak the Open Inference Protocol.

    Opens them in memory by this machine's license, and answers over TLS with a key that its
    evidence is bound to. Callers use `modelseal attest call` or `modelseal.attest.connect`.
    """
    from modelseal.cli import Ended
    from modelseal.client import Client

    try:
        from modelseal.inference.app import Bounds
        from modelseal.inference.service import Running
    except ImportError:
        raise ExtraMissing("uvicorn is not installed", extra="serve") from None
    from modelseal.runtime.api import use

    wanted = [named(text) for text in models]
    limits = _limits(max_batch, batch_wait, queue)
    bounds = Bounds(_between("--max-body", max_body, 1, 2048) * _MIB, tokens=_tokens(tokens))
    collectors = _collectors(by or [])
    given = [files.read(path) for path in endorsements or ()]
    with Client(
        app=app, state=state, server=server, trust=trust, ca=ca, collectors=by or None
    ) as client:
        use(client)
        try:
            opened = [_open(path, name, threads) for name, path in wanted]
            running = Running(
                opened, collectors, listen=listen, endorsements=given, limits=limits,
                bounds=bounds, on_ready=lambda url: _tell(url, opened, collectors),
            )  # fmt: skip
            try:
                running.run()
            except (KeyboardInterrupt, Ended):
                talk.said("inference_stopped")
            finally:
                running.close()
        finally:
            use(None)


def _tell(url: str, models: Sequence[Model], collectors: Sequence[Collector]) -> None:
    names = ", ".join(model.name for model in models)
    kinds = ", ".join(one.name for one in collectors)
    talk.said("inference_listening", url=url, models=names, kinds=kinds)


def _open(path: Path, name: str, threads: int) -> Model:
    from modelseal.inference.models import open_sealed

    return open_sealed(path, name, threads=_between("--threads", threads, 0, 1024))


def named(text: str) -> tuple[str, Path]:
    """Name and path of ``NAME=FILE`` or ``FILE``."""
    name, equals, path = text.partition("=")
    if equals:
        return name, Path(path)
    return Path(text).stem, Path(text)


def _limits(max_batch: int, batch_wait: float, queue: int) -> Limits:
    from modelseal.inference.batching import Limits

    if not 0 <= batch_wait <= 1000:
        raise Misuse("--batch-wait is 0 to 1000 milliseconds")
    return Limits(
        _between("--max-batch", max_batch, 1, 4096),
        batch_wait / 1000,
        _between("--queue", queue, 1, 65536),
    )


def _between(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise Misuse(f"{name} is {least} to {most}")
    return value


def _tokens(path: Path | None) -> frozenset[bytes]:
    import hashlib

    if path is None:
        return frozenset()
    lines = [line.strip() for line in files.read(path, _MIB).splitlines()]
    found = frozenset(hashlib.sha256(line).digest() for line in lines if line)
    if not found or any(len(line) < 16 for line in lines if line):
        raise Misuse("--tokens holds tokens of at least 16 characters, one a line")
    return found


def _collectors(names: Sequence[str]) -> list[Collector]:
    from modelseal.attest.collect import collectors
    from modelseal.errors import EvidenceUnavailable

    table = collectors()
    if unknown := [name for name in names if name not in table]:
        raise Misuse(f"--by {unknown[0]}: a collector is one of {', '.join(table)}")
    if names:
        return [table[name]() for name in dict.fromkeys(names)]
    for make in table.values():
        found = make()
        if found.is_here():
            return [found]
    raise EvidenceUnavailable("no hardware here that could prove anything")
