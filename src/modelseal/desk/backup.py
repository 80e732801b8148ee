"""The backup: every key of a workspace in one file under the recovery passphrase, and back.

``restore_backup`` undoes ``backup``; ``recovery_test`` proves that it would. Normative:
``docs/spec/keys.md``. The server's database is not in it (``modelseal server backup``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from modelseal.desk import archive, kit, proving, recovery, restoring, staging
from modelseal.desk.archive import Archive
from modelseal.desk.halves import RECOVERY_SECRET
from modelseal.desk.workspace import Workspace
from modelseal.errors import (
    BackupInvalid,
    InputMissing,
    OutputExists,
    PassphraseWrong,
    WrappedKeyInvalid,
)
from modelseal.keys import files, passphrase
from modelseal.keys.passphrase import RFC_9106_LOW_MEMORY, Work
from modelseal.keys.provider import Ask
from modelseal.types import check_aware

PURPOSE = "backup"
MAX_BYTES = 256 * 1024 * 1024


class BackupMade(msgspec.Struct, frozen=True):
    """A backup that was written: how many private keys and models' data keys are in it.

    ``elsewhere`` private keys are not: hardware or a key store keeps them.
    """

    path: str
    keys: int
    models: int
    created_at: datetime
    elsewhere: int = 0


class BackupProved(msgspec.Struct, frozen=True):
    """A backup that was proved. ``missing`` are models sealed since it was made.

    ``elsewhere`` private keys were not proved: hardware or a key store keeps them.
    """

    keys: int
    models: int
    created_at: datetime
    product: str
    missing: list[str]
    recovered_file: bool
    elsewhere: int = 0


class PassphraseRotated(msgspec.Struct, frozen=True):
    """``kit`` is the page to print; until it is removed it is the only copy of the passphrase."""

    kit: str


class BackupRestored(msgspec.Struct, frozen=True):
    """A workspace that was built anew."""

    home: str
    product: str
    keys: int
    models: int


def backup(
    workspace: Workspace,
    path: Path | str,
    recovery_passphrase: str | None = None,
    *,
    now: datetime | None = None,
    random: Callable[[int], bytes] = os.urandom,
    work: Work = RFC_9106_LOW_MEMORY,
) -> BackupMade:
    """All keys of the workspace in the new file ``path``, mode 0600.

    ``recovery_passphrase`` is compared with the one that ``init`` made, so that no backup is
    written that the printed kit cannot open; None takes it from the desk. Raises
    ``PassphraseWrong``, ``OutputExists``, ``DiskFull``, ``StateNotWritable``.
    """
    at = check_aware(now or datetime.now(UTC))
    path = Path(path)
    if os.path.lexists(path):
        raise OutputExists("the file exists already", path=str(path))
    own = workspace.desk_keys.secret(RECOVERY_SECRET).decode("ascii")
    if recovery_passphrase is not None and kit.normalise(recovery_passphrase) != own:
        raise PassphraseWrong("not the recovery passphrase of this workspace")
    content = archive.collect(workspace, at)
    data = passphrase.protect(archive.encode(content), own, PURPOSE, random=random, work=work)
    files.write_new(path, data)
    return BackupMade(str(path), content.key_count, len(content.models), at, content.elsewhere)


def recovery_test(
    path: Path | str,
    recovery_passphrase: str,
    *,
    workspace: Workspace | None = None,
    sealed: Path | str | None = None,
    typed: bool = True,
    now: datetime | None = None,
) -> BackupProved:
    """Opens the backup in memory and proves every key in it; writes nothing but the date.

    Every private key loads and is the one its id names; every key that the trust lists is there;
    with ``workspace`` the trust is that workspace's, and the desk remembers the date for
    ``doctor``; with ``sealed`` the recovery entry of that sealed file opens to its data keys.
    ``typed`` is False when the passphrase came from the kit on the disk: that proves the file but
    not the paper. Raises ``PassphraseWrong``, ``BackupInvalid``.
    """
    at = check_aware(now or datetime.now(UTC))
    content = _open(Path(path), recovery_passphrase)
    proving.prove(content)
    missing = [] if workspace is None else proving.compare(content, workspace)
    if sealed is not None:
        proving.prove_recovery(content, Path(sealed))
    if workspace is not None and workspace.has_desk:
        recovery.remember(workspace.desk, content, at, typed=typed)
    return BackupProved(
        keys=content.key_count,
        models=len(content.models),
        created_at=content.created_at,
        product=content.product,
        missing=missing,
        recovered_file=sealed is not None,
        elsewhere=content.elsewhere,
    )


def last_recovery_test(workspace: Workspace) -> datetime | None:
    """When the backup was proved, with a typed passphrase; None when never, or it is old by now."""
    found = recovery.state(workspace)
    return found.tested_at if found.typed and not found.rotated else None


def is_old(workspace: Workspace) -> bool:
    """True when keys were rotated since the backup was made that was proved last."""
    return recovery.state(workspace).rotated


def rotate_passphrase(
    workspace: Workspace,
    *,
    now: datetime | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> PassphraseRotated:
    """Backups are made under a new passphrase, printed on a new ``recovery-kit.txt``.

    Old backups open with the old passphrase for ever: destroy them.
    """
    at = check_aware(now or datetime.now(UTC))
    fresh = kit.generate(random)
    workspace.desk_keys.replace_secret(RECOVERY_SECRET, fresh.encode(), not_before=at)
    recovery.forget(workspace.desk)
    text = kit.render(
        fresh, product=workspace.product, server_id=workspace.server_id, created_at=at
    )
    files.replace(workspace.kit, text.encode())
    return PassphraseRotated(str(workspace.kit))


def restore_backup(
    path: Path | str,
    recovery_passphrase: str,
    home: Path | str,
    *,
    ask: Ask | None = None,
    now: datetime | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> BackupRestored:
    """A workspace at the new or empty folder ``home`` with the keys of the backup.

    The desk gets a fresh desk key; the key-encryption key is the old one, so that a restored
    database opens. ``ask`` is called when that key had a passphrase. A failure leaves nothing
    behind. Raises as ``recovery_test`` and ``workspace.init`` do.
    """
    at = check_aware(now or datetime.now(UTC))
    content = _open(Path(path), recovery_passphrase)
    proving.prove(content)
    with staging.new_folder(Path(home)) as folder:
        restoring.write(content, folder, at=at, ask=ask, random=random)
    return BackupRestored(str(home), content.product, content.key_count, len(content.models))


def _open(path: Path, recovery_passphrase: str) -> Archive:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputMissing("there is no such file", path=str(path)) from None
    except OSError as error:
        raise files.translated(error, path) from None
    if len(data) > MAX_BYTES or not passphrase.is_protected(data):
        raise BackupInvalid("this is no backup", path=str(path))
    try:
        plain = passphrase.reveal(data, kit.normalise(recovery_passphrase), PURPOSE)
    except WrappedKeyInvalid as error:
        raise BackupInvalid(error.detail, path=str(path)) from None
    return archive.decode(plain)
