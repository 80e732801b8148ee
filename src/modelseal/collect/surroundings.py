"""Whether this system is a virtual machine or a container, as far as it can be told.

What a plan's ``allow`` asks for. It is the device's own word: it keeps honest people to their
terms, and no more than that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from modelseal.collect import windows
from modelseal.collect._collector import Run
from modelseal.collect._container import find_image
from modelseal.collect._files import Root
from modelseal.collect.windows import Registry

_DMI = ("sys_vendor", "product_name", "board_vendor", "bios_vendor")
_FIRMWARE = r"HARDWARE\DESCRIPTION\System\BIOS"
_CONTROL = r"SYSTEM\CurrentControlSet\Control"
_VIRTUAL = re.compile(
    r"qemu|kvm|vmware|virtualbox|innotek|xen|bochs|bhyve|parallels|openstack|hvm domu"
    r"|virtual machine|virtual platform|google compute engine|amazon ec2|alibaba cloud|droplet"
    r"|apple virtualization|firecracker",
    re.IGNORECASE,
)
_METAL = re.compile(r"\.metal", re.IGNORECASE)  # Amazon EC2 rents whole computers too
_MAC = ("/usr/sbin/sysctl", "-n", "kern.hv_vmm_present")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """True, False, or None where the system does not tell."""

    vm: bool | None = None
    container: bool | None = None


def of_linux(root: Root) -> Surroundings:
    """By the processor's ``hypervisor`` flag, the firmware and the device tree."""
    return Surroundings(_linux_vm(root), find_image(root) is not None)


def of_windows(registry: Registry | None = None) -> Surroundings:
    """By the firmware's maker and product; a container has ``ContainerType``."""
    source = registry or windows.LocalRegistry()

    def text(key: str, name: str) -> str:
        try:
            value = source.value(key, name)
        except OSError:
            return ""
        return value if isinstance(value, str) else ""

    said = [text(_FIRMWARE, name) for name in ("SystemManufacturer", "SystemProductName")]
    return Surroundings(_by_names(said), _container_type(source))


def of_macos(run: Run) -> Surroundings:
    """By ``kern.hv_vmm_present``; programs of macOS do not run in containers."""
    answers: Mapping[str, bool] = {"0": False, "1": True}
    return Surroundings(answers.get(run(_MAC).strip()), container=False)


def _linux_vm(root: Root) -> bool | None:
    said = [root.text(f"sys/class/dmi/id/{name}") for name in _DMI]
    named = _by_names(said)
    cpu = root.text("proc/cpuinfo")
    flags = re.search(r"^flags\s*:(.*)$", cpu, re.MULTILINE)
    if named or root.exists("proc/device-tree/hypervisor/compatible"):
        return True
    if flags is not None:
        return "hypervisor" in flags.group(1).split()
    return named if named is not None or not root.exists("proc/device-tree/model") else False


def _by_names(said: list[str]) -> bool | None:
    whole = " ".join(said).strip()
    if not whole:
        return None
    return bool(_VIRTUAL.search(whole)) and not _METAL.search(whole)


def _container_type(source: Registry) -> bool | None:
    try:
        return source.value(_CONTROL, "ContainerType") is not None
    except OSError:
        return None
