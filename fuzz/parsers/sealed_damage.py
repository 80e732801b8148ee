"""A signed sealed model, changed anywhere, in the hands of a licensee who has the keys."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from fuzz.harness import VECTORS, vector
from modelseal import container
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import ModelsealError

_MANIFEST = vector("sealed-model/manifest.json")
_CASE = next(each for each in _MANIFEST["valid"] if each["file"] == "small.sealed")
_WHOLE = (VECTORS / "sealed-model" / _CASE["file"]).read_bytes()
_TRUST = [VerifyKey.from_jwk(_MANIFEST["keys"][name]) for name in _CASE["trust"]]
_KEYS = {int(section): bytes.fromhex(key) for section, key in _CASE["data_keys"].items()}
_CHANGE = struct.Struct("<IBB")
MAX_BYTES = 256


def _open(data: bytes) -> list[bytes]:
    model = container.parse(container.BytesSource(data)).verify_signatures(_TRUST, product=None)
    model.open_index(_KEYS[0])
    found = []
    for section in sorted(_KEYS):
        target = bytearray(model.section(section).plain_bytes)
        try:
            model.open_section(section, _KEYS[section], memoryview(target))
        except ModelsealError:
            assert not any(target), "plaintext was handed out before its chunk was verified"
            raise
        found.append(bytes(target))
    return found


_PLAIN = _open(_WHOLE)


def seeds() -> Iterable[bytes]:
    """Changes: place, kind, value."""
    yield b""
    for place in (0, 12, 64, 128, 400, len(_WHOLE) - 17, len(_WHOLE) - 1):
        yield _CHANGE.pack(place, 0, 1)
        yield _CHANGE.pack(place, 1, 3) + _CHANGE.pack(place, 2, 200)


def check(data: bytes) -> None:
    """The file opens to what was sealed, or it is refused; never to anything else."""
    changed = bytearray(_WHOLE)
    for place, kind, value in _CHANGE.iter_unpack(data[: len(data) // 6 * 6]):
        at = place % max(1, len(changed))
        if kind % 4 == 0 and changed:
            changed[at] ^= value
        elif kind % 4 == 1:
            del changed[at : at + value]
        elif kind % 4 == 2:
            changed[at:at] = bytes(value)
        else:
            changed[at : at + 64] = changed[:64]
    assert _open(bytes(changed)) == _PLAIN
