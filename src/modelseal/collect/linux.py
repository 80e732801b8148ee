"""Linux: traits from files of ``/etc``, ``/sys`` and ``/proc``; no subprocess."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelseal.collect._collector import Collector, Finding
from modelseal.collect._container import find_image, mounts
from modelseal.collect._files import Found, Root
from modelseal.collect.linux_disks import read_disks
from modelseal.collect.linux_network import PermanentAddress, permanent_address, read_network
from modelseal.device import Confidence, MissingTrait, MissingWhy, TraitKind, normalise

_DMI = "sys/class/dmi/id/"
_DEVICE_TREE = ("proc/device-tree/", "sys/firmware/devicetree/base/")
_X86 = ("vendor_id", "cpu family", "model", "model name")
_ARM = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision")
_AMAZON = re.compile(r"i-[0-9a-f]{8,17}")
_GOOGLE = re.compile(r"GoogleCloud-[0-9A-Fa-f]{16,64}")


def collectors(root: Root, permanent: PermanentAddress | None = None) -> tuple[Collector, ...]:
    """The collectors of a Linux system below ``root``.

    ``permanent`` tells a network card's burnt-in address; by default the kernel is asked when
    ``root`` is the running system.
    """
    ask = permanent or (permanent_address if root.live else _no_answer)
    kind = TraitKind
    return (
        Collector(kind.SMBIOS_UUID, "SMBIOS system UUID", True, lambda: read_smbios(root)),
        Collector(kind.BOARD_SERIAL, "serial number of the board", True, lambda: read_board(root)),
        Collector(kind.CLOUD_INSTANCE, "id of the cloud instance", False, lambda: read_cloud(root)),
        Collector(
            kind.DISK_SERIAL, "serial numbers of built-in disks", False, lambda: read_disks(root)
        ),
        Collector(kind.MAC, "addresses of network cards", False, lambda: read_network(root, ask)),
        Collector(kind.MACHINE_ID, "/etc/machine-id", False, lambda: read_machine_id(root)),
        Collector(kind.CPU_CLASS, "class of the processor", False, lambda: read_cpu(root)),
    )


def read_smbios(root: Root) -> Iterator[Finding]:
    """The system UUID; readable by root only."""
    found = root.read(_DMI + "product_uuid")
    if isinstance(found, MissingWhy):
        yield MissingTrait(TraitKind.SMBIOS_UUID, found)
        return
    yield normalise.found(
        TraitKind.SMBIOS_UUID, normalise.smbios_uuid(found.text), privileged=found.privileged
    )


def read_board(root: Root) -> Iterator[Finding]:
    """The board's serial number: SMBIOS, or the device tree of Jetsons and other boards.

    The system's own serial number is left out: clouds repeat the UUID or instance id there.
    """
    names = [folder + "serial-number" for folder in _DEVICE_TREE]
    for name in [_DMI + "board_serial", *names, "sys/devices/soc0/serial_number"]:
        found = root.read(name)
        if isinstance(found, MissingWhy):
            yield MissingTrait(TraitKind.BOARD_SERIAL, found)
            continue
        cloud = "GoogleCloud-" in found.text  # counted as the cloud instance
        value = MissingWhy.VIRTUAL if cloud else normalise.serial(found.text)
        yield normalise.found(TraitKind.BOARD_SERIAL, value, privileged=found.privileged)
        if not isinstance(value, MissingWhy):
            return


def read_cloud(root: Root) -> Iterator[Finding]:
    """The instance id: from the firmware (Amazon, Google) or from this boot's cloud-init."""
    tag = root.text(_DMI + "board_asset_tag")
    if "amazon" in root.text(_DMI + "sys_vendor").lower() and _AMAZON.fullmatch(tag):
        yield normalise.found(TraitKind.CLOUD_INSTANCE, normalise.cloud_instance(tag))
        return
    serial = root.read(_DMI + "product_serial")
    if isinstance(serial, Found) and _GOOGLE.fullmatch(serial.text.strip()):
        value = normalise.cloud_instance(serial.text)
        yield normalise.found(TraitKind.CLOUD_INSTANCE, value, privileged=serial.privileged)
        return
    found = root.read("run/cloud-init/.instance-id")
    if isinstance(found, MissingWhy):
        yield MissingTrait(TraitKind.CLOUD_INSTANCE, found)
        return
    amazon = _AMAZON.fullmatch(found.text.strip())
    yield normalise.found(
        TraitKind.CLOUD_INSTANCE,
        normalise.cloud_instance(found.text),
        confidence=Confidence.HIGH if amazon else Confidence.LOW,
    )


def read_machine_id(root: Root) -> Iterator[Finding]:
    """The machine id, unless an image brought it along or it lasts only until the next boot."""
    found = root.read("etc/machine-id")
    if isinstance(found, MissingWhy):
        yield MissingTrait(TraitKind.MACHINE_ID, found)
        return
    why = _not_own(root, found)
    value = why or normalise.machine_id(found.text)
    yield normalise.found(TraitKind.MACHINE_ID, value, privileged=found.privileged)


def _not_own(root: Root, found: Found) -> MissingWhy | None:
    """Why this machine id is not this computer's own, or None.

    One that was written after the container was made, or that somebody mounted into it, is.
    """
    own = [mount for mount in mounts(root) if mount.point == "/etc/machine-id"]
    if own:
        transient = own[-1].kind == "tmpfs" and own[-1].root.endswith("/machine-id")
        return MissingWhy.RANDOM if transient else None  # systemd on a read-only root
    image = find_image(root)
    if image is None:
        return None
    if image.started_at_ns is not None and found.modified_at_ns > image.started_at_ns:
        return None
    return MissingWhy.SHARED_BY_IMAGE


def read_cpu(root: Root) -> Iterator[Finding]:
    """The processor's class: nothing that an update of microcode or kernel changes."""
    fields: dict[str, str] = {}
    for line in root.text("proc/cpuinfo").splitlines():
        name, _colon, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    parts = [fields.get(name, "") for name in _X86]
    if not any(parts):
        parts = [fields.get(name, "") for name in _ARM]
        models = (root.text(folder + "model") for folder in _DEVICE_TREE)
        parts.append(next((model for model in models if model), ""))
    yield normalise.found(TraitKind.CPU_CLASS, normalise.cpu_class(parts))


def _no_answer(_interface: str) -> bytes | None:
    return None
