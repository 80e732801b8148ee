"""What a collector brings: evidence of one kind, and endorsements that the machine holds itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from modelseal.errors import Misuse

REPORT_DATA_BYTES = 64


@dataclass(frozen=True, slots=True)
class Part:
    """One file: its name for people, its bytes."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Collected:
    """Evidence of ``kind``, in the parts that its verifier reads, from ``source``.

    ``endorsements`` came along on the machine: a verifier believes them only as far as their own
    signatures reach a root that it has pinned.
    """

    kind: str
    source: str
    parts: tuple[Part, ...]
    endorsements: tuple[Part, ...] = ()


class Collector(Protocol):
    """Something that can make this machine say what it is.

    ``collect`` binds exactly ``report_data`` and raises ``Misuse`` for a length that it cannot
    bind, ``EvidenceUnavailable`` when the machine cannot answer now.
    """

    @property
    def name(self) -> str:
        """How it is asked for."""
        ...

    def is_here(self) -> bool:
        """True when this machine has what it needs; asking changes nothing."""
        ...

    def collect(self, report_data: bytes) -> Collected:
        """Evidence that is bound to ``report_data``."""
        ...


def check_length(report_data: bytes, *lengths: int) -> None:
    """Returns when the value can be bound as it is: it is never padded or cut."""
    if len(report_data) not in lengths:
        wanted = " or ".join(map(str, lengths))
        raise Misuse(f"report data has {len(report_data)} bytes where {wanted} are bound")
