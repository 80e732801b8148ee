"""``modelseal doctor``: what is well and what is not, with the next step for each."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from modelseal.cli import context, files, options, tables, talk
from modelseal.errors import Misuse, ModelsealError, OutputExists
from modelseal.texts import said
from modelseal.types import MemoryProtection

if TYPE_CHECKING:
    from modelseal.cli.measuring import Report
    from modelseal.desk.workspace import Workspace

Grade = Literal["ok", "note", "bad"]
_OLD_DAYS, _SHORT_DAYS = 90, 30
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
    bench: Annotated[
        bool, typer.Option("--bench", help="Measure what protection costs on this computer.")
    ] = False,
    plain: Annotated[
        Path | None,
        typer.Option(
            "--plain",
            help="With --bench: a plain model (.onnx, .safetensors).",
            readable=False,
        ),
    ] = None,
    sealed: Annotated[
        Path | None,
        typer.Option(
            "--sealed",
            help="With --plain: the same model, sealed and licensed here.",
            readable=False,
        ),
    ] = None,
    home: options.Home = None,
    app: options.App = None,
    state: options.State = None,
    json: options.Json = False,
) -> int:
    """Say what is well and what to do. Looks at installation, memory, device and workspace.

    Ends with 0 whenever it could tell; whether all is well is in `healthy` of --json.
    """
    if bench or plain is not None or sealed is not None:
        return _bench(plain, sealed, app, state, as_json=json)
    findings = [*_installation(), *_memory()]
    findings += _guard("device", lambda: list(_device(app, state)))
    if home is not None or context.is_workspace(Path.cwd()):
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


def _bench(
    plain: Path | None, sealed: Path | None, app: Path | None, state: Path | None, *, as_json: bool
) -> int:
    """Loads, and runs where that can be measured, plain against sealed; see ``cli.measuring``."""
    from modelseal.cli import measuring

    if (plain is None) != (sealed is None):
        raise Misuse("the same model is wanted plain and sealed: --plain and --sealed")
    if plain is None or sealed is None:
        found = measuring.throughput()
    else:
        import modelseal

        with files.about(plain), context.client(state, app) as client:
            modelseal.use(client)
            found = measuring.model(plain, sealed)
    talk.answer(found, lambda: _tell_bench(found), as_json=as_json)
    return 0


def _tell_bench(found: Report) -> None:
    rows = [
        (m.what, f"{m.seconds * 1e3:.1f}", f"{m.ratio:.3f}", f"{m.cpu_ratio:.3f}")
        for m in found.measured
    ]
    title = said("doctor_bench", megabytes=f"{found.size_bytes / 1e6:.0f}",
                 processors=found.processors)  # fmt: skip
    columns = [said(f"doctor_bench_{name}") for name in ("what", "ms", "ratio", "cpu")]
    tables.table(title, columns, rows)
    if found.identical is not None:
        talk.said("doctor_same" if found.identical else "doctor_not_same")


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
    from modelseal.desk import workspace as workspaces

    asked = context.ask_passphrase if context.stdin_is_terminal() else None
    with workspaces.open(home, ask=asked) as desk:
        yield Finding("trust.json", "ok", said("doctor_trust_holds", product=desk.product))
        if desk.kit.exists():
            step = said("doctor_print_kit")
            yield Finding("recovery kit", "bad", said("doctor_kit_there"), step)
        else:
            yield Finding("recovery kit", "ok", said("doctor_kit_gone"))
        if desk.has_desk:  # a host that serves has the other half alone
            yield _backup(desk)
        if desk.has_server and desk.kek_old:
            yield Finding(
                "key-encryption key",
                "bad",
                said("doctor_kek_interrupted"),
                said("doctor_rotate_again"),
            )
        yield from _ages(desk)
        yield from _permissions(desk.desk, desk.server)
        yield from _key_stores(desk)


def _backup(desk: Workspace) -> Finding:
    from modelseal.desk import backup

    tested_at = backup.last_recovery_test(desk)
    if tested_at is not None:
        return Finding("backup", "ok", said("doctor_backup_proved", at=tables.cell(tested_at)))
    told = said("doctor_backup_old" if backup.is_old(desk) else "doctor_backup_none")
    return Finding("backup", "bad", told, said("doctor_make_backup"))


def _key_stores(desk: Workspace) -> Iterator[Finding]:
    """Every key URI of the workspace, tried: something is wrapped and opened again."""
    from modelseal.desk import keystores

    for found in keystores.examine(desk):
        what = f"key store {found.use}"
        if found.error is not None:
            told = f"{found.error.message} {found.error.reason}"
            yield Finding(what, "bad", told, found.error.next_step, found.error.exit_code)
        elif not found.tried:
            yield Finding(what, "note", said("doctor_key_asks", uri=found.uri))
        else:
            told = said("doctor_key_works", uri=found.uri, level=f"L{found.level or 0}",
                        ms=f"{found.milliseconds or 0:.1f}")  # fmt: skip
            yield Finding(what, "ok", told)


def _ages(desk: Workspace) -> Iterator[Finding]:
    """How old the keys are that work every day, and how long the certificate still holds."""
    from datetime import UTC, datetime

    from modelseal.desk import ages

    now = datetime.now(UTC)
    for use, age in ages.keys(desk, now):
        old = age.days > _OLD_DAYS
        step = said("doctor_rotate_signing") if old else ""
        told = said("doctor_key_old" if old else "doctor_key_age", days=age.days)
        yield Finding(f"{use} key", "note" if old else "ok", told, step)
    ends_at = ages.certificate_ends_at(desk)
    if ends_at is not None:
        left = (ends_at - now).days
        grade: Grade = "ok" if left >= _SHORT_DAYS else "note" if ends_at > now else "bad"
        step = "" if grade == "ok" else said("doctor_renew_certificate")
        name = "doctor_certificate" if ends_at > now else "doctor_certificate_over"
        yield Finding("certificate", grade, said(name, days=max(left, 0)), step)


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
    """A zip with the report, the journal and which settings are in force by the environment.

    None holds a secret or a raw trait by design; all of it is redacted nevertheless.
    """
    import json
    import os
    import zipfile

    from modelseal.cli.redacting import redacted

    if path.exists():
        raise OutputExists("will not overwrite", path=str(path))
    journal: list[dict[str, Any]] = []
    try:
        with context.client(state, app) as client:
            journal = client.journal.read()
    except ModelsealError as error:
        journal = [{"journal": error.code}]
    with files.whole(path) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("doctor.json", redacted(json.dumps(report, indent=2, ensure_ascii=False)))
        lines = (json.dumps(talk.plain(entry), ensure_ascii=False) for entry in journal)
        bundle.writestr("journal.jsonl", "".join(redacted(line) + "\n" for line in lines))
        names = sorted(name for name in os.environ if name.startswith("MODELSEAL_"))
        bundle.writestr("environment.json", json.dumps({"set": names}, indent=2))


def _tell(findings: list[Finding], bundle: Path | None) -> None:
    marks = {"ok": "ok  ", "note": "note", "bad": "BAD "}
    for finding in findings:
        talk.write(f"{marks[finding.grade]}  {finding.what}: {finding.text}\n")
        if finding.next_step:
            talk.write(f"      {finding.next_step}\n")
    if bundle is not None:
        talk.said("bundled", path=bundle)
