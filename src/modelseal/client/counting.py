"""What a plan's meters count on this device: durable before it is counted on, told when asking.

The counts have a folder and a lock of their own, so that counting never waits for a renewal. They
only ever grow; the server adds what is new to it, so telling them twice counts nothing twice.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from modelseal import strict_json
from modelseal.client.core import Core
from modelseal.client.folder import Folder
from modelseal.client.lock import exclusive
from modelseal.client.record import MeterNote, Record
from modelseal.errors import Misuse, ModelsealError, NotActivated, StateDamaged
from modelseal.license.claims import Count, Usage
from modelseal.strict_json import JsonInvalid
from modelseal.types import to_numeric

FOLDER = "usage"
FILE_NAME = "counts.json"
TYP = "modelseal-usage"
MAX_METERS = 64
MOST = 2**53 - 1
_MAX_BYTES = 64 * 1024
_LOCK_SECONDS = 60.0
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of ``counts.json``: of which device, and the count of each meter so far."""

    typ: str
    version: int
    device: str
    meters: dict[str, int]


def count(core: Core, meter: str, number: int) -> None:
    """``meter`` has counted ``number`` more, on the disk.

    Raises ``Misuse`` for what is no meter or no number, ``NotActivated``, ``DiskFull`` and the
    other errors of a folder that cannot be written; nothing was counted then.
    """
    if not isinstance(meter, str) or _NAME.fullmatch(meter) is None:
        raise Misuse("a meter is named by a lower-case word of at most 64 characters")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= MOST:
        raise Misuse("a meter counts whole numbers above 0")
    record = core.store.read(tolerant=True).record
    if record is None or record.device_id is None or record.returned:
        raise NotActivated("nothing is counted without an activation", path=str(core.store.path))
    folder = _folder(core)
    folder.create()
    ports = core.ports
    with exclusive(
        folder.path,
        timeout_seconds=_LOCK_SECONDS,
        monotonic=ports.monotonic,
        sleep=ports.sleep,
    ):
        folder.sweep()
        meters = _read(folder, record)
        if meter not in meters and len(meters) >= MAX_METERS:
            raise Misuse(f"at most {MAX_METERS} meters are counted")
        meters[meter] = min(MOST, meters.get(meter, 0) + number)
        found = Counts(typ=TYP, version=1, device=record.device_id, meters=meters)
        folder.write(FILE_NAME, strict_json.encode(msgspec.to_builtins(found)))


def totals(core: Core, record: Record | None) -> dict[str, int]:
    """What each meter has counted on this device; empty where nothing can be read."""
    if record is None or record.device_id is None:
        return {}
    with contextlib.suppress(ModelsealError):
        return _read(_folder(core), record)
    return {}


def usage(core: Core, record: Record | None) -> list[Usage]:
    """The same as a request tells it."""
    known = sorted(totals(core, record).items())
    return [Usage(meter=name, count=number) for name, number in known[:MAX_METERS]]


def notes(found: Mapping[str, Any], told: list[Usage]) -> list[MeterNote]:
    """What an answer says of the plan's meters. It grants nothing, so what is odd is left out."""
    counted = {item.meter: item.count for item in told}
    try:
        meters = msgspec.convert(found.get("meters", []), list[_Told])
        return [
            MeterNote(
                name=meter.name,
                used=meter.used,
                limit=meter.limit,
                resets_at=None if meter.resets_at is None else to_numeric(meter.resets_at),
                told=counted.get(meter.name, 0),
            )
            for meter in meters[:MAX_METERS]
        ]
    except (msgspec.ValidationError, ModelsealError):
        return []


class _Told(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(max_length=64)]
    used: Count
    limit: Count
    resets_at: datetime | None = None


def _folder(core: Core) -> Folder:
    return core.ports.folder(core.store.path / FOLDER)


def _read(folder: Folder, record: Record) -> dict[str, int]:
    """The counts of the device of ``record``. Damaged ones go on from what was told last."""
    with contextlib.suppress(JsonInvalid, msgspec.ValidationError, StateDamaged):
        data = folder.read(FILE_NAME, _MAX_BYTES)
        if data is not None:
            value = strict_json.decode(data, max_bytes=_MAX_BYTES)
            found = msgspec.convert(value, Counts, strict=True)
            if found.typ == TYP and all(0 <= n <= MOST for n in found.meters.values()):
                return dict(found.meters) if found.device == record.device_id else {}
    return {note.name: note.told for note in record.meters if note.told}
