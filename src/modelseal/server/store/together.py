"""Acts that come at once are written as one durable transaction: group commit.

Whoever comes first carries out what waits, the others wait for their outcomes; nobody waits for
company. An act that fails takes nobody along: all of its group are then carried out alone.

Acts of one transaction share a ``Group``: what all of them look at is looked up once, and what each
adds to the same table is written as one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection

from modelseal.errors import StorageFailed, Unavailable

T = TypeVar("T")
MOST = 32
"""Acts of one transaction."""


class Group:
    """What the acts of one transaction share. It ends with the transaction, or with its failure."""

    def __init__(self, tx: Connection) -> None:
        self._tx = tx
        self._known: dict[Hashable, Any] = {}
        self._later: dict[Callable[[Connection, list[Any]], None], list[Any]] = {}

    def once(self, what: Hashable, look: Callable[[], T]) -> T:
        """What ``look`` found, at first and from then on.

        For what nobody else can change meanwhile; an act that changes it says so: ``forget``.
        """
        if what not in self._known:
            self._known[what] = look()
        found: T = self._known[what]
        return found

    def forget(self, what: Hashable) -> None:
        """``what`` is looked up anew."""
        self._known.pop(what, None)

    def later(self, write: Callable[[Connection, list[T]], None], rows: Iterable[T]) -> None:
        """``write`` is called for these rows with all others given to it, before the commit."""
        self._later.setdefault(write, []).extend(rows)

    def known(self, what: Hashable) -> Any:
        """What was found, None where nobody looked."""
        return self._known.get(what)

    def write(self) -> None:
        """What was to be written later is written."""
        later, self._later = self._later, {}
        for write, rows in later.items():
            write(self._tx, rows)


Act = Callable[[Connection, Group], T]
Look = Callable[[Connection, Group, list[Any]], None]
First = tuple[Look, Any]
"""What looks for several acts at once before the first of them begins, and what for this one."""


def alone(tx: Connection, act: Act[T], first: First | None = None) -> T:
    """What ``act`` returns, as the only one of its group."""
    return _all(tx, [act], [first])[0]


def _all(tx: Connection, acts: Sequence[Act[T]], firsts: Sequence[First | None]) -> list[T]:
    group = Group(tx)
    for look, told in _of_each([first for first in firsts if first is not None]).items():
        look(tx, group, told)
    outcomes = [act(tx, group) for act in acts]
    group.write()
    return outcomes


def _of_each(firsts: Iterable[First]) -> dict[Look, list[Any]]:
    found: dict[Look, list[Any]] = {}
    for look, told in firsts:
        found.setdefault(look, []).append(told)
    return found


@dataclass(frozen=True, slots=True)
class Wanted(Generic[T]):
    """An act, with the row it is about (``of``) and what looks for it before."""

    of: bytes
    act: Act[T]
    first: First | None = None


class Write(Protocol):
    """``Store.write``."""

    def __call__(self, act: Callable[[Connection], T], /) -> T:
        """What ``act`` returns, after its changes are durable."""
        ...


class _Waiting(Generic[T]):
    """An act, and what came of it once ``woken`` is set; or its thread is to lead."""

    def __init__(self, wanted: Wanted[T]) -> None:
        self.of, self.act, self.first = wanted.of, wanted.act, wanted.first
        self.woken = threading.Event()
        self.leads = False
        self.outcome: T | None = None
        self.error: Exception | None = Unavailable("the server ended in between")

    def take(self, outcome: T) -> None:
        self.outcome, self.error = outcome, None


class Together:
    """Carries out acts over ``write``, those that wait at the same time in one transaction."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._guard = threading.Lock()
        self._waiting: list[_Waiting[Any]] = []
        self._is_led = False

    def run(self, wanted: Sequence[Wanted[T]]) -> list[T | Exception]:
        """What each act returns or raises, once its changes are durable; all or nothing of each.

        ``first`` is called before all acts of a transaction, with what each of them gave it. Those
        of one transaction come in the order of ``of``, so that two processes which lock the same
        rows do not wait for each other.
        """
        mine: list[_Waiting[T]] = [_Waiting(one) for one in wanted]
        with self._guard:
            self._waiting += mine
            if mine and not self._is_led:
                self._is_led = mine[0].leads = True
        for one in mine:
            if not one.leads:
                one.woken.wait()
            if one.leads:
                self._lead(one)
        return [one.outcome if one.error is None else one.error for one in mine]  # type: ignore[misc]

    def _lead(self, mine: _Waiting[Any]) -> None:
        """One group is carried out, ``mine`` in it; one of those who came since leads the next."""
        with self._guard:
            others = [one for one in self._waiting if one is not mine]
            group, self._waiting = [mine, *others[: MOST - 1]], others[MOST - 1 :]
        try:
            self._carry_out(sorted(group, key=lambda one: one.of))
        finally:
            with self._guard:
                heir = self._waiting[0] if self._waiting else None
                self._is_led = heir is not None
                if heir is not None:
                    heir.leads = True
            for one in group:
                one.woken.set()
            if heir is not None:
                heir.woken.set()

    def _carry_out(self, group: list[_Waiting[Any]]) -> None:
        if len(group) == 1 or not self._at_once(group):
            for one in group:
                try:
                    one.take(self._write(partial(alone, act=one.act, first=one.first)))
                except Exception as error:  # noqa: BLE001 - it is raised where the act came from
                    one.error = error

    def _at_once(self, group: list[_Waiting[Any]]) -> bool:
        """False when one of the acts failed, and with it all of them."""
        try:
            outcomes = self._write(
                partial(_all, acts=[one.act for one in group], firsts=[one.first for one in group])
            )
        except StorageFailed as error:
            for one in group:
                one.error = error
        except Exception:  # noqa: BLE001 - whose it is shows when each is carried out alone
            return False
        else:
            for one, outcome in zip(group, outcomes, strict=True):
                one.take(outcome)
        return True
