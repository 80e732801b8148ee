"""The statements of a group of activations: all that is read before, and all rows at once.

The caller holds the lock of each license (``licenses.lock_by_key_hash``), so that what is seen of
its number of seats and of those that nobody ever had is so until the transaction ends.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Connection,
    LargeBinary,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    select,
    type_coerce,
    union_all,
)

from modelseal.server.store import devices, packing, seats
from modelseal.server.store import tables as t
from modelseal.server.store.bulk import Bulk
from modelseal.server.store.dialect import among, amounts, writes_alone
from modelseal.server.store.ready import Ready
from modelseal.server.store.rows import DeviceRow

_QUESTION, _DEVICE, _SEATS, _TAKEN, _COUNTER = range(5)
_LIC = "lic"
_COUNTERS = t.counters.c
_TRUST, _FULL = (bindparam(name, type_=String) for name in ("trust", "full"))


@dataclass(slots=True)
class Looked:
    """What a group saw. ``questions`` were answered, of ``devices`` (license and mark) there are
    rows, ``seats`` has the next seat that nobody ever had and the last one, by license.
    """

    counters: dict[str, int] = field(default_factory=dict)
    questions: set[bytes] = field(default_factory=set)
    devices: set[tuple[str, bytes]] = field(default_factory=set)
    seats: dict[str, tuple[int, int]] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)


def look(
    tx: Connection,
    new: Sequence[tuple[str, str]],
    questions: Sequence[bytes],
    *,
    trust: str,
    full: str,
    places: Sequence[int],
    now: datetime,
) -> Looked:
    """What stands in the store about devices (license and thumbprint of each) and questions.

    ``trust`` and ``full`` are the names of counters. The second counts the status lists that are
    full; of the one after them ``places`` are looked at.
    """
    licenses = {packing.pack_id(name, _LIC): name for name, _jkt in new}
    size, values = amounts(tx, {
        "licenses": list(licenses),
        "marks": [packing.mark(jkt) for _license, jkt in new],
        "questions": list(questions),
        "places": list(places),
    })  # fmt: skip
    values |= {"trust": trust, "full": full, "now": now}
    found = Looked()
    for what, number, of, other, last, name in _look(size).rows(tx, values):
        if what == _QUESTION:
            found.questions.add(bytes(of))
        elif what == _DEVICE:
            found.devices.add((licenses[bytes(of)], bytes(other)))
        elif what == _SEATS:
            found.seats[licenses[bytes(of)]] = (1 + (number or 0), last)
        elif what == _TAKEN:
            found.taken.add(number)
        else:
            found.counters[name] = number
    return found


@functools.cache
def _look(size: tuple[int, ...]) -> Ready:
    """The statement for so many values of each kind, where their number is part of its text."""
    return Ready(lambda tx: _built(tx, size))


def _built(tx: Connection, size: tuple[int, ...]) -> CompoundSelect[Any]:
    licenses, marks, questions, places = size
    device, owner = t.devices.c, t.licenses.c
    of_device, of_owner = (type_coerce(c.license_id, LargeBinary) for c in (device, owner))
    known = _arm(_DEVICE, of=of_device, other=device.key_mark).where(
        among(tx, of_device, "licenses", licenses), among(tx, device.key_mark, "marks", marks)
    )
    unused = _arm(_SEATS, number=seats.TOP, of=of_owner, last=seats.SEATS).where(
        among(tx, of_owner, "licenses", licenses), owner.state == "active", seats.FREE.is_(None)
    )
    full = select(_COUNTERS.value).where(_COUNTERS.name == _FULL).scalar_subquery()
    taken = [
        _arm(_TAKEN, number=c.status_idx).where(
            c.status_list == 1 + func.coalesce(full, 0), among(tx, c.status_idx, "places", places)
        )
        for c in (device, t.delegations.c)
    ]
    counted = _arm(_COUNTER, number=_COUNTERS.value, name=_COUNTERS.name)
    counted = counted.where(_COUNTERS.name.in_([_TRUST, _FULL]))
    return union_all(_answered(tx, questions), known, unused, *taken, counted)


def _answered(tx: Connection, amount: int) -> Select[Any]:
    """The first arm, which says what the columns of all are."""
    question = t.answered_requests.c.question
    columns: list[ColumnElement[Any]] = [
        literal_column(str(_QUESTION)).label("what"),
        cast(null(), BigInteger).label("number"),
        type_coerce(question, LargeBinary).label("of"),
        cast(null(), LargeBinary).label("other"),
        cast(null(), BigInteger).label("last"),
        cast(null(), String).label("name"),
    ]
    return select(*columns).where(among(tx, question, "questions", amount))


def _arm(what: int, **told: ColumnElement[Any]) -> Select[Any]:
    names = ("number", "of", "other", "last", "name")
    return select(literal_column(str(what)), *(told.get(name, null()) for name in names))


_COLUMNS = t.devices.c.keys()
_ADD = Bulk(lambda _tx: t.devices.insert(), _COLUMNS)
_ADD_SEATED = Bulk(devices.add_seated, [*(f"new_{name}" for name in _COLUMNS), "now"])


def add(tx: Connection, rows: Sequence[tuple[DeviceRow, datetime]]) -> bool:
    """New devices at seats that nobody ever had, as ``look`` told of them, each at its time.

    False when one of them is not written. Where others write meanwhile, a seat or a place that one
    of them has by now ends the transaction (23505), and it runs anew.
    """
    if not writes_alone(tx):
        return _ADD.execute(tx, [devices.columns(row) for row, _now in rows]) == len(rows)
    told = [
        {f"new_{name}": value for name, value in devices.columns(row).items()} | {"now": now}
        for row, now in rows
    ]
    return _ADD_SEATED.execute(tx, told) == len(rows)
