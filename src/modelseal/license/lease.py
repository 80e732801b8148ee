"""Where a device stands, and which answer of the server counts. Pure.

Leases and denials share one ``seq``; the highest wins, either way. ``TABLE`` is the whole state
machine: ``docs/spec/tokens.md`` shows it and a test goes through every cell.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from modelseal.errors import AnswerInvalid
from modelseal.license import clock
from modelseal.license.claims import DenialClaims, LeaseClaims, LicenseClaims, ReleaseClaims
from modelseal.license.status import Status
from modelseal.types import LeaseState, check_aware, from_numeric

OVERDUE_NUMERATOR, OVERDUE_DENOMINATOR = 2, 3


class Phase(StrEnum):
    """Where the lease is in its life; it never outlives the license."""

    NONE = "none"
    FRESH = "fresh"
    DUE = "due"
    LATE = "late"
    ENDED = "ended"


class Word(StrEnum):
    """What was said last: nothing, a lease, the status list beside it, or a denial."""

    NOTHING = "nothing"
    LEASE = "lease"
    LISTED_REVOKED = "listed revoked"
    LISTED_SUSPENDED = "listed suspended"
    LISTED_ENDED = "listed ended"
    DENIED_NOT_ACTIVATED = "denied NOT_ACTIVATED"
    DENIED_EXPIRED = "denied EXPIRED"
    DENIED_SUSPENDED = "denied SUSPENDED"
    DENIED_REVOKED = "denied REVOKED"
    DENIED_FORKED = "denied FORKED"
    DENIED_RETURNED = "denied RETURNED"


_S = LeaseState
_ROWS: dict[Word, tuple[LeaseState, LeaseState, LeaseState, LeaseState, LeaseState]] = {
    Word.NOTHING: (_S.NOT_ACTIVATED,) * 5,
    Word.LEASE: (_S.EXPIRED, _S.ACTIVE, _S.RENEW_DUE, _S.OVERDUE, _S.EXPIRED),
    Word.LISTED_REVOKED: (_S.REVOKED,) * 5,
    Word.LISTED_SUSPENDED: (_S.SUSPENDED,) * 5,
    Word.LISTED_ENDED: (_S.RETURNED,) * 5,
    Word.DENIED_NOT_ACTIVATED: (_S.NOT_ACTIVATED,) * 5,
    Word.DENIED_EXPIRED: (_S.EXPIRED,) * 5,
    Word.DENIED_SUSPENDED: (_S.SUSPENDED,) * 5,
    Word.DENIED_REVOKED: (_S.REVOKED,) * 5,
    Word.DENIED_FORKED: (_S.FORKED,) * 5,
    Word.DENIED_RETURNED: (_S.RETURNED,) * 5,
}
TABLE: dict[tuple[Word, Phase], LeaseState] = {
    (word, phase): states[column]
    for word, states in _ROWS.items()
    for column, phase in enumerate(Phase)
}
"""(what was said last, the lease's phase) -> state. There is no other rule."""

DENIED_STATES: dict[str, LeaseState] = {
    "license_revoked": LeaseState.REVOKED,
    "device_revoked": LeaseState.REVOKED,
    "license_suspended": LeaseState.SUSPENDED,
    "forked": LeaseState.FORKED,
    "device_returned": LeaseState.RETURNED,
}
"""The state that a denial of this code leads to; every other denial of a chain: EXPIRED."""

_LISTED = {
    Status.REVOKED: Word.LISTED_REVOKED,
    Status.SUSPENDED: Word.LISTED_SUSPENDED,
    Status.ENDED: Word.LISTED_ENDED,
}
_DENIED = {
    word.value.removeprefix("denied "): word for word in Word if word.value.startswith("denied ")
}


def state(
    license: LicenseClaims | None,
    lease: LeaseClaims | None,
    denial: DenialClaims | None,
    status: Status | None,
    now: datetime,
    floor: datetime | None = None,
) -> LeaseState:
    """The one word for where the device stands at ``now``, judged no earlier than ``floor``.

    ``status`` is the status list's entry, None where no list was seen.
    """
    at = clock.judge(now, floor).at
    return TABLE[word(license, lease, denial, status), phase(lease, license, at)]


def word(
    license: LicenseClaims | None,
    lease: LeaseClaims | None,
    denial: DenialClaims | None,
    status: Status | None,
) -> Word:
    """What was said last. A denial in force stands before the list, which tells less."""
    if denial is not None and in_force(denial, lease):
        return _DENIED[denied_state(denial).value]
    if license is None:
        return Word.NOTHING
    return Word.LEASE if status is None else _LISTED.get(status, Word.LEASE)


def phase(lease: LeaseClaims | None, license: LicenseClaims | None, now: datetime) -> Phase:
    """The phase of ``lease`` at ``now``: late after two thirds of its life, ended at ``exp``."""
    if lease is None:
        return Phase.NONE
    at = check_aware(now)
    # A lease that was made ahead (air gap) lives from nbf on.
    begins, ends = from_numeric(max(lease.iat, lease.nbf)), from_numeric(lease.exp)
    if license is not None:
        ends = min(ends, from_numeric(license.exp))
    if at >= ends:
        return Phase.ENDED
    life = from_numeric(lease.exp) - begins
    if at >= begins + life * OVERDUE_NUMERATOR / OVERDUE_DENOMINATOR:
        return Phase.LATE
    return Phase.DUE if at >= from_numeric(lease.renew_after_at) else Phase.FRESH


def in_force(denial: DenialClaims, lease: LeaseClaims | None) -> bool:
    """True when ``denial`` has the higher number; a tie, which no honest server makes, too."""
    return lease is None or denial.seq >= lease.seq


def denied_state(denial: DenialClaims) -> LeaseState:
    """The state a denial leads to; an unknown or running one counts as suspended."""
    known = _DENIED.get(denial.state)
    return LeaseState.SUSPENDED if known is None else LeaseState(denial.state)


def check_answer(
    answer: LeaseClaims | DenialClaims | ReleaseClaims,
    *,
    nonce: str,
    jkt: str,
    seq: int,
    device: str | None,
) -> None:
    """Returns when ``answer`` is the one to the pending request; raises ``AnswerInvalid``.

    ``nonce`` is the pending request's, ``jkt`` the device key's thumbprint, ``seq`` the number the
    request named, ``device`` the device id, None while there is none (activation, trial, lookup;
    ``seq`` is 0 then, and a denial has ``seq`` 0 too). A replayed answer of an earlier request, a
    lease or denial that is not newer and a release for another lease are refused.
    """
    if answer.request_nonce != nonce:
        raise AnswerInvalid("the answer to another request")
    if answer.cnf.jkt != jkt:
        raise AnswerInvalid("the answer for another device key")
    if device is not None and answer.sub != device:
        raise AnswerInvalid("the answer for another device")
    if isinstance(answer, ReleaseClaims):
        if answer.seq != seq:
            raise AnswerInvalid("a key release for another lease")
        return
    first_refused = device is None and isinstance(answer, DenialClaims)
    if answer.seq <= seq and not first_refused:
        raise AnswerInvalid("an answer that is not newer than what is known")
