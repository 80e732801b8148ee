"""How old the keys are that sign every day, and when the server's certificate ends."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509

from modelseal.desk.workspace import Workspace
from modelseal.trust import Use

DAILY = (Use.LICENSE, Use.LEASE, Use.STATUS, Use.CHECKPOINT, Use.SEALING)


def keys(workspace: Workspace, now: datetime) -> list[tuple[str, timedelta]]:
    """The age of the newest listed key of each daily use."""
    found = []
    for use in DAILY:
        starts = [k.not_before for k in workspace.trust.keys(use) if k.valid_at(now)]
        if starts:
            found.append((use.value, now - max(starts)))
    return found


def certificate_ends_at(workspace: Workspace) -> datetime | None:
    """When the server's own certificate ends; None where there is none to read."""
    try:
        data = (workspace.server / "tls" / "server.pem").read_bytes()
        return x509.load_pem_x509_certificate(data).not_valid_after_utc
    except (OSError, ValueError):
        return None
