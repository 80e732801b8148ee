"""Device trait collectors, one file per platform: what this computer is, as far as it can be read.

Reading never fails: whatever cannot be read is *missing*, with its reason. The values stay in this
process; what may leave it is in ``modelseal.device.fingerprint``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from modelseal.collect._collector import Collector, Run
from modelseal.collect._files import Root
from modelseal.collect.surroundings import Surroundings, of_linux, of_macos, of_windows
from modelseal.device import Traits, gather

__all__ = ["Collector", "Surroundings", "collectors", "read", "surroundings"]

_TIMEOUT_SECONDS = 5
_SYSTEM = Path("/")


def collectors(
    root: Path = _SYSTEM, *, run: Run | None = None, platform: str = sys.platform
) -> tuple[Collector, ...]:
    """The collectors of this platform, not yet run: what would be read, and from where."""
    if platform == "win32":
        from modelseal.collect import windows

        return windows.collectors()
    if platform == "darwin":
        from modelseal.collect import macos

        return macos.collectors(run or _run)
    if platform.startswith("linux"):
        from modelseal.collect import linux

        return linux.collectors(Root(root))
    return ()


def read(root: Path = _SYSTEM, *, run: Run | None = None, platform: str = sys.platform) -> Traits:
    """The traits of this computer, or of the Linux system that lies below ``root``.

    ``run`` replaces the running of commands (macOS only). Never raises: each kind has readings
    or a reason why it has none. Read as the user who runs the application, since traits that need
    more privilege would be missing there.
    """
    chosen = collectors(root, run=run, platform=platform)
    return gather(finding for collector in chosen for finding in collector.findings())


def surroundings(
    root: Path = _SYSTEM, *, run: Run | None = None, platform: str = sys.platform
) -> Surroundings:
    """Whether this computer, or the Linux system below ``root``, is virtual or a container."""
    if platform == "win32":
        return of_windows()
    if platform == "darwin":
        return of_macos(run or _run)
    return of_linux(Root(root)) if platform.startswith("linux") else Surroundings()


def _run(command: Sequence[str]) -> str:
    import subprocess

    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace")
