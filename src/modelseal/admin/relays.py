"""What a relay in a closed network reports when it synchronises: as the admin call shows it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from modelseal.admin._base import Answered, Asked, Id

MAX_NAMED = 64
RelayId = Annotated[str, Meta(max_length=64, pattern=r"^rly_[0-9a-f-]{36}$")]
_Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class RelayReport(Asked, frozen=True):
    """What a relay did since the sync that ``after`` names (its event; None before the first).

    The counts are since then, but ``waiting``, which is now. ``sync`` is the relay's own name of
    this sync: it stays until the server's answer is stored there. ``doubles`` are devices whose
    one answer went to more than one computer, at most 64 of ``double_count``.
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


class RelaySynced(Answered, frozen=True):
    """The report stands in the log; ``event_id`` is what the next report follows."""

    event_id: str
    state: RelayState
