"""What the chapters of the story share."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import computers
from demo.acting import Actor, LicenseServer
from demo.computers import Computer
from demo.telling import Telling

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "examples" / "face_fusion"
SOURCE, TARGET = "collins.png", "hopper.png"


@dataclass
class World:
    """The people, their folders below ``base``, the server, and what was found out so far."""

    telling: Telling
    base: Path
    prepared: Path
    output: Path
    publisher: Actor
    li: Actor
    server: LicenseServer
    unshare: Sequence[str] | None
    short_seconds: int
    license_id: str = ""
    license_key: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def app(self) -> Path:
        """The customer's folder of the program."""
        return self.li.folder

    @property
    def state(self) -> Path:
        """The customer's state folder, where the platform keeps it."""
        return self.app.parent / ".local" / "share" / "facefusion"

    def keep(self, path: Path, name: str) -> str:
        """A copy of a picture stays in the output folder under ``name``."""
        shutil.copyfile(path, self.output / name)
        return name


def build(telling: Telling, base: Path, prepared: Path, output: Path, short_seconds: int) -> World:
    """Two desks with nothing on them but what each person would have.

    ``short_seconds`` is the length of the license that runs out before the end of the story; where
    that is too short for this computer, one of twice the length is tried.
    """
    unshare = computers.namespaces()
    laptop: Computer = computers.laptop(base, unshare)
    office = base / "publisher"
    office.mkdir()
    (office / "models").symlink_to(prepared, target_is_directory=True)
    home = base / "laptop"
    app = home / "FaceFusion"
    app.mkdir(parents=True)
    here = Computer("publisher", "this computer")
    return World(
        telling=telling,
        base=base,
        prepared=prepared,
        output=output,
        publisher=Actor(telling, office, base, here, {"HOME": str(office)}),
        li=Actor(telling, app, base, laptop, {
            "HOME": str(home), "XDG_DATA_HOME": str(home / ".local" / "share"),
        }),
        server=LicenseServer(office / "shop", base),
        unshare=unshare,
        short_seconds=short_seconds,
    )  # fmt: skip


def program(*more: str, output: str, models: str = "models") -> list[str]:
    """The command line of the face-fusion program."""
    return [
        "python", "-m", "face_fusion", "--models", models, "--source", SOURCE,
        "--target", TARGET, "--output", output, *more,
    ]  # fmt: skip


def protected(*more: str, output: str) -> list[str]:
    """The same command line, unchanged, under ``modelseal run``."""
    return ["modelseal", "run", "--", *program(*more, output=output)]
