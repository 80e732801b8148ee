"""Is this system an image that many run? Then what the image brought along is no trait."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelseal.collect._files import Found, Root

_MARKERS = (".dockerenv", "run/.containerenv", "run/systemd/container")
_CGROUPS = re.compile(r"docker|kubepods|containerd|libpod|/lxc|garden")


@dataclass(frozen=True, slots=True)
class Image:
    """The system came from a container image; ``started_at_ns`` is when this instance was made."""

    started_at_ns: int | None


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of ``/proc/self/mountinfo`` (proc(5))."""

    device: str
    root: str
    point: str
    kind: str
    source: str


def find_image(root: Root) -> Image | None:
    """The image this system came from, or None for an installed system."""
    for marker in _MARKERS:
        found = root.read(marker)
        if isinstance(found, Found):
            return Image(found.modified_at_ns)
    if _CGROUPS.search(root.text("proc/1/cgroup")):
        return Image(None)
    return None


def is_wsl(root: Root) -> bool:
    """True under the Windows Subsystem for Linux."""
    return "microsoft" in root.text("proc/sys/kernel/osrelease").lower()


def mounts(root: Root) -> list[Mount]:
    """The mounts of this process."""
    listed = []
    for line in root.text("proc/self/mountinfo").splitlines():
        before, _dash, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if len(left) >= 5 and len(right) >= 2:
            listed.append(Mount(left[2], left[3], left[4], right[0], right[1]))
    return listed
