"""What a collector is: one source of one kind of trait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from modelseal.device import MissingTrait, MissingWhy, TraitKind, TraitReading

Finding = TraitReading | MissingTrait
Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Collector:
    """Reads ``kind`` from ``source`` (words for people); ``privileged``: usually needs root."""

    kind: TraitKind
    source: str
    privileged: bool
    read: Callable[[], Iterable[Finding]]

    def findings(self) -> list[Finding]:
        """What it found; a source that breaks is *unreadable*, never an error."""
        try:
            return list(self.read())
        except (OSError, ValueError, LookupError, AttributeError, ImportError):
            return [MissingTrait(self.kind, MissingWhy.UNREADABLE)]
