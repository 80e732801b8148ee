"""What is in a backup, as one value and as bytes. ``encode`` and ``decode`` undo each other.

The bytes never touch a disk unencrypted; ``backup`` protects them at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.desk.records import DataKeys, ModelRecord
from modelseal.desk.workspace import Workspace, read_document
from modelseal.errors import BackupInvalid, Conflict, InputMissing, Misuse
from modelseal.keys import file as file_provider
from modelseal.keys import reference
from modelseal.keys.folder import SECRET_ALG, KeyEntry, KeyFolder
from modelseal.types import from_numeric, to_numeric

TYP = "modelseal-backup"
VERSION = 1
MAX_BYTES = 256 * 1024 * 1024
_USE = re.compile(r"[a-z]{1,32}")
_DESK_FILES = ("targets.json", "keys.json", "keys")
_SERVER_FILES = ("server.toml", "tls/server.pem", "tls/server.key")


class StoredKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A private key in the clear, as a backup holds it."""

    use: str
    alg: str
    kid: str
    set: str
    not_before: int
    not_after: int | None
    private: bytes

    def __repr__(self) -> str:
        return f"StoredKey({self.use}, {self.alg}, {self.kid[:8]}…)"

    @property
    def entry(self) -> KeyEntry:
        """What the key file said about it."""
        start = from_numeric(self.not_before)
        end = None if self.not_after is None else from_numeric(self.not_after)
        return KeyEntry(self.use, self.alg, self.kid, self.set, start, end, "", b"")


class StoredModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model record with its data keys in the clear."""

    file_id: bytes
    model: str
    model_version: str
    release: int
    digest: str
    size_bytes: int
    name: str
    created_at: int
    keys: dict[int, bytes]
    together: bytes | None

    def __repr__(self) -> str:
        return f"StoredModel({self.model}, release {self.release})"

    @property
    def record(self) -> ModelRecord:
        """The record, without its keys."""
        return ModelRecord(
            file_id=self.file_id,
            model=self.model,
            model_version=self.model_version,
            release=self.release,
            digest=self.digest,
            size_bytes=self.size_bytes,
            name=self.name,
            created_at=from_numeric(self.created_at),
        )

    @property
    def data_keys(self) -> DataKeys:
        """The data keys."""
        return DataKeys(self.keys, self.together)


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    typ: str
    version: int
    product: str
    server_id: str
    created_at: int
    trust: bytes
    desk: list[StoredKey]
    online: list[StoredKey]
    kek_uri: str
    kek: bytes | None
    models: list[StoredModel]
    documents: dict[str, bytes]
    server_files: dict[str, bytes]


@dataclass(frozen=True)
class Archive:
    """Everything that a workspace cannot be built anew without."""

    product: str
    server_id: str
    created_at: datetime
    trust: bytes
    desk: list[StoredKey]
    online: list[StoredKey]
    kek_uri: str
    kek: bytes | None = field(repr=False)
    models: list[StoredModel]
    documents: dict[str, bytes]
    server_files: dict[str, bytes] = field(repr=False)

    @property
    def key_count(self) -> int:
        """Private keys that are here, the key-encryption key among them; no data keys."""
        return self._all - self.elsewhere + 1

    @property
    def elsewhere(self) -> int:
        """Private keys that hardware or a key store keeps, and this holds the place of."""
        kept = [key for key in (*self.desk, *self.online) if reference.is_reference(key.private)]
        return len(kept) + (self.kek is None)

    @property
    def _all(self) -> int:
        return len([key for key in (*self.desk, *self.online) if key.alg != SECRET_ALG])


def collect(workspace: Workspace, at: datetime) -> Archive:
    """Everything of ``workspace``; both halves must be here."""
    kek_uri = workspace.kek_uri
    if workspace.kek_old:
        raise Conflict("a rotation of the key-encryption key is unfinished; repeat it first")
    names = [*_DESK_FILES, *_roots(workspace)]
    return Archive(
        product=workspace.product,
        server_id=workspace.server_id,
        created_at=from_numeric(to_numeric(at)),
        trust=workspace.trust.raw,
        desk=_keys(workspace.desk_keys),
        online=_keys(workspace.online_keys),
        kek_uri=kek_uri,
        kek=_kek(workspace, kek_uri),
        models=_models(workspace),
        documents={name: read_document(workspace.desk / "tuf" / name) for name in names},
        server_files=_server_files(workspace),
    )


def encode(content: Archive) -> bytes:
    """Deterministic CBOR of ``content``."""
    members: dict[str, Any] = {
        "typ": TYP,
        "version": VERSION,
        "product": content.product,
        "server_id": content.server_id,
        "created_at": to_numeric(content.created_at),
        "trust": content.trust,
        "desk": [msgspec.structs.asdict(key) for key in content.desk],
        "online": [msgspec.structs.asdict(key) for key in content.online],
        "kek_uri": content.kek_uri,
        "kek": content.kek,
        "models": [msgspec.structs.asdict(model) for model in content.models],
        "documents": content.documents,
        "server_files": content.server_files,
    }
    return cbor.encode(members)


def decode(data: bytes) -> Archive:
    """The archive in ``data``; ``BackupInvalid`` when it is of another form or version."""
    try:
        value = cbor.decode(data, max_bytes=MAX_BYTES)
        raw = msgspec.convert(value, _Content, strict=True)
        created_at = from_numeric(raw.created_at)
        for item in (*raw.desk, *raw.online):
            _check(item)
        for model in raw.models:
            from_numeric(model.created_at)
    except (CborInvalid, Misuse) as error:
        raise BackupInvalid(error.detail) from None
    except (msgspec.ValidationError, ValueError) as error:
        raise BackupInvalid(str(error)[:200]) from None
    if raw.typ != TYP or raw.version != VERSION:
        raise BackupInvalid("made by another version of modelseal")
    return Archive(
        product=raw.product,
        server_id=raw.server_id,
        created_at=created_at,
        trust=raw.trust,
        desk=raw.desk,
        online=raw.online,
        kek_uri=raw.kek_uri,
        kek=raw.kek,
        models=raw.models,
        documents=raw.documents,
        server_files=raw.server_files,
    )


def _check(key: StoredKey) -> None:
    from_numeric(key.not_before)
    if key.not_after is not None:
        from_numeric(key.not_after)
    if not _USE.fullmatch(key.use):  # it becomes part of a file name
        raise BackupInvalid("a key in the backup has an odd use")


def _keys(folder: KeyFolder) -> list[StoredKey]:
    return [
        StoredKey(
            use=entry.use,
            alg=entry.alg,
            kid=entry.kid,
            set=entry.set,
            not_before=to_numeric(entry.not_before),
            not_after=None if entry.not_after is None else to_numeric(entry.not_after),
            private=folder.private_bytes(entry),
        )
        for entry in folder.entries()
    ]


def _models(workspace: Workspace) -> list[StoredModel]:
    found = []
    for record in workspace.models.all():
        keys = workspace.models.keys_of(record)
        found.append(
            StoredModel(
                file_id=record.file_id,
                model=record.model,
                model_version=record.model_version,
                release=record.release,
                digest=record.digest,
                size_bytes=record.size_bytes,
                name=record.name,
                created_at=to_numeric(record.created_at),
                keys=dict(keys.keys),
                together=keys.together,
            )
        )
    return found


def _kek(workspace: Workspace, uri: str) -> bytes | None:
    """The key-encryption key itself when it lies in a file; None when a device keeps it."""
    if not uri.startswith("file:"):
        return None
    return file_provider.read_key(uri, ask=workspace.ask, base=workspace.server)


def _roots(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in (workspace.desk / "tuf").glob("*.root.json"))


def _server_files(workspace: Workspace) -> dict[str, bytes]:
    found = {}
    for name in _SERVER_FILES:
        try:
            found[name] = read_document(workspace.server / name)
        except InputMissing:
            continue
    return found
