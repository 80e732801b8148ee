"""A value in a TPM that only moves on: what it was before, nobody makes it again.

An NV index of the kind *extend*: each step sets it to the hash of what it holds and of what is
given. Whoever keeps state on a disk and steps this along with it notices an older copy. Its owner
may erase the index, which is noticed too. The TPM is that of a ``tpm2:`` key URI.
"""

from __future__ import annotations

import hashlib

from modelseal.errors import KeyStoreUnavailable, TpmFailed
from modelseal.keys.tpm2.root import TIMEOUT_SECONDS
from modelseal.keys.tpm2.uri import parse_uri
from modelseal.tpm2.chip import Tpm, connect, nv
from modelseal.tpm2.chip.codes import Rc, is_rc
from modelseal.tpm2.wire.codes import NvAttribute

SIZE = 32
_FIRST, _ROOM = 0x01800000, 0x400000
"""Handles of indices that belong to the TPM's owner."""
_TRIES = 16
_KIND = NvAttribute(int(nv.OUR_CHAIN | NvAttribute.NO_DA))


def after(value: bytes, step: bytes) -> bytes:
    """What the chain holds after ``step``, where it holds ``value`` before."""
    return hashlib.sha256(value + step).digest()


def make(uri: str, name: bytes, step: bytes) -> int:
    """A new chain that took one ``step``: its handle, chosen by ``name`` among those not used.

    Raises ``KeyStoreUnavailable`` where the TPM has no room or its owner has a password.
    """
    start = int.from_bytes(hashlib.sha256(name).digest()[:4], "big")
    try:
        with _tpm(uri) as tpm:
            for number in range(_TRIES):
                handle = _FIRST + (start + number) % _ROOM
                if nv.find_index(tpm, handle) is None:
                    nv.extend(tpm, nv.define(tpm, handle, SIZE, nv.OUR_CHAIN), step)
                    return handle
    except TpmFailed as error:
        raise _unavailable(uri, error) from error
    raise KeyStoreUnavailable("the TPM has no free index near the one wanted", uri=uri)


def read(uri: str, handle: int) -> bytes | None:
    """What the chain holds; None where there is no such chain."""
    try:
        with _tpm(uri) as tpm:
            index = nv.find_index(tpm, handle)
            if index is None or index.attributes & ~NvAttribute.WRITTEN != _KIND:
                return None
            return nv.read(tpm, index)
    except TpmFailed as error:
        if is_rc(error, Rc.NV_UNINITIALIZED):
            return None
        raise _unavailable(uri, error) from error


def extend(uri: str, handle: int, step: bytes) -> None:
    """The chain took one ``step``."""
    try:
        with _tpm(uri) as tpm:
            nv.extend(tpm, nv.read_index(tpm, handle), step)
    except TpmFailed as error:
        raise _unavailable(uri, error) from error


def erase(uri: str, handle: int) -> None:
    """There is no such chain."""
    try:
        with _tpm(uri) as tpm:
            index = nv.find_index(tpm, handle)
            if index is not None:
                nv.undefine(tpm, index)
    except TpmFailed as error:
        raise _unavailable(uri, error) from error


def _tpm(uri: str) -> Tpm:
    return connect(parse_uri(uri).address, timeout_seconds=TIMEOUT_SECONDS)


def _unavailable(uri: str, error: TpmFailed) -> KeyStoreUnavailable:
    return KeyStoreUnavailable(f"the TPM keeps no chain: {error.detail}", uri=uri)
