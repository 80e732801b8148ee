"""``state.json``: the small facts about a state folder that are neither token nor key.

It is a note, not a proof: nothing in it grants anything. Its ``version`` is the folder's; older
folders are carried forward step by step in memory and written once, as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from modelseal import strict_json
from modelseal.errors import ModelsealError, StateDamaged
from modelseal.strict_json import JsonInvalid

FILE_NAME = "state.json"
MAX_BYTES = 256 * 1024
TYP = "modelseal-state"
VERSION = 1

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: Mapping[int, Migration] = {}
"""``MIGRATIONS[n]`` makes version n + 1 out of version n; append only, never edit one."""


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The last refusal, for ``status``: its code, reference and time."""

    code: str
    at: int
    reference: str | None = None
    detail: str = ""
    params: dict[str, str | int] = {}


def refusal_of(error: ModelsealError, at: int) -> Refusal:
    """``error`` as it is noted: of its parameters the short texts and numbers."""
    params = {
        name: value if isinstance(value, int) else str(value)[:200]
        for name, value in error.params.items()
        if isinstance(value, (str, int)) and name != "path"
    }
    return Refusal(error.code, at, error.reference, error.detail[:200], params)


class StatusNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the newest status list said about this license: number and value (0 to 3)."""

    number: int
    value: int
    idx: int
    checked_at: int
    exp: int


class MemoryNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the runtime last reached: protection of keys and weights, and whether swap-safe."""

    protection: str
    swap_safe: bool


class MeterNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the server last said of a meter, and what this device had told it then."""

    name: str
    used: int
    limit: int
    told: int = 0
    resets_at: int | None = None


class ProvedNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an attested key release said: ``level`` was reached until ``exp`` (``verdict`` ``ok``),
    or was not, and why, with ``params`` for its text; under which lease.
    """

    level: int
    verdict: str
    at: int
    lease: str
    kinds: list[str] = []
    exp: int = 0
    params: dict[str, str | int] = {}


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The contents of ``state.json``.

    ``code_from`` is the ``seq`` of the newest answer, when leases under codes have followed it,
    ``next_lease`` the last of them that a relay gave out.
    ``verdict`` is why the server took the TPM's proof for none, ``proved`` and
    ``unproved`` what evidence last reached and did not reach.
    """

    product: str
    server: str
    typ: str = TYP
    version: int = VERSION
    device_id: str | None = None
    license_id: str | None = None
    seq: int = 0
    prev: str | None = None
    code_from: int | None = None
    next_lease: str | None = None
    activated_by: str | None = None
    label: str | None = None
    returned: bool = False
    eula: str | None = None
    copyable: bool = False
    last_seen: int | None = None
    heard_at: int | None = None
    last_contact: int | None = None
    last_refusal: Refusal | None = None
    status: StatusNote | None = None
    memory: MemoryNote | None = None
    meters: list[MeterNote] = []
    verdict: str | None = None
    proved: ProvedNote | None = None
    unproved: ProvedNote | None = None


def encode(record: Record) -> bytes:
    """The file's bytes."""
    value = {"typ": record.typ, "version": record.version, **msgspec.to_builtins(record)}
    return strict_json.encode(value)


def decode(data: bytes, path: str = FILE_NAME) -> Record:
    """The record in ``data``, carried forward to this version; ``StateDamaged`` otherwise."""
    try:
        value = strict_json.decode(data, max_bytes=MAX_BYTES)
    except JsonInvalid as error:
        raise StateDamaged(f"state.json: {error.detail}", path=path) from None
    if not isinstance(value, dict) or value.get("typ") != TYP:
        raise StateDamaged("not a state.json", path=path)
    try:
        return msgspec.convert(_forward(value, path), Record, strict=True)
    except msgspec.ValidationError as error:
        raise StateDamaged(f"state.json: {error}"[:200], path=path) from None


def _forward(value: dict[str, Any], path: str) -> dict[str, Any]:
    version = value.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version > VERSION:
        raise StateDamaged("written by a newer release of modelseal; update it", path=path)
    while version < VERSION:
        step = MIGRATIONS.get(version)
        if step is None:
            raise StateDamaged(f"version {version} was never released", path=path)
        value = {**step(value), "version": version + 1}
        version += 1
    return value
