"""What ``doctor`` nags about: whether the recovery kit is off the disk and a backup was proved."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from modelseal import strict_json
from modelseal.desk.workspace import Workspace
from modelseal.errors import InputMissing, InvalidBytes, Misuse, StateDamaged
from modelseal.keys import files
from modelseal.types import from_numeric, to_numeric

NAME = "recovery.json"


class RecoveryState(msgspec.Struct, frozen=True):
    """``kit_present``: the kit still lies on the disk. ``tested_at``: when a backup was proved.

    ``unsaved`` are models sealed since the proved backup was made.
    """

    kit_present: bool
    tested_at: datetime | None
    backup_at: datetime | None
    unsaved: list[str]

    @property
    def done(self) -> bool:
        """True when nothing is left to do."""
        return not self.kit_present and self.tested_at is not None and not self.unsaved


def state(workspace: Workspace) -> RecoveryState:
    """Where the workspace stands; ``WorkspaceMissing`` without a desk."""
    path = workspace.desk / NAME
    tested_at = backup_at = None
    try:
        value = strict_json.decode(files.read_secret(path), max_bytes=4096)
        tested_at, backup_at = from_numeric(value["tested_at"]), from_numeric(value["backup_at"])
    except InputMissing:
        pass
    except (InvalidBytes, Misuse, KeyError, TypeError):
        raise StateDamaged("not the state of a recovery test", path=str(path)) from None
    since = backup_at
    unsaved = [
        f"{record.model} release {record.release}"
        for record in workspace.models.all()
        if since is None or record.created_at > since
    ]
    return RecoveryState(workspace.kit.exists(), tested_at, backup_at, unsaved)


def remember_test(workspace: Workspace, tested_at: datetime, backup_at: datetime) -> None:
    """Afterwards the desk remembers that the backup made at ``backup_at`` was proved."""
    write_state(workspace.desk, tested_at=tested_at, backup_at=backup_at)


def write_state(desk: Path, *, tested_at: datetime, backup_at: datetime) -> None:
    """Like ``remember_test``, for a desk that is being built."""
    value = {"tested_at": to_numeric(tested_at), "backup_at": to_numeric(backup_at)}
    files.replace(desk / NAME, strict_json.encode(value))
