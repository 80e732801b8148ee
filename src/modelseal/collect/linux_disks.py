"""Linux: serial numbers of the disks that are built in, the system's own disk first."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelseal.collect._collector import Finding
from modelseal.collect._container import mounts
from modelseal.collect._files import Found, Root
from modelseal.device import MissingTrait, MissingWhy, TraitKind, normalise

MAX_DISKS = 8
_NOT_A_DISK = re.compile(r"(loop|ram|zram|dm-|md|sr|fd|nbd|drbd|rbd|mtdblock|zd)\d*.*")
_BOOT_PARTITION = re.compile(r"mmcblk\d+(boot|rpmb).*")
_VIRTUAL_MODELS = re.compile(r"virtual disk|vmware|qemu|virtio", re.IGNORECASE)
_MAX_LAYERS = 4


def read_disks(root: Root) -> Iterator[Finding]:
    """The serial of each built-in disk; removable and USB disks are nobody's trait."""
    disks = [name for name in root.names("sys/block") if _built_in(root, name)]
    system = _system_disks(root)
    disks.sort(key=lambda name: (name not in system, name))
    if not disks:
        yield MissingTrait(TraitKind.DISK_SERIAL, MissingWhy.ABSENT)
    for name in disks[:MAX_DISKS]:
        yield _read_disk(root, name)


def _built_in(root: Root, name: str) -> bool:
    if _NOT_A_DISK.fullmatch(name) or _BOOT_PARTITION.fullmatch(name):
        return False
    if root.text(f"sys/block/{name}/removable") == "1":
        return False
    return "/usb" not in root.target(f"sys/block/{name}")


def _read_disk(root: Root, name: str) -> Finding:
    base = f"sys/block/{name}/"
    whys: list[MissingWhy] = []
    for source in ("serial", "device/serial", "device/vpd_pg80", "wwid", "device/wwid"):
        found = root.read(base + source)
        if isinstance(found, MissingWhy):
            whys.append(found)
            continue
        value = normalise.serial(_serial_text(source, found))
        if not isinstance(value, MissingWhy):
            if _is_virtual(root, base) and source.endswith("wwid"):
                return MissingTrait(TraitKind.DISK_SERIAL, MissingWhy.VIRTUAL)
            return normalise.found(TraitKind.DISK_SERIAL, value, privileged=found.privileged)
        whys.append(value)
    if name.startswith(("vd", "xvd")) or _is_virtual(root, base):
        return MissingTrait(TraitKind.DISK_SERIAL, MissingWhy.VIRTUAL)
    telling = (why for why in whys if why != MissingWhy.ABSENT)
    return MissingTrait(TraitKind.DISK_SERIAL, next(telling, MissingWhy.ABSENT))


def _serial_text(source: str, found: Found) -> str:
    """The text; SCSI's page 80h has a four-byte head with the length (SPC-4, section 7.8.15)."""
    if not source.endswith("vpd_pg80"):
        return found.text
    length = int.from_bytes(found.data[2:4], "big")
    return found.data[4 : 4 + length].decode("ascii", "replace")


def _is_virtual(root: Root, base: str) -> bool:
    maker = root.text(base + "device/vendor") + " " + root.text(base + "device/model")
    return bool(_VIRTUAL_MODELS.search(maker))


def _system_disks(root: Root) -> frozenset[str]:
    """The disks under ``/``, through encryption and volume managers."""
    at_root = [mount for mount in mounts(root) if mount.point == "/"]
    if not at_root:
        return frozenset()
    wanted = {at_root[-1].source.rpartition("/")[2]}
    numbers = {at_root[-1].device}
    names = root.names("sys/block")
    wanted |= {name for name in names if root.text(f"sys/block/{name}/dev") in numbers}
    for _layer in range(_MAX_LAYERS):
        wanted |= {low for name in wanted for low in root.names(f"sys/block/{name}/slaves")}
    return frozenset(name for name in names if wanted & {name, *_parts(root, name, numbers)})


def _parts(root: Root, name: str, numbers: set[str]) -> list[str]:
    """The partitions of a disk; the disk's own name when one of them has a wanted number."""
    parts = [part for part in root.names(f"sys/block/{name}") if part.startswith(name)]
    if any(root.text(f"sys/block/{name}/{part}/dev") in numbers for part in parts):
        return [*parts, name, *numbers]
    return parts
