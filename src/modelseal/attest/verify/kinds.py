"""What an evidence kind is: a name, a judge, what a policy may say of it, its pinned roots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelseal.attest.verify.endorsements import Endorsements
from modelseal.attest.verify.steps import Ledger
from modelseal.types import Level


@dataclass(frozen=True, slots=True)
class Option:
    """One thing a policy may set for a kind. ``default`` is the strict value and gives the type.

    The members of a list, and the keys of a map of whole numbers, may be limited to ``choices``.
    """

    default: Any
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """All that a kind may look at.

    ``parts`` are the evidence files with their outer encoding (gzip, hex, base64) taken off;
    ``options`` are complete (defaults filled in); ``roots`` are pinned certificates in DER or
    whatever the kind's ``roots`` are; ``expected`` is there for kinds that need it while reading,
    the comparison itself is done by ``appraise`` over ``Ledger.bound``.
    """

    kind: str
    parts: tuple[bytes, ...]
    expected: bytes | None
    endorsements: Endorsements
    options: Mapping[str, Any]
    roots: tuple[bytes, ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class Kind:
    """An evidence kind. ``judge`` writes into the ledger or raises ``NotGenuine``.

    ``level`` is the assurance level that affirming evidence of this kind shows by itself.
    ``reference`` are patterns of the names in ``Ledger.measured``; ``golden`` those names that
    ``attest reference add`` records (none: all), with the options that ``golden_options`` takes
    from the claims of the golden machine.
    ``bound_bytes`` is the exact length of the bound value, 0 where the format leaves it open.
    """

    name: str
    level: Level
    judge: Callable[[Case, Ledger], None]
    reference: tuple[str, ...]
    bound_bytes: int = 0
    options: Mapping[str, Option] = field(default_factory=dict)
    roots: tuple[bytes, ...] = ()
    golden: tuple[str, ...] = ()
    golden_options: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
