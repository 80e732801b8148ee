"""Request files, their responses, the codes of leases made ahead: as the admin calls show them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from modelseal.admin._base import Answered, Asked, Id

MAX_REQUEST_BYTES = 256 * 1024


class RequestFile(Asked, frozen=True):
    """What ``modelseal lease request`` or ``lease return`` wrote on a device."""

    request: Annotated[bytes, Meta(min_length=1, max_length=MAX_REQUEST_BYTES)]


class Responded(Answered, frozen=True):
    """The response for ``lease import``.

    ``code`` and ``reference`` are of a refusal, whose signed denial the response then carries.
    ``next_count`` leases were made ahead; the last of them ends at ``next_expires_at``.
    """

    response: bytes
    op: str
    event_id: str
    device_id: str | None = None
    license_id: str | None = None
    seq: int | None = None
    expires_at: datetime | None = None
    next_count: int = 0
    next_expires_at: datetime | None = None
    seat_free_at: datetime | None = None
    code: str | None = None
    reference: str | None = None


class AskLeaseCode(Asked, frozen=True):
    """Whose code is asked for; ``further`` the one after the code that was told last."""

    device: Id
    further: bool = False


class LeaseCode(Answered, frozen=True):
    """The code of a lease made ahead. ``again``: it had been told before.

    The next one is told from ``next_from_at`` on; ``left`` more are waiting.
    """

    code: str
    device_id: str
    license_id: str
    seq: int
    starts_at: datetime
    expires_at: datetime
    again: bool
    left: int
    next_from_at: datetime
    event_id: str
