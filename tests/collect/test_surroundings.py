"""Virtual machines and containers are told from computers, and what is not known is not guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.collect.test_other_platforms import Recorded
from tests.collect.world import CONTAINER, INTEL, LAPTOP, build

from modelseal import collect
from modelseal.collect import Surroundings
from modelseal.collect.surroundings import of_windows

FLAGS = "flags\t\t: fpu vme de pse tsc msr"
JETSON = {"proc/cpuinfo": "CPU part\t: 0xd42\n", "proc/device-tree/model": "NVIDIA Jetson AGX\0"}
DMI = "sys/class/dmi/id/"


def told(root: Path) -> Surroundings:
    return collect.surroundings(root, platform="linux")


@pytest.mark.parametrize(
    ("changed", "vm"),
    [
        ({"proc/cpuinfo": INTEL + FLAGS + "\n"}, False),
        ({"proc/cpuinfo": INTEL + FLAGS + " hypervisor\n"}, True),
        ({DMI + "sys_vendor": "QEMU\n"}, True),
        ({DMI + "product_name": "VMware Virtual Platform\n"}, True),
        ({DMI + "sys_vendor": "innotek GmbH\n", DMI + "product_name": "VirtualBox\n"}, True),
        ({DMI + "product_name": "Virtual Machine\n"}, True),
        ({DMI + "sys_vendor": "Amazon EC2\n", DMI + "product_name": "m7g.large\n"}, True),
        ({DMI + "sys_vendor": "Amazon EC2\n", DMI + "product_name": "m7g.metal\n"}, False),
        ({DMI + "product_name": "Google Compute Engine\n"}, True),
    ],
)
def test_a_virtual_machine_is_known_by_processor_or_firmware(tmp_path, changed, vm) -> None:
    assert told(build(tmp_path, {**LAPTOP, **changed})) == Surroundings(vm, container=False)


def test_a_board_is_itself_unless_its_tree_names_a_hypervisor(tmp_path: Path) -> None:
    assert told(build(tmp_path / "jetson", JETSON)) == Surroundings(vm=False, container=False)
    guest = {**JETSON, "proc/device-tree/hypervisor/compatible": "xen\0"}
    assert told(build(tmp_path / "guest", guest)).vm is True


def test_a_container_is_told_and_an_empty_system_is_not_guessed(tmp_path: Path) -> None:
    assert told(build(tmp_path / "container", CONTAINER)).container is True
    assert told(build(tmp_path / "empty", {"etc/hostname": "x"})) == Surroundings(None, False)
    assert collect.surroundings(platform="sunos") == Surroundings()


def test_windows_is_told_by_its_firmware_and_its_container_type() -> None:
    real = Recorded(SystemManufacturer="Example Inc.", SystemProductName="Book 14")
    assert of_windows(real) == Surroundings(vm=False, container=False)
    virtual = Recorded(SystemManufacturer="Microsoft Corporation", ContainerType="2",
                       SystemProductName="Virtual Machine")  # fmt: skip
    assert of_windows(virtual) == Surroundings(vm=True, container=True)
    assert of_windows(Recorded(closed=True)) == Surroundings()


@pytest.mark.parametrize(("answer", "vm"), [("0\n", False), ("1\n", True), ("", None), ("x", None)])
def test_a_mac_is_asked(answer: str, vm: bool | None) -> None:
    told = collect.surroundings(run=lambda _command: answer, platform="darwin")
    assert told == Surroundings(vm, container=False)
