"""Crashes at every step: before and after each write, each removal and each exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from modelseal.client.folder import Folder


class Crash(BaseException):
    """The power went."""


@dataclass
class Fuse:
    """Blows at step ``at``; counts the steps there are."""

    at: int | None = None
    steps: int = 0
    named: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.named.append(name)
        self.steps += 1
        if self.at is not None and self.steps - 1 == self.at:
            self.at = None
            raise Crash(name)

    def hook(self, when: str, method: str, path: str) -> None:
        self.step(f"{when} {method} {path}")


class CrashingFolder(Folder):
    """A folder whose writer may die before or after any change."""

    def __init__(self, path: Path, fuse: Fuse) -> None:
        super().__init__(path)
        self.fuse = fuse

    def write(self, name: str, data: bytes) -> None:
        self.fuse.step(f"before write {name}")
        (self.path / ".new-torn").write_bytes(data[: len(data) // 2])
        self.fuse.step(f"torn write {name}")
        (self.path / ".new-torn").unlink()
        super().write(name, data)
        self.fuse.step(f"after write {name}")

    def _write_through(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)  # the crash is a simulated one: nothing has to reach the platters

    def _sync(self) -> None:
        pass

    def move(self, name: str, to: Folder) -> bool:
        self.fuse.step(f"before move {name}")
        moved = super().move(name, to)
        self.fuse.step(f"after move {name}")
        return moved

    def remove(self, name: str) -> None:
        self.fuse.step(f"before remove {name}")
        super().remove(name)
        self.fuse.step(f"after remove {name}")
