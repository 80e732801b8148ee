"""A small world for the client's tests: one computer before one server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.client.fake_server import FakeServer
from tests.client.publisher import (
    PRODUCT,
    SERVER_ID,
    SERVER_URL,
    START,
    Clock,
    computer,
    foundation,
    seal,
    serve,
)

from modelseal import device
from modelseal.client import Client, Ports
from modelseal.client.folder import Folder


@dataclass
class World:
    """One computer before one server."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    traits: device.Traits = field(default_factory=computer)
    make_folder: Callable[[Path], Folder] = Folder
    events: list[Any] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = FakeServer(self.clock)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def ports(self) -> Ports:
        return Ports(
            now=self.clock.now, monotonic=self.clock.monotonic, sleep=self.clock.sleep,
            traits=lambda: self.traits, transport=lambda _settings: self.server,
            folder=self.make_folder, environ=self.environ,
        )  # fmt: skip

    def client(self, state: Path | None = None, **more: Any) -> Client:
        more.setdefault("background", False)
        return Client(
            state=state or self.state, server=SERVER_URL, trust=foundation().trust.raw,
            ports=self.ports(), **more,
        )  # fmt: skip


__all__ = [
    "PRODUCT",
    "SERVER_ID",
    "SERVER_URL",
    "START",
    "Clock",
    "FakeServer",
    "World",
    "computer",
    "foundation",
    "seal",
    "serve",
]
