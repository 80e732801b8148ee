"""Records of sealed models that were verified wholly, so that ``pull`` need not read them again and
loads need compare the tags only.

A record holds only for the very file it was made for: it is a MAC under a device key over size,
device, inode, both times of the *opened descriptor* and the leaf hash. Any touch ends it.
"""

from __future__ import annotations

import hashlib
import hmac
import os

import msgspec

from modelseal import cbor
from modelseal.client.folder import Folder
from modelseal.client.identity import Identity
from modelseal.errors import ModelsealError

FILE_NAME = "verified.json"
TYP = "modelseal-verified"
VERSION = 1
_MAX_BYTES = 1 << 20
_MAX_RECORDS = 4096

File = int | os.stat_result
"""An open descriptor, or what ``os.fstat`` said of it before its content was read."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    typ: str
    version: int
    records: list[str]


def holds(folder: Folder, me: Identity, file: File, leaf_hash: bytes) -> bool:
    """Whether ``file`` is the one that was verified with that leaf table."""
    mine = _record(me, file, leaf_hash)
    return any(hmac.compare_digest(mine, other) for other in _read(folder))


def remember(folder: Folder, me: Identity, file: File, leaf_hash: bytes) -> None:
    """``holds`` is true from now on; a folder that cannot be written remembers nothing."""
    mine = _record(me, file, leaf_hash)
    records = [other for other in _read(folder) if other != mine][-(_MAX_RECORDS - 1) :]
    data = msgspec.json.encode(_File(TYP, VERSION, [*records, mine]))
    try:
        folder.write(FILE_NAME, data)
    except ModelsealError:
        return


def _read(folder: Folder) -> list[str]:
    try:
        data = folder.read(FILE_NAME, _MAX_BYTES)
        if data is None:
            return []
        found = msgspec.json.decode(data, type=_File)
    except (ModelsealError, msgspec.MsgspecError, UnicodeDecodeError):
        return []
    return found.records if (found.typ, found.version) == (TYP, VERSION) else []


def _record(me: Identity, file: File, leaf_hash: bytes) -> str:
    at = file if isinstance(file, os.stat_result) else os.fstat(file)
    seen = [at.st_size, at.st_dev, at.st_ino, at.st_mtime_ns, at.st_ctime_ns, leaf_hash]
    message = cbor.encode(["modelseal verified", VERSION, *seen])
    return hmac.new(me.storage_key, message, hashlib.sha256).hexdigest()
