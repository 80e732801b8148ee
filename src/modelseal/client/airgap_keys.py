"""``next.key``: what opens leases that were made ahead, encrypted like ``lease.key``.

``waiting`` are the KEM keys in a request file that is not answered yet; ``ready`` the leases that
the last response brought, each still under its code. Normative: ``docs/spec/state-folder.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from modelseal.client.boxed import Kind
from modelseal.client.core import Core
from modelseal.client.identity import Identity
from modelseal.client.state import NEXT
from modelseal.errors import StateDamaged
from modelseal.license.air_gap import NextLease

MAX_BYTES = 8 * 1024 * 1024
KIND = Kind(NEXT, b"\x89MSN\r\n\x1a\n", 1, MAX_BYTES)
_KEM_BYTES = 96


class Noted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an activation by file asked for, noted when it is answered."""

    activated_by: str
    label: str | None
    eula: str | None


class Waiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request with this nonce carried these KEM keys beside the first, in this order."""

    nonce: str
    kems: list[bytes]
    noted: Noted | None = None


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lease under its code and the KEM private key that its data keys are sealed to."""

    lease: NextLease
    kem: bytes


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The leases made ahead with the answer to ``nonce``, and the bundle they name."""

    nonce: str
    slots: list[Slot]
    bundle: bytes | None = None


@dataclass(frozen=True, slots=True)
class NextKeys:
    """The contents of ``next.key``."""

    waiting: Waiting | None = field(default=None, repr=False)
    ready: Ready | None = field(default=None, repr=False)


def read(core: Core, me: Identity) -> NextKeys:
    """What is stored; a damaged file counts as empty, since the next response replaces it."""
    path = str(core.store.path / NEXT)
    try:
        data = core.store.folder.read(NEXT, MAX_BYTES)
        if data is None:
            return NextKeys()
        value: Any = KIND.open_(data, me.storage_key, device=me.kid, path=path)
        return NextKeys(_part(value, "waiting", Waiting), _part(value, "ready", Ready))
    except (StateDamaged, msgspec.ValidationError, AttributeError):
        core.journal.write("state_damaged", file=NEXT)
        return NextKeys()


def write(core: Core, me: Identity, keys: NextKeys) -> None:
    """The file holds exactly ``keys``; it is gone when there are none. Under the lock."""
    if keys == NextKeys():
        core.store.folder.remove(NEXT)
        return
    value = {
        "waiting": msgspec.to_builtins(keys.waiting, builtin_types=(bytes,)),
        "ready": msgspec.to_builtins(keys.ready, builtin_types=(bytes,)),
    }
    sealed = KIND.seal(value, me.storage_key, device=me.kid, random=core.ports.random)
    core.store.folder.write(NEXT, sealed)


def _part(value: Any, name: str, cls: type[Any]) -> Any:
    found = value.get(name)
    return None if found is None else msgspec.convert(found, cls, strict=True)
