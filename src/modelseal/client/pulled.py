"""What ``pull`` answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int, str], object]
"""Called with what is done (bytes, or steps), how much there is, and the name."""


@dataclass(frozen=True, slots=True)
class PulledModel:
    """One sealed model in its place; ``outcome`` is ``downloaded`` or ``present``."""

    name: str
    path: str
    model: str
    model_version: str
    release: int
    size_bytes: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """What ``pull`` left behind; ``not_granted`` names models of the product beyond the license."""

    models: tuple[PulledModel, ...]
    not_granted: tuple[str, ...]
    renewed: bool
