"""What the desk remembers of every sealed model: its data keys (wrapped), release and names.

``add`` and ``keys_of`` undo each other. Normative: ``docs/spec/keys.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from modelseal import cbor, strict_json
from modelseal.cbor import CborInvalid
from modelseal.desk import lock
from modelseal.errors import InputMissing, KeyStoreUnavailable, Misuse, NotFound, StateDamaged
from modelseal.keys import files
from modelseal.keys.envelope import Context
from modelseal.keys.provider import KeyProvider
from modelseal.types import from_numeric, to_numeric

MAGIC = b"\x89MSD1\r\n\x1a"
VERSION = 1
MAX_BYTES = 1024 * 1024
FILE_ID_BYTES = 32
KEY_BYTES = 32
_PREFIX = MAGIC + bytes([VERSION])
_RELEASES = "releases.json"
_MEMBERS = [
    "created_at",
    "digest",
    "file",
    "model",
    "model_version",
    "name",
    "release",
    "size_bytes",
    "wrapped",
]


@dataclass(frozen=True, slots=True)
class DataKeys:
    """The data keys of one sealed model by section, and its secret for *together with*."""

    keys: Mapping[int, bytes] = field(repr=False)
    together: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """One sealed model. ``name`` is what it is pulled as; ``digest`` is empty.

    Records of the first release hold the file's SHA-256 (hex) there. It decides nothing.
    """

    file_id: bytes
    model: str
    model_version: str
    release: int
    digest: str
    size_bytes: int
    name: str
    created_at: datetime
    wrapped: bytes = field(default=b"", repr=False)


class ModelRecords:
    """The records in ``folder``, one file each, data keys wrapped by the desk's provider."""

    def __init__(self, folder: Path, provider: KeyProvider, *, product: str) -> None:
        self._folder = folder
        self._provider = provider
        self._product = product

    def add(self, record: ModelRecord, keys: DataKeys) -> None:
        """Afterwards the record and its keys are kept; ``OutputExists`` for a known file id."""
        plain: dict[str, Any] = {"keys": dict(keys.keys)}
        if keys.together is not None:
            plain["together"] = keys.together
        wrapped = self._provider.wrap(cbor.encode(plain), self._context(record))
        members = {
            "file": record.file_id,
            "model": record.model,
            "model_version": record.model_version,
            "release": record.release,
            "digest": record.digest,
            "size_bytes": record.size_bytes,
            "name": record.name,
            "created_at": to_numeric(record.created_at),
            "wrapped": wrapped,
        }
        files.write_new(self._path(record.file_id), _PREFIX + cbor.encode(members))

    def get(self, file_id: bytes) -> ModelRecord:
        """The record of one sealed file; ``NotFound`` when this desk did not seal it."""
        path = self._path(file_id)
        try:
            data = files.read_secret(path, max_bytes=MAX_BYTES)
        except InputMissing:
            raise NotFound("this desk holds no data keys for the file") from None
        record = _parse(data, str(path))
        if record.file_id != file_id:
            raise StateDamaged("a record under another file id", path=str(path))
        return record

    def keys_of(self, record: ModelRecord) -> DataKeys:
        """The data keys of ``record``, unwrapped."""
        plain = self._provider.unwrap(record.wrapped, self._context(record))
        try:
            value = cbor.decode(plain, max_bytes=MAX_BYTES)
        except CborInvalid:
            raise KeyStoreUnavailable("the key provider answered with no data keys") from None
        return _data_keys(value)

    def all(self) -> list[ModelRecord]:
        """Every record, by model and release."""
        try:
            paths = sorted(self._folder.glob("*.key"))
        except OSError as error:
            raise files.translated(error, self._folder) from None
        found = [_parse(files.read_secret(path, max_bytes=MAX_BYTES), str(path)) for path in paths]
        return sorted(found, key=lambda record: (record.model, record.release))

    def newest(self, model: str) -> ModelRecord | None:
        """The record of the newest release of ``model``; None when there is none."""
        found = [record for record in self.all() if record.model == model]
        return found[-1] if found else None

    def reserve_release(self, model: str, *, published: int, wanted: int | None = None) -> int:
        """A release of ``model`` that nobody else gets: the next one, or ``wanted``.

        ``published`` is the newest in the catalog. ``Misuse`` when ``wanted`` is not newer.
        """
        with lock.exclusive(self._folder):
            given = self._given()
            sealed = max((r.release for r in self.all() if r.model == model), default=0)
            last = max(given.get(model, 0), sealed, published)
            release = last + 1 if wanted is None else wanted
            if release <= last:
                raise Misuse(f"release {last} of {model} exists; releases only grow", model=model)
            given[model] = release
            files.replace(self._folder / _RELEASES, strict_json.encode(given))
        return release

    def _given(self) -> dict[str, int]:
        path = self._folder / _RELEASES
        try:
            value = strict_json.decode(files.read_secret(path), max_bytes=MAX_BYTES)
        except InputMissing:
            return {}
        if not isinstance(value, dict) or not all(type(n) is int for n in value.values()):
            raise StateDamaged("not a map of releases", path=str(path))
        return value

    def _path(self, file_id: bytes) -> Path:
        return self._folder / f"{file_id.hex()}.key"

    def _context(self, record: ModelRecord) -> Context:
        return {
            "purpose": "data-keys",
            "product": self._product,
            "file": record.file_id,
            "model": record.model,
            "release": record.release,
        }


def _parse(data: bytes, where: str) -> ModelRecord:
    if not data.startswith(_PREFIX):
        raise StateDamaged("this is no model record of this version", path=where)
    try:
        members: Any = cbor.decode(data[len(_PREFIX) :], max_bytes=MAX_BYTES)
    except CborInvalid as error:
        raise StateDamaged(error.detail, path=where) from None
    if not isinstance(members, dict) or sorted(map(str, members)) != _MEMBERS:
        raise StateDamaged("the members of a model record are others", path=where)
    kinds: dict[type, tuple[str, ...]] = {
        str: ("model", "model_version", "digest", "name"),
        int: ("release", "size_bytes", "created_at"),
        bytes: ("file", "wrapped"),
    }
    for kind, names in kinds.items():
        if not all(type(members[name]) is kind for name in names):
            raise StateDamaged("a member of a model record has another type", path=where)
    try:
        created_at = from_numeric(members.pop("created_at"))
    except Misuse:
        raise StateDamaged("a time in a model record is none", path=where) from None
    file_id = members.pop("file")
    if len(file_id) != FILE_ID_BYTES:
        raise StateDamaged("a file id has 32 bytes", path=where)
    return ModelRecord(file_id=file_id, created_at=created_at, **members)


def _data_keys(value: object) -> DataKeys:
    keys = value.get("keys") if isinstance(value, dict) else None
    together = value.get("together") if isinstance(value, dict) else None
    good = isinstance(keys, dict) and all(
        type(section) is int and isinstance(key, bytes) and len(key) == KEY_BYTES
        for section, key in keys.items()
    )
    if not good or not isinstance(keys, dict):
        raise KeyStoreUnavailable("the key provider answered with no data keys")
    if together is not None and (not isinstance(together, bytes) or len(together) != KEY_BYTES):
        raise KeyStoreUnavailable("the key provider answered with no data keys")
    return DataKeys(keys, together)
