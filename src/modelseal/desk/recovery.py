"""What ``doctor`` nags about: whether the recovery kit is off the disk and a backup was proved."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from modelseal import strict_json
from modelseal import trust as trusts
from modelseal.desk.archive import Archive
from modelseal.desk.workspace import Workspace
from modelseal.errors import InputMissing, InvalidBytes, Misuse, StateDamaged
from modelseal.keys import files
from modelseal.strict_json import b64u
from modelseal.types import from_numeric, to_numeric

NAME = "recovery.json"


class RecoveryState(msgspec.Struct, frozen=True):
    """``kit_present``: the kit still lies on the disk. ``tested_at``: when a backup was proved.

    ``typed``: with a passphrase that a person typed, not with the kit on the disk. ``unsaved`` are
    models sealed since the proved backup was made; ``rotated``: keys were, so that it is old.
    """

    kit_present: bool
    tested_at: datetime | None
    backup_at: datetime | None
    typed: bool
    unsaved: list[str]
    rotated: bool = False

    @property
    def done(self) -> bool:
        """True when nothing is left to do."""
        return self.typed and not (self.kit_present or self.unsaved or self.rotated)


def state(workspace: Workspace) -> RecoveryState:
    """Where the workspace stands; ``WorkspaceMissing`` without a desk."""
    path = workspace.desk / NAME
    tested_at = backup_at = None
    typed = False
    saved: set[str] = set()
    rotated = False
    try:
        value = strict_json.decode(files.read_secret(path), max_bytes=files.MAX_KEY_FILE_BYTES)
        tested_at, backup_at = from_numeric(value["tested_at"]), from_numeric(value["backup_at"])
        saved = {str(file_id) for file_id in value["models"]}
        typed = value["typed"] is True
        rotated = _is_old(value, workspace)
    except InputMissing:
        pass
    except (InvalidBytes, Misuse, KeyError, TypeError, ValueError):
        raise StateDamaged("not the state of a recovery test", path=str(path)) from None
    unsaved = [
        f"{record.model} release {record.release}"
        for record in workspace.models.all()
        if b64u(record.file_id) not in saved
    ]
    return RecoveryState(
        workspace.kit.exists(), tested_at, backup_at, typed, unsaved, rotated=rotated
    )


def _is_old(value: dict[str, Any], workspace: Workspace) -> bool:
    """True when a key that the proved backup lacks is in force. The first release named no keys."""
    ours = workspace.trust
    known = (int(value.get("root_version", 1)), int(value.get("keys_version", 1)))
    moved = workspace.has_server and value.get("kek", workspace.kek_uri) != workspace.kek_uri
    return known < (ours.root_version, ours.keys_version) or moved


def forget(desk: Path) -> None:
    """Afterwards no backup counts as proved: none opens with the passphrase in force."""
    files.erase(desk / NAME)


def remember(desk: Path, content: Archive, tested_at: datetime, *, typed: bool) -> None:
    """Afterwards the desk remembers that the backup with ``content`` was proved."""
    trust = trusts.parse(content.trust)
    value = {
        "tested_at": to_numeric(tested_at),
        "backup_at": to_numeric(content.created_at),
        "typed": typed,
        "root_version": trust.root_version,
        "keys_version": trust.keys_version,
        "kek": content.kek_uri,
        "models": [b64u(model.file_id) for model in content.models],
    }
    files.replace(desk / NAME, strict_json.encode(value))
