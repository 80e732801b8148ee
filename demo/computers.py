"""Computers to play the story on: this one, and namespaces in which it looks like another.

A computer is a prefix for commands. What it changes is only what a program can read about the
machine it runs on: the client under test is the real one, with its real collectors.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelseal import collect, device

_PROBE_SECONDS = 20
_LAPTOP = 'mount --bind "$0" /etc/machine-id && exec "$@"'
_OTHER = """\
set -e
mount --bind "$0/machine-id" /etc/machine-id
for at in /sys/class/dmi/id /sys/block; do
  if [ -d "$at" ]; then mount -t tmpfs none "$at"; fi
done
if [ -d /sys/class/dmi/id ]; then cp "$0/product_uuid" /sys/class/dmi/id/; fi
mount -t tmpfs none /sys/class/net
cp -r "$0/enp9s0" /sys/class/net/
exec "$@"
"""


@dataclass(frozen=True)
class Computer:
    """A computer of the story; ``how`` says honestly what it is."""

    name: str
    how: str
    prefix: tuple[str, ...] = ()

    def command(self, words: Sequence[str]) -> list[str]:
        """``words`` as they are run on this computer."""
        return [*self.prefix, *words]

    @property
    def is_this_one(self) -> bool:
        """Whether nothing about this machine is changed."""
        return not self.prefix


def namespaces() -> tuple[str, ...] | None:
    """The prefix that gives a process mounts of its own; None where this user may not."""
    if shutil.which("unshare") is None:
        return None
    for options in (("--mount",), ("--mount", "--map-root-user")):
        prefix = ("unshare", *options, "--")
        probe = ("sh", "-c", "mount --bind /dev/null /etc/machine-id")
        try:
            done = subprocess.run(
                [*prefix, *probe], capture_output=True, timeout=_PROBE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return prefix
    return None


def copyable_here() -> tuple[bool, list[str]]:
    """Whether a device key would be ``copyable`` on this very machine, and its live traits."""
    traits = collect.read()
    wrapped = device.wrap(b"probe", traits.readings, random=os.urandom)
    return wrapped.copyable, sorted({reading.kind.value for reading in traits.readings})


def laptop(folder: Path, unshare: Sequence[str] | None) -> Computer:
    """The customer's computer: this one, or this one with a machine-id of its own.

    A container that many run has too few traits to bind a key to; a machine-id mounted into it
    is one that its operator gave to it.
    """
    copyable, live = copyable_here()
    if not copyable:
        return Computer("laptop", f"this computer as it is (traits: {', '.join(live)})")
    shown = ", ".join(live) or "none"
    if unshare is None:
        return Computer("laptop", f"this computer as it is; too few traits ({shown}): copyable")
    identity = folder / "laptop-machine-id"
    identity.write_text(secrets.token_hex(16) + "\n")
    how = (
        f"this computer has too few traits to bind a key to ({shown}); here `status` would say"
        " copyable. The laptop is a namespace of it with a machine-id of its own"
    )
    return Computer("laptop", how, (*unshare, "sh", "-c", _LAPTOP, str(identity)))


def another(folder: Path, unshare: Sequence[str]) -> Computer:
    """A namespace whose machine-id, firmware id, disks and network card are others."""
    parts = folder / "another-computer"
    card = parts / "enp9s0"
    (card / "device").mkdir(parents=True)
    (parts / "machine-id").write_text(secrets.token_hex(16) + "\n")
    uuid = secrets.token_hex(16)
    (parts / "product_uuid").write_text(
        f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}\n"
    )
    address = ["3c", "52", "82", *(secrets.token_hex(1) for _ in range(3))]
    for name, value in (("type", "1"), ("addr_assign_type", "0"), ("address", ":".join(address))):
        (card / name).write_text(value + "\n")
    how = "a namespace with another machine-id, MAC address and firmware id, and without the disks"
    return Computer("another", how, (*unshare, "sh", "-c", _OTHER, str(parts)))
