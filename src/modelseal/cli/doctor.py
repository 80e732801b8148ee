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
from modelseal.texts import said
from modelseal.types import MemoryProtection

Grade = Literal["ok", "note", "bad"]
_FRAMEWORKS = ("onnxruntime", "safetensors", "torch", "openvino", "ai_edge_litert", "ncnn", "cv2")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``next_step`` is empty when nothing is to be done.

    ``exit_code`` is 0, or that of the error which kept it from being looked at.
    """

    what: str
    grade: Grade
    text: str
    next_step: str = ""
    exit_code: int = 0


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
    """Say what is well and what to do. Looks at installation, memory, device and workspace.

    Ends with 0 whenever it could tell; whether all is well is in `healthy` of --json.
    """
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
    return max(finding.exit_code for finding in findings)


def _guard(what: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except ModelsealError as error:
        told = f"{error.message} {error.reason}"
        return [Finding(what, "bad", told, error.next_step, error.exit_code)]


def _installation() -> Iterator[Finding]:
    import importlib.metadata
    import importlib.util
    import platform

    version = importlib.metadata.version("modelseal")
    python = platform.python_version()
    yield Finding(
        "modelseal",
        "ok",
        said("doctor_version", version=version, python=python, platform=sys.platform),
    )
    yield Finding("cryptography", "ok", importlib.metadata.version("cryptography"))
    present = [name for name in _FRAMEWORKS if importlib.util.find_spec(name) is not None]
    if present:
        yield Finding("frameworks", "ok", ", ".join(present))
    else:
        yield Finding(
            "frameworks",
            "note",
            said("doctor_no_framework", names=", ".join(_FRAMEWORKS)),
            said("doctor_install_one"),
        )


def _memory() -> Iterator[Finding]:
    from modelseal.memory import Arena

    with Arena(1 << 20, MemoryProtection.LOCKED) as small:
        swap = "doctor_swap_safe" if small.swap_safe else "doctor_not_swap_safe"
        grade: Grade = "ok" if small.swap_safe else "note"
        step = "" if small.swap_safe else said("doctor_raise_limit")
        yield Finding("memory", grade, said(swap, memory=small.reached.value), step)
    with Arena(4096, MemoryProtection.SECRET) as secret:
        reached = secret.reached is MemoryProtection.SECRET
        text = said("doctor_available" if reached else "doctor_not_available")
        yield Finding("secret memory", "ok" if reached else "note", text)


def _device(app: Path | None, state: Path | None) -> Iterator[Finding]:
    from modelseal.cli import context
    from modelseal.errors import ConfigInvalid

    try:
        with context.client(state, app) as client:
            found = client.status()
    except ConfigInvalid as error:
        yield Finding("device", "note", said("doctor_no_app", message=error.message))
        return
    grade: Grade = "ok" if found.state in {"ACTIVE", "RENEW_DUE"} else "note"
    step = "" if grade == "ok" else said("doctor_see_status")
    yield Finding(
        "device",
        grade,
        said("doctor_device", state=found.state, product=found.product or "-"),
        step,
    )


def _workspace(home: Path) -> Iterator[Finding]:
    from modelseal.desk import backup
    from modelseal.desk import workspace as workspaces

    with workspaces.open(home) as desk:
        yield Finding("trust.json", "ok", said("doctor_trust_holds", product=desk.product))
        if desk.kit.exists():
            yield Finding(
                "recovery kit",
                "bad",
                said("doctor_kit_there"),
                said("doctor_print_kit"),
            )
        else:
            yield Finding("recovery kit", "ok", said("doctor_kit_gone"))
        tested_at = backup.last_recovery_test(desk)
        if tested_at is None:
            yield Finding(
                "backup",
                "bad",
                said("doctor_backup_old" if backup.is_old(desk) else "doctor_backup_none"),
                said("doctor_make_backup"),
            )
        else:
            yield Finding("backup", "ok", said("doctor_backup_proved", at=tables.cell(tested_at)))
        if desk.has_server and desk.kek_old:
            yield Finding(
                "key-encryption key",
                "bad",
                said("doctor_kek_interrupted"),
                said("doctor_rotate_again"),
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
                said("doctor_loose"),
                said("doctor_chmod", folder=folder),
            )
        else:
            yield Finding(f"{folder.name}/", "ok", said("doctor_closed"))


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
