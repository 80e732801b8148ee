"""What a group of activations looks up in one statement, before the first of them begins.

Whoever finds here that something is not there asks no more. What is there, and all that a rule of
its own applies to, is asked for by itself, after what the group has not written yet was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from modelseal.license.claims import RequestClaims
from modelseal.server.services import duplicates, statuses, trusted
from modelseal.server.services.context import Context
from modelseal.server.store import activations as store
from modelseal.server.store import devices as device_store
from modelseal.server.store import packing
from modelseal.server.store.engine import settle
from modelseal.server.store.rows import DeviceRow, LicenseRow
from modelseal.server.store.together import Group
from modelseal.server.store.tokens import counter

_NAME = "ahead"


@dataclass(slots=True)
class _Ahead:
    """``new`` devices (license, mark of the key) have no row; ``seats`` has the next seat of a
    license that nobody ever had, and the last.
    """

    new: set[tuple[str, bytes]]
    seats: dict[str, tuple[int, int]]
    trust: int | None = None


def look(
    context: Context,
    tx: Connection,
    group: Group,
    asked: Sequence[tuple[LicenseRow, RequestClaims]],
) -> None:
    """The group knows what ``asked`` need. Each license is locked."""
    drawn = statuses.draw(context, len(asked))
    devices = [(row.license_id, claims.iss) for row, claims in asked]
    questions = [duplicates.marks(claims)[0] for _row, claims in asked]
    found = store.look(
        tx, devices, questions, trust=trusted.COUNTER, full=statuses.FULL, places=drawn,
        now=context.now(),
    )  # fmt: skip
    new = {(of, packing.mark(jkt)) for of, jkt in devices} - found.devices
    number = found.counters.get(trusted.COUNTER, 0)
    group.once(_NAME, lambda: _Ahead(new, found.seats, number))
    group.once("trust", lambda: context.trusted.within(tx, number))
    duplicates.know(group, set(questions) - found.questions)
    statuses.know(group, found.counters.get(statuses.FULL, 0), drawn, found.taken)


def device(tx: Connection, group: Group, license_id: str, jkt: str) -> DeviceRow | None:
    """The device of this license with this key, with all that the group did to it."""
    known, mine = _known(group), (license_id, packing.mark(jkt))
    if mine in known.new:
        known.new.remove(mine)
        return None
    group.write()
    return device_store.by_key(tx, license_id, jkt)


def trust_number(tx: Connection, group: Group) -> int:
    """The number of the trust that this transaction sees."""
    number = _known(group).trust
    return counter(tx, trusted.COUNTER) if number is None else number


def seat(group: Group, license_id: str) -> int | None:
    """The next seat of a license that nobody ever had; None where that is to be asked for."""
    number, last = _known(group).seats.get(license_id, (1, 0))
    return number if number <= last else None


def settled(group: Group, license_id: str) -> None:
    """All that the group did is written, and seats of the license are asked for from here on.

    For acts that do more to a license than giving the next seat to a new device.
    """
    group.write()
    _known(group).seats.pop(license_id, None)


def add(tx: Connection, group: Group, device: DeviceRow, now: datetime) -> None:
    """A new device at its seat; written with others of its group where ``seat`` told the seat."""
    seats, of = _known(group).seats, device.license_id
    if device.seat_no is None or device.seat_no != seat(group, of):
        settle(device_store.add(tx, device, now))
        return
    seats[of] = (device.seat_no + 1, seats[of][1])
    group.later(_add, [(device, now)])


def _add(tx: Connection, rows: Sequence[tuple[DeviceRow, datetime]]) -> None:
    settle(store.add(tx, rows))


def _known(group: Group) -> _Ahead:
    return group.once(_NAME, lambda: _Ahead(set(), {}))
