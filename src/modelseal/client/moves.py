"""``device.move``: a move of the device key that was decided, until every file has followed.

``decide`` writes it as one file; ``finish`` carries it out and may be repeated after a crash
anywhere. Nothing in it is secret: the device key is a TPM's, ``lease.key`` is encrypted.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.client import leasekey
from modelseal.client.folder import Folder

FILE_NAME = "device.move"
MAX_BYTES = 1 << 20
MAGIC = b"\x89MSM\r\n\x1a\n"
VERSION = 1
_PREFIX = MAGIC + bytes([VERSION])
_GONE = ("denial.jwt", "next.key", "lease.bundle", "successor.key")


@dataclass(frozen=True, slots=True)
class Move:
    """What the files hold afterwards."""

    device_key: bytes
    lease_key: bytes
    lease: str
    license: str | None


def decide(folder: Folder, move: Move) -> None:
    """The move is durable. Under the lock."""
    value = {
        "device_key": move.device_key,
        "lease_key": move.lease_key,
        "lease": move.lease,
        "license": move.license,
    }
    folder.write(FILE_NAME, _PREFIX + cbor.encode(value))


def finish(folder: Folder) -> None:
    """Every file is as the move says, and the move is done. Under the lock.

    A file that holds no move decides nothing and goes: the question is asked again.
    """
    move = _read(folder.read(FILE_NAME, MAX_BYTES))
    if move is not None:
        if move.license is not None:
            folder.write("license.jwt", move.license.encode("utf-8"))
        folder.write("lease.jwt", move.lease.encode("utf-8"))
        folder.write(leasekey.FILE_NAME, move.lease_key)
        folder.write("device.key", move.device_key)
        for name in _GONE:
            folder.remove(name)
    folder.remove(FILE_NAME)


def _read(data: bytes | None) -> Move | None:
    if data is None or not data.startswith(_PREFIX):
        return None
    try:
        value = cbor.decode(data[len(_PREFIX) :], max_bytes=MAX_BYTES)
        license_ = value["license"]
        move = Move(value["device_key"], value["lease_key"], value["lease"], license_)
    except (CborInvalid, KeyError, TypeError):
        return None
    good = isinstance(move.device_key, bytes) and isinstance(move.lease_key, bytes)
    good = good and isinstance(move.lease, str) and isinstance(license_, (str, type(None)))
    return move if good else None
