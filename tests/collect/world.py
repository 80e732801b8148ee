"""Systems as folder trees: what the files of known computers say, recorded and made anonymous."""

from __future__ import annotations

import os
from pathlib import Path

from modelseal import collect
from modelseal.device import MissingWhy, TraitKind, Traits

INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 140
model name\t: 11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz
stepping\t: 1
microcode\t: 0xb8
"""
JETSON_CPU = """processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd42
CPU revision\t: 1
"""
DISK = "sys/devices/pci0000:00/0000:00:1d.0/nvme/nvme0/nvme0n1"
CARD = "sys/devices/pci0000:00/0000:00:1f.6/net/eno1"

LAPTOP: dict[str, str | bytes] = {
    "etc/machine-id": "5f1e0c4b7a3d4e2f9b8c7d6e5f4a3b2c\n",
    "proc/cpuinfo": INTEL,
    "proc/sys/kernel/osrelease": "6.8.0-45-generic\n",
    "proc/1/cgroup": "0::/init.scope\n",
    "proc/self/mountinfo": "29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n",
    "sys/class/dmi/id/sys_vendor": "Example Inc.\n",
    "sys/class/dmi/id/product_uuid": "4c4c4544-0042-3510-8050-b7c04f334432\n",
    "sys/class/dmi/id/board_serial": "/5B53DD2/CNCMC0012345/\n",
    f"{DISK}/dev": "259:0\n",
    f"{DISK}/removable": "0\n",
    f"{DISK}/nvme0n1p2/dev": "259:2\n",
    f"{DISK}/device/serial": "S4EVNX0R123456      \n",
    f"{DISK}/device/model": "EXAMPLE SSD 980 PRO 1TB\n",
    f"{DISK}/wwid": "eui.0025385b01234567\n",
    f"{CARD}/type": "1\n",
    f"{CARD}/address": "8c:04:ba:11:22:33\n",
    f"{CARD}/addr_assign_type": "0\n",
    f"{CARD}/device/vendor": "0x8086\n",
    "sys/devices/virtual/net/lo/type": "772\n",
    "sys/devices/virtual/net/lo/address": "00:00:00:00:00:00\n",
}
LAPTOP_LINKS = {
    "sys/block/nvme0n1": DISK,
    "sys/class/net/eno1": CARD,
    "sys/class/net/lo": "sys/devices/virtual/net/lo",
}
CONTAINER: dict[str, str | bytes] = {
    ".dockerenv": "",
    "etc/machine-id": "3d1219c7c4c5404aaa1f6d2a48adfda4\n",
    "proc/cpuinfo": INTEL,
    "proc/1/cgroup": "0::/\n",
    "proc/self/mountinfo": "600 500 0:52 / / rw - overlay overlay rw,lowerdir=/a\n",
    "sys/devices/virtual/net/eth0/type": "1\n",
    "sys/devices/virtual/net/eth0/address": "02:42:ac:11:00:02\n",
    "sys/devices/virtual/net/eth0/addr_assign_type": "3\n",
}
CONTAINER_LINKS = {"sys/class/net/eth0": "sys/devices/virtual/net/eth0"}


def build(root: Path, files: dict[str, str | bytes], links: dict[str, str] | None = None) -> Path:
    """The tree under ``root``; a link is written relative, as in ``/sys``."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    for name, target in (links or {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(root / target, path.parent))
    return root


def read(root: Path) -> Traits:
    return collect.read(root, platform="linux")


def values(traits: Traits, kind: str) -> list[bytes]:
    return [r.value.reveal() for r in traits.readings if r.kind == kind]


def why(traits: Traits, kind: str) -> MissingWhy | None:
    return next((m.why for m in traits.missing if m.kind == TraitKind(kind)), None)
