"""Status lists: two bits per device at a random index, signed anew when something changed."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection

from modelseal.errors import NotFound
from modelseal.license import status, tokens
from modelseal.license.claims import StatusListClaims, StatusRef
from modelseal.license.status import Status
from modelseal.server.services.context import Context
from modelseal.server.store import devices as device_store
from modelseal.server.store import tokens as token_store
from modelseal.server.store.together import Group
from modelseal.types import to_numeric

ENTRIES = 1 << 17
TTL_SECONDS = 300
LIFE = timedelta(hours=1)
_PLACES = "places"
_DRAWS = 16
"""All that are drawn, twice by an act alone, are taken where 60 to 80 % of a list are."""
FULL = "status-lists-full"
"""The counter of lists that are full."""


def path(number: int) -> str:
    """Where list ``number`` is served, and its ``sub``."""
    return f"/v1/status-lists/{number}"


def touch(tx: Connection, lists: Iterable[int]) -> None:
    """The lists changed: their numbers grow with the act that changed them."""
    for number in sorted(set(lists)):
        token_store.bump(tx, f"status:{number}")


def go_on(tx: Connection, now: datetime) -> None:
    """After a restore every list has a number above those that readers have seen."""
    for number in range(1, 2 + token_store.counter(tx, FULL)):
        token_store.raise_counter(tx, f"status:{number}", to_numeric(now))


def place(
    context: Context, tx: Connection, told: StatusRef | None = None, group: Group | None = None
) -> tuple[int, int]:
    """List and index for a new device: random and free, in the newest list.

    Where ``told``, a lease that the store forgot, names a free place, the device has that again.
    A list in which every place that is drawn is taken is full, and the next one begins. What is
    drawn and free and not used is for the next of the ``group``, which may have drawn before.
    """
    group = group or Group(tx)
    number = 1 + group.once(FULL, lambda: token_store.counter(tx, FULL))
    known = re.fullmatch(r".*/v1/status-lists/([1-9][0-9]{0,8})", told.uri) if told else None
    if known and told and int(known[1]) <= number and told.idx < ENTRIES:
        before = int(known[1]), told.idx
        if not device_store.taken(tx, before[0], [before[1]]):
            return before
    free = group.once(_PLACES, list[int])
    if not free:
        group.write()
        drawn = draw(context)
        taken = device_store.taken(tx, number, drawn)
        free += [idx for idx in drawn if idx not in taken]
        if not free:
            group.forget(FULL)
            return 1 + token_store.bump(tx, FULL), drawn[0]
    return number, free.pop()


def draw(context: Context, devices: int = 1) -> list[int]:
    """Some places of a list for so many devices, which may be taken."""
    noise = context.drawn(4 * max(_DRAWS, 2 * devices))
    return list(dict.fromkeys(at % ENTRIES for (at,) in struct.iter_unpack(">I", noise)))


def know(group: Group, full: int, drawn: Iterable[int], taken: Collection[int]) -> None:
    """The group knows how many lists are full, and which places were drawn and are free."""
    group.once(FULL, lambda: full)
    group.once(_PLACES, lambda: [idx for idx in drawn if idx not in taken])


class StatusLists:
    """Serving the lists; a signed one is reused until it changed or is half its ttl old."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._guard = threading.Lock()
        self._kept: dict[int, tuple[int, datetime, bytes]] = {}

    def token(self, number: int) -> bytes:
        """``statuslist+jwt`` of list ``number``; ``NotFound`` when there is none."""
        context, now = self._context, self._context.now()

        def versions(tx: Connection) -> tuple[int, int]:
            return (
                1 + token_store.counter(tx, FULL),
                token_store.counter(tx, f"status:{number}"),
            )

        top, version = context.store.read(versions)
        if not 1 <= number <= top:
            raise NotFound("no such status list", number=number)
        with self._guard:
            kept = self._kept.get(number)
        fresh = timedelta(seconds=TTL_SECONDS / 2)
        if kept is not None and kept[0] == version and kept[1] <= now < kept[1] + fresh:
            return kept[2]
        token, version = context.store.read(self._sign, number, now)
        with self._guard:
            self._kept[number] = (version, now, token)
        return token

    def _sign(self, tx: Connection, number: int, now: datetime) -> tuple[bytes, int]:
        context = self._context
        version = token_store.counter(tx, f"status:{number}")
        entries = {idx: Status(value) for idx, value in device_store.statuses(tx, number)}
        issued_at = to_numeric(now)
        claims = StatusListClaims(
            iss=context.server_id,
            sub=path(number),
            iat=issued_at,
            exp=issued_at + int(LIFE.total_seconds()),
            ttl=TTL_SECONDS,
            number=version,
            status_list=status.body(status.pack(entries, ENTRIES)),
        )
        signers = context.signers("status", now, context.trusted.within(tx))
        return tokens.sign(claims, signers).encode(), version
