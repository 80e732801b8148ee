"""Proving an audit export against the keys that the pinned trust lists for checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modelseal import audit, trust
from modelseal.cli import audit_table, files
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import InputMissing
from modelseal.trust import Use


def read_lines(path: Path) -> list[bytes]:
    """The lines of an export file, JSON Lines or a table."""
    if audit_table.is_table(path):
        return list(audit_table.read(path))
    try:
        with path.open("rb") as file:
            return file.readlines()
    except OSError as error:
        raise InputMissing(error.strerror or "", path=str(path)) from None


def verify(lines: Iterable[bytes], trust_path: Path, witness: Path | None) -> dict[str, Any]:
    """What was proved; raises ``AuditBroken`` that names the fault and where it lies."""
    pinned = trust.parse(files.read(trust_path))
    keys = [VerifyKey.from_jwk(key.jwk, key.alg) for key in pinned.keys(Use.CHECKPOINT)]
    note = None if witness is None else files.read(witness)
    report = audit.verify_export(lines, None, keys, note)
    return {
        "verified": True,
        "size": report.checkpoint.size,
        "root_hash": report.checkpoint.root.hex(),
        "events": report.events,
        "erased": report.erased,
        "witnessed_size": report.witnessed_size,
        "restores": [
            {
                "index": restore.index,
                "snapshot_size": restore.snapshot_size,
                "witnessed_size": restore.witnessed_size,
            }
            for restore in report.restores
        ],
    }
