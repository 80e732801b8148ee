"""Every private key that is here, and its place: in force, waiting, ending, ended, replaced."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from modelseal.errors import TokenKeyUnknown
from modelseal.keys.online import ROOT_USES
from modelseal.trust import Trust, TrustedKey, Use

DESK_ROLES = ("root", "targets", "keys")
ROLES = (*DESK_ROLES, *ROOT_USES)
"""Uses whose keys TUF documents name, not the key list."""
_NUMBER = re.compile(r".*-([0-9]{1,9})")


class KeyRow(msgspec.Struct, frozen=True):
    """One private key as it may be shown; ``where`` is ``desk`` or ``server``.

    ``state``: *in force* (it signs, or is sealed to), *listed* (it still counts), *waiting* (made
    and not announced yet), *ending* and *ended* (at ``not_after``), *replaced* (kept, counts no
    longer), *opens* (kept for what was sealed to it). Validity is what the key list says.
    """

    use: str
    alg: str
    kid: str
    where: str
    not_before: datetime
    not_after: datetime | None
    set: str = ""
    state: str = ""


class Held(Protocol):
    """What is known of a private key without opening it."""

    @property
    def use(self) -> str:
        """What it is for."""
        ...

    @property
    def alg(self) -> str:
        """Its algorithm."""
        ...

    @property
    def kid(self) -> str:
        """Its id."""
        ...

    @property
    def set(self) -> str:
        """The set in which it was made."""
        ...

    @property
    def not_before(self) -> datetime:
        """When it was made, or a little before."""
        ...


def rows(held: Sequence[Held], where: str, trust: Trust, at: datetime) -> list[KeyRow]:
    """A row for each of ``held``, in their order."""
    return [_row(key, held, where, trust, at) for key in held]


def number(name: str) -> int:
    """The count at the end of a set's name; 0 when there is none."""
    found = _NUMBER.fullmatch(name)
    return int(found[1]) if found else 0


def _row(key: Held, held: Sequence[Held], where: str, trust: Trust, at: datetime) -> KeyRow:
    listed = _listed(trust, key)
    start = key.not_before if listed is None else listed.not_before
    end = None if listed is None else listed.not_after
    state = _state(key, listed, [other for other in held if other.use == key.use], trust, at)
    return KeyRow(key.use, key.alg, key.kid, where, start, end, key.set, state)


def _listed(trust: Trust, key: Held) -> TrustedKey | None:
    if key.use not in set(Use):
        return None
    return next((each for each in trust.keys(Use(key.use)) if each.kid == key.kid), None)


def _state(
    key: Held, listed: TrustedKey | None, same: Sequence[Held], trust: Trust, at: datetime
) -> str:
    if listed is not None:
        if listed.not_after is not None:
            return "ended" if at >= listed.not_after else "ending"
        return "in force" if key.kid in _signing(trust, listed.use, same, at) else "listed"
    if key.use in ROLES:
        named = set(trust.role_kids(key.use))
    elif key.use in set(Use):
        named = {each.kid for each in trust.keys(Use(key.use))}
    else:
        newest = max(same, key=lambda each: each.not_before)
        return "in force" if key.kid == newest.kid else "opens"
    if key.kid in named:
        return "in force"
    last = max((number(each.set) for each in same if each.kid in named), default=0)
    return "waiting" if number(key.set) > last else "replaced"


def _signing(trust: Trust, use: Use, same: Iterable[Held], at: datetime) -> set[str]:
    try:
        return {key.kid for key in trust.signing_set(use, {each.kid for each in same}, at)}
    except TokenKeyUnknown:
        return set()
