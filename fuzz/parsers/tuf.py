"""TUF metadata and the key list, before any signature is looked at."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.harness import refusable, vector
from modelseal import strict_json
from modelseal.trust import keylist, metadata

MAX_BYTES = 1 << 14
_KINDS = ("root", "targets", "snapshot", "timestamp")


def seeds() -> Iterable[bytes]:
    """The parts of the vectors."""
    for name in ("trust", "hybrid"):
        told = vector(f"trust/{name}.json")
        for part in (told["root"], *told["keys"].values()):
            yield strict_json.encode(part)
    for each in vector("trust/manifest.json")["updates"]:
        for text in (*each["roots"], each["targets"], each["keys_role"], each["key_list"]):
            yield text.encode() if isinstance(text, str) else strict_json.encode(text)


def check(data: bytes) -> None:
    """Roles, delegations and thresholds of every kind; a key list is written the same way."""
    for kind in _KINDS:
        with refusable():
            found = metadata.read(data, kind)
            if kind == "root":
                found.verify(metadata.top_level_roles(found)["root"])
            elif kind == "targets":
                metadata.check_target(found, "keys", b"")
                metadata.delegated_role(found, "keys")
    assert keylist.write(keylist.read(data)) == data
