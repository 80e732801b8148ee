"""Building a workspace anew from a backup's content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from modelseal import keys
from modelseal.desk import halves, recovery
from modelseal.desk.archive import Archive, StoredKey
from modelseal.desk.records import ModelRecords
from modelseal.desk.workspace import DESK_KEY
from modelseal.errors import BackupInvalid
from modelseal.keys import OnlineKeys, files
from modelseal.keys import file as file_provider
from modelseal.keys.folder import KeyFolder
from modelseal.keys.provider import Ask


def write(
    content: Archive,
    folder: Path,
    *,
    at: datetime,
    ask: Ask | None,
    random: Callable[[int], bytes],
) -> None:
    """Afterwards ``folder`` (staged, empty) is the workspace of ``content``."""
    _write_desk(content, folder / "desk", at)
    _write_server(content, folder / "server", ask=ask, random=random)
    files.write_new(folder / "trust.json", content.trust, mode=0o644)
    recovery.remember(folder / "desk", content, at, typed=True)


def _write_desk(content: Archive, folder: Path, at: datetime) -> None:
    halves.make_folders(folder, ("keys", "tuf", "models"))
    provider = keys.create(DESK_KEY, base=folder)
    kept = KeyFolder(
        folder / "keys", provider, server_id=content.server_id, purpose=halves.DESK_PURPOSE
    )
    _put(kept, content.desk)
    records = ModelRecords(folder / "models", provider, product=content.product)
    for model in content.models:
        records.add(model.record, model.data_keys)
    for name, data in content.documents.items():
        files.write_new(folder / "tuf" / _plain(name), data)
    halves.write_desk_settings(folder, content.product, content.server_id, key=DESK_KEY, at=at)


def _write_server(
    content: Archive, folder: Path, *, ask: Ask | None, random: Callable[[int], bytes]
) -> None:
    halves.make_folders(folder, ("keys", "tls", "blobs"))
    if content.kek is not None:
        file_provider.put_back(content.kek_uri, content.kek, ask=ask, base=folder, random=random)
    provider = keys.open_provider(content.kek_uri, ask=ask, base=folder)
    online = OnlineKeys(folder / "keys", provider, server_id=content.server_id)
    _put(online, content.online)
    for name, data in content.server_files.items():
        parts = [_plain(part) for part in name.split("/")]
        files.write_new(folder.joinpath(*parts), data)


def _put(folder: KeyFolder, stored: Sequence[StoredKey]) -> None:
    for key in stored:
        entry = key.entry
        folder.add_private(
            entry.use, entry.alg, entry.kid, key.private, entry.not_before, entry.not_after,
            entry.set,
        )  # fmt: skip


def _plain(name: str) -> str:
    """One file name, never a path: a backup writes only where it should."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\x00" in name:
        raise BackupInvalid("a file in the backup has an odd name")
    return name
