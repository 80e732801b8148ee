"""The status list: how a running, online client learns of a revocation within minutes.

A list only ever moves forward by its number. What it says about this lease is noted; the denial
that follows at the next renewal is what erases.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from modelseal.client import answers, trusting
from modelseal.client.core import Core, Held
from modelseal.client.record import StatusNote
from modelseal.errors import AnswerInvalid, ModelsealError, TokenKeyUnknown
from modelseal.license import status as lists
from modelseal.license.status import Status, StatusList
from modelseal.types import to_numeric

MAX_LIST_BYTES = 2 << 20
DEFAULT_TTL_SECONDS = 300
_LOCK_SECONDS = 5.0


def check(core: Core, held: Held, now: datetime) -> tuple[Status | None, int]:
    """What the server's list says about this lease now, noted; and seconds to the next question.

    Raises ``AnswerInvalid`` or a token error for a list that does not hold, ``Unavailable``
    errors; then what was known before still counts.
    """
    lease = held.lease
    if lease is None:
        return None, DEFAULT_TTL_SECONDS
    found = _fetch(core, lease.status.uri)
    known = None if held.record is None else held.record.status
    if known is not None and known.idx == lease.status.idx and found.number < known.number:
        raise AnswerInvalid("a status list older than the one known")
    if not found.fresh(now):
        raise AnswerInvalid("the status list has ended")
    value = found.get(lease.status.idx)
    if value is not None:
        _note(core, found, value, lease.status.idx, now)
    return value, max(min(found.ttl_seconds, DEFAULT_TTL_SECONDS), 1)


def hear(core: Core, token: str) -> None:
    """A list that came with a response is noted, when it is fresh and newer than the one known.

    Raises a token error for a list that does not hold.
    """
    held, now = core.held(tolerant=True), core.ports.now()
    lease = held.lease
    if lease is None:
        return
    known = None if held.record is None else held.record.status
    least = known.number if known is not None and known.idx == lease.status.idx else 0
    found = lists.parse(token, core.trust, uri=lease.status.uri, least_number=least)
    value = found.get(lease.status.idx)
    if value is not None and found.fresh(now):
        _note(core, found, value, lease.status.idx, now)


def _fetch(core: Core, uri: str) -> StatusList:
    """The list at ``uri``, asked from our own server only: the address is a name, not an order."""
    path = urlsplit(uri).path
    if not path.startswith("/v1/status-lists/"):
        raise AnswerInvalid("the lease names no status list of this server")
    answer = core.transport.exchange(
        "GET",
        path,
        headers={"Accept": "application/statuslist+jwt"},
        max_bytes=MAX_LIST_BYTES,
    )
    answers.require(answer, server=core.server)
    if answer.media_type != "application/statuslist+jwt":
        raise answers.unsigned(answer, core.server)
    try:
        return lists.parse(answer.body, core.trust, uri=uri)
    except TokenKeyUnknown:
        trusting.refresh(core)
        return lists.parse(answer.body, core.trust, uri=uri)


def _note(core: Core, found: StatusList, value: Status, idx: int, now: datetime) -> None:
    note = StatusNote(
        number=found.number,
        value=int(value),
        idx=idx,
        checked_at=to_numeric(now),
        exp=to_numeric(found.expires_at),
    )
    try:
        with core.locked(_LOCK_SECONDS):
            held = core.held()
            if held.lease is not None and held.lease.status.idx == idx:
                heard = max(to_numeric(found.issued_at), _heard(held))
                core.note(status=note, heard_at=heard, last_seen=to_numeric(now))
    except ModelsealError as error:  # a folder that is read-only or busy: the next list tells again
        core.journal.write("status_not_noted", code=error.code)


def _heard(held: Held) -> int:
    return 0 if held.record is None or held.record.heard_at is None else held.record.heard_at
