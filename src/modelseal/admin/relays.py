"""What a relay in a closed network reports when it synchronises: as the admin call shows it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from modelseal.admin._base import Answered, Asked, Id
from modelseal.license.plans import MAX_AHEAD

MAX_NAMED = 64
MAX_HELD = 256
MAX_SERVED = 2000
RelayId = Annotated[str, Meta(max_length=64, pattern=r"^rly_[0-9a-f-]{36}$")]
_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class ServedDevice(Asked, frozen=True):
    """A device that a relay gives leases to by itself, and the number of the newest one."""

    device: Id
    seq: Annotated[int, Meta(ge=0, le=2**53 - 1)]


class RelayReport(Asked, frozen=True):
    """What a relay did since the sync that ``after`` names (its event; None before the first).

    The counts are since then, but ``waiting``, which is now. ``sync`` is the relay's own name of
    this sync: it stays until the server's answer is stored there. ``doubles`` are devices whose
    one answer went to more than one computer, at most 64 of ``double_count``; ``released`` are
    leases ahead that were given out. ``serves`` are devices that it gives leases to by itself.
    """

    relay: RelayId
    sync: Id
    after: Id | None = None
    carried: _Count = 0
    handed: _Count = 0
    repeated: _Count = 0
    waiting: _Count = 0
    devices: _Count = 0
    double_count: _Count = 0
    doubles: Annotated[list[Id], Meta(max_length=MAX_NAMED)] = []
    released: _Count = 0
    serves: Annotated[list[ServedDevice], Meta(max_length=MAX_SERVED)] = []


class RelayState(StrEnum):
    """How a report follows the one before it.

    first: none was known · follows: it does · again: it is the same sync once more · apart: the
    relay's state was copied, or put back from an older copy · behind: it follows a sync that this
    server does not know, because the server was restored.
    """

    FIRST = "first"
    FOLLOWS = "follows"
    AGAIN = "again"
    APART = "apart"
    BEHIND = "behind"


class BudgetState(StrEnum):
    """Whether a relay gets further delegations.

    active: it does · overdrawn: it gave more than it was let · revoked: by the publisher, and what
    it gave is in the status list.
    """

    ACTIVE = "active"
    OVERDRAWN = "overdrawn"
    REVOKED = "revoked"


class RelaySynced(Answered, frozen=True):
    """The report stands in the log; ``event_id`` is what the next report follows.

    ``found`` counts the answers about whose leases ahead this relay and devices did not agree.

    ``stopped`` are those devices of ``serves`` that the relay may not go on with: they are over, or
    stand elsewhere in their chain. ``budget`` is the state of what it may give by itself.
    """

    event_id: str
    state: RelayState
    found: int = 0
    stopped: list[str] = []
    budget: BudgetState | None = None


class HeldLeases(Asked, frozen=True):
    """The leases ahead that came with the answer ``base`` (its lease) to a device.

    ``known``: the relay has their codes. ``released`` is the highest place that it gave out, at
    ``released_at`` by its clock; 0 before the first.
    """

    device: Id
    base: Id
    known: bool = False
    released: Annotated[int, Meta(ge=0, le=MAX_AHEAD)] = 0
    released_at: datetime | None = None


class AskRelayed(Asked, frozen=True):
    """A relay tells what it holds and gave out, and asks for the codes that it lacks."""

    relay: RelayId
    held: Annotated[list[HeldLeases], Meta(max_length=MAX_HELD)] = []


class LeasePlace(Answered, frozen=True):
    """A lease ahead: from ``starts_at`` on a relay may give ``code`` to the device."""

    place: int
    starts_at: datetime
    ends_at: datetime
    code: str


class GivenLeases(Answered, frozen=True):
    """The leases ahead of one answer, with what opens each."""

    device: str
    base: str
    places: list[LeasePlace]


class EndedLeases(Answered, frozen=True):
    """None of them is in force: nothing may be given out any more. ``released`` as was reported."""

    device: str
    base: str
    released: int


class Relayed(Answered, frozen=True):
    """What became of what a relay holds. ``ahead`` is the most that a plan allows a device."""

    ahead: int
    given: list[GivenLeases] = []
    ended: list[EndedLeases] = []


class RelayRecord(Answered, frozen=True):
    """A relay as its newest report and the devices behind it show it.

    ``state`` is how that report followed the one before. ``ahead`` counts the answers whose leases
    ahead it holds or held in the last 90 days, ``found`` those about which something was found.
    """

    relay: str
    state: RelayState
    synced_at: datetime
    event_id: str
    waiting: int
    devices: int
    double_count: int
    ahead: int
    found: int


class RelayBudget(Answered, frozen=True):
    """What a relay may give by itself of a license, and what of it was reported.

    ``seats`` and ``renewals`` are of all its delegations together; ``overdrawn`` counts what it
    gave beyond. ``device_id`` is the device as which it proved ``level``.
    """

    relay: str
    license_id: str
    device_id: str
    delegation_id: str
    number: int
    state: BudgetState
    level: int
    seats: int
    seats_spent: int
    renewals: int
    renewals_spent: int
    overdrawn: int
    issued_at: datetime
    expires_at: datetime
    event_id: str
