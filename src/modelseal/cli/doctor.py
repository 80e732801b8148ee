"""``modelseal doctor``: what is well and what is not, with the next step for each."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from modelseal.cli import files, options, tables, talk
from modelseal.errors import ModelsealError, OutputExists
from modelseal.types import MemoryProtection

Grade = Literal["ok", "note", "bad"]
_EXTRAS = {"onnxruntime": "onnx", "safetensors": "safetensors", "torch": "torch"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``next_step`` is empty when nothing is to be done."""

    what: str
    grade: Grade
    text: str
    next_step: str = ""


def doctor(
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Write a redacted file for support.", readable=False),
    ] = None,
    home: options.Home = None,
    app: options.App = None,
    state: options.State = None,
    json: options.Json = False,
) -> int:
    """Say what is well and what to do. Looks at installation, memory, device and workspace."""
    findings = [*_installation(), *_memory()]
    findings += _guard("device", lambda: list(_device(app, state)))
    if home is not None or (Path.cwd() / "trust.json").is_file():
        findings += _guard("workspace", lambda: list(_workspace(home or Path.cwd())))
    report = {
        "healthy": not any(f.grade == "bad" for f in findings),
        "findings": [asdict(finding) for finding in findings],
    }
    if bundle is not None:
        _write_bundle(bundle, report, app, state)
        report["bundle"] = str(bundle)
    talk.answer(report, lambda: _tell(findings, bundle), as_json=json)
    return 0 if report["healthy"] else 1


def _guard(what: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except ModelsealError as error:
        return [Finding(what, "bad", f"{error.message} {error.reason}", error.next_step)]


def _installation() -> Iterator[Finding]:
    import importlib.metadata
    import importlib.util
    import platform

    version = importlib.metadata.version("modelseal")
    python = platform.python_version()
    yield Finding("modelseal", "ok", f"{version} on Python {python}, {sys.platform}")
    yield Finding("cryptography", "ok", importlib.metadata.version("cryptography"))
    present = [name for name in _EXTRAS if importlib.util.find_spec(name) is not None]
    if present:
        yield Finding("frameworks", "ok", ", ".join(present))
    else:
        yield Finding(
            "frameworks",
            "note",
            "none of onnxruntime, safetensors, torch is installed",
            "Apps that load models need one: pip install 'modelseal[onnx]'.",
        )


def _memory() -> Iterator[Finding]:
    from modelseal.memory import Arena

    with Arena(1 << 20, MemoryProtection.LOCKED) as small:
        swap = "swap-safe" if small.swap_safe else "not swap-safe"
        grade: Grade = "ok" if small.swap_safe else "note"
        step = "" if small.swap_safe else "Raise the memory lock limit (ulimit -l)."
        yield Finding("memory", grade, f"{small.reached.value}, {swap}", step)
    with Arena(4096, MemoryProtection.SECRET) as secret:
        reached = secret.reached is MemoryProtection.SECRET
        text = "available" if reached else "not available on this system"
        yield Finding("secret memory", "ok" if reached else "note", text)


def _device(app: Path | None, state: Path | None) -> Iterator[Finding]:
    from modelseal.cli import context
    from modelseal.errors import ConfigInvalid

    try:
        with context.client(state, app) as client:
            found = client.status()
    except ConfigInvalid as error:
        yield Finding("device", "note", f"no app and no state folder here: {error.message}")
        return
    grade: Grade = "ok" if found.state in {"ACTIVE", "RENEW_DUE"} else "note"
    step = "" if grade == "ok" else "Run `modelseal status` for the reason."
    yield Finding("device", grade, f"{found.state}, product {found.product or '-'}", step)


def _workspace(home: Path) -> Iterator[Finding]:
    from modelseal.desk import backup
    from modelseal.desk import workspace as workspaces

    with workspaces.open(home) as desk:
        yield Finding("trust.json", "ok", f"product {desk.product}, signatures hold")
        if desk.kit.exists():
            yield Finding(
                "recovery kit",
                "bad",
                "recovery-kit.txt is still on this disk",
                "Print it, put it away, then delete the file.",
            )
        else:
            yield Finding("recovery kit", "ok", "removed from this disk")
        tested_at = backup.last_recovery_test(desk)
        if tested_at is None:
            yield Finding(
                "backup",
                "bad",
                "the backup is older than the last rotation of keys"
                if backup.is_old(desk)
                else "no backup has been proved",
                "Run `modelseal keys backup FILE`, then `modelseal keys recovery-test FILE`.",
            )
        else:
            yield Finding("backup", "ok", f"proved at {tables.cell(tested_at)}")
        if desk.has_server and desk.kek_old:
            yield Finding(
                "key-encryption key",
                "bad",
                "a rotation was interrupted; the old key is still there",
                "Run `modelseal keys rotate kek` once more.",
            )
        yield from _permissions(desk.desk, desk.server)


def _permissions(*folders: Path) -> Iterator[Finding]:
    for folder in folders:
        if not folder.exists():
            continue
        loose = stat.S_IMODE(folder.stat().st_mode) & 0o077 if sys.platform != "win32" else 0
        if loose:
            yield Finding(
                f"{folder.name}/",
                "bad",
                "other users may enter it",
                f"Run: chmod 700 {folder}",
            )
        else:
            yield Finding(f"{folder.name}/", "ok", "closed to other users")


def _write_bundle(path: Path, report: dict[str, Any], app: Path | None, state: Path | None) -> None:
    """A zip with the report and the journal; both hold no secret and no raw trait by design."""
    import json
    import zipfile

    from modelseal.cli import context

    if path.exists():
        raise OutputExists("will not overwrite", path=str(path))
    journal: list[dict[str, Any]] = []
    try:
        with context.client(state, app) as client:
            journal = client.journal.read()
    except ModelsealError as error:
        journal = [{"journal": error.code}]
    with files.whole(path) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("doctor.json", json.dumps(report, indent=2))
        lines = "".join(json.dumps(talk.plain(entry)) + "\n" for entry in journal)
        bundle.writestr("journal.jsonl", lines)


def _tell(findings: list[Finding], bundle: Path | None) -> None:
    marks = {"ok": "ok  ", "note": "note", "bad": "BAD "}
    for finding in findings:
        talk.write(f"{marks[finding.grade]}  {finding.what}: {finding.text}\n")
        if finding.next_step:
            talk.write(f"      {finding.next_step}\n")
    if bundle is not None:
        talk.said("bundled", path=bundle)
