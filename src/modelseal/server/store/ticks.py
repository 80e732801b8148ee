"""The statements of a tick: the devices of many renewals are read by one, written by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, select, update

from modelseal.server.store import tables as t
from modelseal.server.store.bulk import Bulk
from modelseal.server.store.devices import ACTIVE, READ
from modelseal.server.store.rows import DeviceRow, LicenseRow
from modelseal.server.store.tokens import COUNTER

_LICENSE = [t.licenses.c[field.name] for field in fields(LicenseRow)]
_OF_THESE = t.devices.c.device_id.in_(bindparam("ids", expanding=True))
_SAME = t.licenses.c.license_id == t.devices.c.license_id
_NUMBER = COUNTER.scalar_subquery()
_ROWS = select(*READ, _NUMBER).where(_OF_THESE)
_LICENSES = select(*_LICENSE).where(t.licenses.c.license_id.in_(bindparam("ids", expanding=True)))
_PLACES = (
    select(
        t.devices.c.device_id,
        t.devices.c.seq,
        t.devices.c.state,
        t.devices.c.status_value,
        t.devices.c.held,
        t.licenses.c.version,
        _NUMBER,
    )
    .join(t.licenses, _SAME)
    .where(_OF_THESE)
)
_DROP = delete(t.bundles).where(
    t.bundles.c.device_id.in_(bindparam("ids", expanding=True)),
    t.bundles.c.ends_at < bindparam("before"),
)
WRITTEN = (
    "seq", "lease_id", "lease_iat", "lease_exp", "renew_after_at", "question", "recipient",
    "under", "prev", "answer", "event_id", "bound", "enforcement", "level",
)  # fmt: skip
"""The columns that an ordinary renewal writes; its lease is the newest answer."""
_EMPTY = ("last_jti", "lease_seq", "asked_seq", "last_contact_at", "drift")
"""Those that say nothing after it that others do not say."""
_NEXT = (
    update(t.devices)
    .where(
        t.devices.c.license_id == bindparam("of_license"),
        t.devices.c.device_id == bindparam("of_device"),
        t.devices.c.seq == bindparam("after"),
        t.devices.c.state == ACTIVE,
        t.devices.c.status_value == bindparam("same_status"),
        t.devices.c.held.is_(False),
    )
    .values({name: bindparam(f"new_{name}") for name in WRITTEN} | dict.fromkeys(_EMPTY))
)


_WHOSE = ("of_license", "of_device", "after", "same_status")
_NEW = tuple((name, f"new_{name}") for name in WRITTEN)
_ADVANCE = Bulk(lambda _tx: _NEXT, [*_WHOSE, *(new for _name, new in _NEW)])


class Place(Struct, frozen=True):
    """All that an act about a device or its license moves on."""

    seq: int
    state: str
    status_value: int
    held: bool
    license_version: int


def place_of(device: DeviceRow, license_row: LicenseRow) -> Place:
    """Where a device stood when it was read."""
    return Place(device.seq, device.state, device.status_value, device.held, license_row.version)


def rows(
    tx: Connection, ids: Sequence[str], counter: str
) -> tuple[int, dict[str, tuple[DeviceRow, LicenseRow]]]:
    """The value of ``counter``, and these devices with their licenses, by device id.

    Each license is read once. Where there is none of the devices the value is 0.
    """
    found = tx.execute(_ROWS, {"ids": ids, "name": counter}).all()
    if not found:
        return 0, {}
    devices = [DeviceRow(*row[:-1]) for row in found]
    of_these = {"ids": list({device.license_id for device in devices})}
    licenses = {row[0]: LicenseRow(*row) for row in tx.execute(_LICENSES, of_these)}
    known = {
        device.device_id: (device, licenses[device.license_id])
        for device in devices
        if device.license_id in licenses
    }
    return found[0][-1] or 0, known


def places(tx: Connection, ids: Sequence[str], counter: str) -> tuple[int, dict[str, Place]]:
    """The value of ``counter``, and where these devices stand now.

    Where there is none of the devices the value is 0.
    """
    found = tx.execute(_PLACES, {"ids": ids, "name": counter}).all()
    number = (found[0][-1] or 0) if found else 0
    return number, {row[0]: Place(*row[1:-1]) for row in found}


def advance(tx: Connection, moves: Sequence[tuple[DeviceRow, Mapping[str, Any]]]) -> bool:
    """Every device has its next lease (``WRITTEN``); False when one of them had moved on."""
    done = _ADVANCE.execute(
        tx,
        [
            {
                "of_license": device.license_id,
                "of_device": device.device_id,
                "after": device.seq,
                "same_status": device.status_value,
                **{new: values[name] for name, new in _NEW},
            }
            for device, values in moves
        ],
    )
    return done == len(moves)


def drop_bundles(tx: Connection, ids: Sequence[str], ended_before: datetime) -> None:
    """Bundles of these devices whose lease has ended are gone."""
    tx.execute(_DROP, {"ids": ids, "before": ended_before})
