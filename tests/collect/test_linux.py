"""Linux computers of many kinds, each from its own files."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from tests.collect.world import (
    CARD,
    CONTAINER,
    CONTAINER_LINKS,
    DISK,
    INTEL,
    JETSON_CPU,
    LAPTOP,
    LAPTOP_LINKS,
    build,
    read,
    values,
    why,
)

from modelseal import collect
from modelseal.collect import linux
from modelseal.collect._files import Root
from modelseal.device import MissingWhy, TraitKind

SECOND = "sys/devices/pci0000:00/0000:00:17.0/ata1/host0/sda"
STICK = "sys/devices/pci0000:00/0000:00:14.0/usb2/2-1/host4/sdb"


def test_a_laptop_gives_six_traits(tmp_path: Path) -> None:
    traits = read(build(tmp_path, LAPTOP, LAPTOP_LINKS))
    assert values(traits, "machine_id")[0].hex() == "5f1e0c4b7a3d4e2f9b8c7d6e5f4a3b2c"
    assert values(traits, "smbios_uuid")[0].hex() == "4c4c4544004235108050b7c04f334432"
    assert values(traits, "board_serial") == [b"/5B53DD2/CNCMC0012345/"]
    assert values(traits, "disk_serial") == [b"S4EVNX0R123456"]
    assert values(traits, "mac") == [bytes.fromhex("8c04ba112233")]
    assert values(traits, "cpu_class")[0].startswith(b"GenuineIntel|6|140|11th Gen")
    assert (why(traits, "tpm_ek"), why(traits, "cloud_instance")) == ("not_supported", "absent")


def test_every_kind_is_either_read_or_missing(tmp_path: Path) -> None:
    for root in (build(tmp_path, LAPTOP, LAPTOP_LINKS), tmp_path / "nothing", Path("/")):
        traits = read(root)
        found = {r.kind for r in traits.readings}
        assert found | {m.kind for m in traits.missing} == set(TraitKind)
        assert not found & {m.kind for m in traits.missing}


def test_two_readings_of_one_computer_are_equal(tmp_path: Path) -> None:
    root = build(tmp_path, LAPTOP, LAPTOP_LINKS)
    assert read(root) == read(root)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the running system")
def test_reading_the_running_system_is_stable() -> None:
    assert collect.read() == collect.read()


def test_what_only_root_can_read_is_marked(tmp_path: Path) -> None:
    root = build(tmp_path, LAPTOP, LAPTOP_LINKS)
    for name in ("product_uuid", "board_serial"):
        os.chmod(root / "sys/class/dmi/id" / name, 0o400)
    marked = {r.kind: r.privileged for r in read(root).readings}
    assert marked["smbios_uuid"] and marked["board_serial"]
    assert not marked["machine_id"] and not marked["disk_serial"]


def test_a_user_is_told_that_root_would_see_more() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = build(Path(folder), LAPTOP, LAPTOP_LINKS)
        os.chmod(root / "sys/class/dmi/id/product_uuid", 0)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)
        try:
            traits = read(root)
        finally:
            if was_root:
                os.seteuid(0)
        assert why(traits, "smbios_uuid") == MissingWhy.NEEDS_PRIVILEGE
        assert values(traits, "disk_serial")


def test_the_systems_own_disk_comes_first_and_sticks_do_not_count(tmp_path: Path) -> None:
    files = LAPTOP | {
        f"{SECOND}/dev": "8:0\n",
        f"{SECOND}/removable": "0\n",
        f"{SECOND}/device/vpd_pg80": b"\x00\x80\x00\x0cWD-WX11A2345",
        f"{STICK}/removable": "0\n",
        f"{STICK}/serial": "USBSTICK01\n",
        "sys/block/loop0/serial": "LOOPSERIAL\n",
        "sys/block/sr0/serial": "CDROM00117\n",
        "sys/block/sdc/removable": "1\n",
        "sys/block/sdc/serial": "CARDREADER7\n",
    }
    links = LAPTOP_LINKS | {"sys/block/a-sda": SECOND, "sys/block/sdb": STICK}
    assert values(read(build(tmp_path, files, links)), "disk_serial") == [
        b"S4EVNX0R123456",
        b"WD-WX11A2345",
    ]


def test_the_disk_under_an_encrypted_volume_is_the_systems_own(tmp_path: Path) -> None:
    files = LAPTOP | {
        "proc/self/mountinfo": "29 1 254:1 / / rw - btrfs /dev/mapper/vg-root rw\n",
        "sys/block/dm-0/dev": "254:0\n",
        "sys/block/dm-0/slaves/nvme0n1p2/dev": "259:2\n",
        "sys/block/dm-1/dev": "254:1\n",
        "sys/block/dm-1/slaves/dm-0/dev": "254:0\n",
        f"{SECOND}/serial": "AAAFIRSTBYNAME\n",
    }
    links = LAPTOP_LINKS | {"sys/block/a-sda": SECOND}
    assert values(read(build(tmp_path, files, links)), "disk_serial")[0] == b"S4EVNX0R123456"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"sys/block/vda/serial": ""}, MissingWhy.VIRTUAL),
        ({"sys/block/vda/dev": "254:0"}, MissingWhy.VIRTUAL),
        ({"sys/block/sda/device/vendor": "Msft", "sys/block/sda/device/model": "Virtual Disk",
          "sys/block/sda/device/wwid": "naa.60022480aabbccdd"}, MissingWhy.VIRTUAL),
        ({"sys/block/sda/device/vendor": "ATA", "sys/block/sda/device/model": "QEMU HARDDISK",
          "sys/block/sda/device/vpd_pg80": b"\x00\x80\x00\x07QM00001"}, MissingWhy.VIRTUAL),
        ({"sys/block/sda/serial": "0000000000"}, MissingWhy.PLACEHOLDER),
        ({"sys/block/zram0/dev": "252:0"}, MissingWhy.ABSENT),
        ({"sys/block/sda/device/vpd_pg80": b"\x00"}, MissingWhy.EMPTY),
    ],
)  # fmt: skip
def test_a_disk_without_a_serial_number_of_its_own_is_missing(
    tmp_path: Path, files: dict[str, str | bytes], reason: MissingWhy
) -> None:
    assert why(read(build(tmp_path, files)), "disk_serial") == reason


def test_a_virtual_disk_with_a_serial_number_counts(tmp_path: Path) -> None:
    root = build(tmp_path, {"sys/block/vda/serial": "1676636478643890\n"})
    assert values(read(root), "disk_serial") == [b"1676636478643890"]


def test_a_container_brings_nothing_of_its_image_along(tmp_path: Path) -> None:
    root = build(tmp_path, CONTAINER, CONTAINER_LINKS)
    os.utime(root / "etc/machine-id", (1_600_000_000, 1_600_000_000))
    traits = read(root)
    assert why(traits, "machine_id") == MissingWhy.SHARED_BY_IMAGE
    assert why(traits, "mac") == MissingWhy.LOCALLY_ADMINISTERED
    assert [r.kind for r in traits.readings] == ["cpu_class"]


@pytest.mark.parametrize(
    "files",
    [
        {"run/.containerenv": ""},
        {"run/systemd/container": "lxc\n"},
        {"proc/1/cgroup": "12:cpu:/docker/3f2a\n"},
        {"proc/1/cgroup": "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope\n"},
    ],
)
def test_each_container_engine_is_known(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    plain = {name: text for name, text in CONTAINER.items() if name != ".dockerenv"}
    root = build(tmp_path, plain | files, CONTAINER_LINKS)
    os.utime(root / "etc/machine-id", (1_600_000_000, 1_600_000_000))
    assert why(read(root), "machine_id") == MissingWhy.SHARED_BY_IMAGE


def test_a_machine_id_made_after_the_container_is_its_own(tmp_path: Path) -> None:
    root = build(tmp_path, CONTAINER, CONTAINER_LINKS)
    os.utime(root / ".dockerenv", (1_700_000_000, 1_700_000_000))
    os.utime(root / "etc/machine-id", (1_700_000_060, 1_700_000_060))
    assert values(read(root), "machine_id")
    os.utime(root / "etc/machine-id", (1_600_000_000, 1_600_000_000))
    assert why(read(root), "machine_id") == MissingWhy.SHARED_BY_IMAGE


def test_a_machine_id_mounted_into_a_container_counts(tmp_path: Path) -> None:
    line = "700 600 259:2 /etc/machine-id /etc/machine-id ro - ext4 /dev/nvme0n1p2 rw\n"
    files = CONTAINER | {"proc/self/mountinfo": str(CONTAINER["proc/self/mountinfo"]) + line}
    root = build(tmp_path, files, CONTAINER_LINKS)
    os.utime(root / "etc/machine-id", (1_600_000_000, 1_600_000_000))
    assert values(read(root), "machine_id")


def test_a_machine_id_that_lasts_until_the_next_boot_is_random(tmp_path: Path) -> None:
    line = "40 29 0:25 /machine-id /etc/machine-id ro - tmpfs tmpfs rw\n"
    files = LAPTOP | {"proc/self/mountinfo": str(LAPTOP["proc/self/mountinfo"]) + line}
    assert why(read(build(tmp_path, files, LAPTOP_LINKS)), "machine_id") == MissingWhy.RANDOM


def test_the_cards_burnt_in_address_counts_and_not_the_one_in_use(tmp_path: Path) -> None:
    files = LAPTOP | {f"{CARD}/address": "8c:04:ba:99:99:99\n"}
    root = Root(build(tmp_path, files, LAPTOP_LINKS))
    asked: list[str] = []

    def permanent(name: str) -> bytes:
        asked.append(name)
        return bytes.fromhex("8c04ba112233")

    mac = next(c for c in linux.collectors(root, permanent) if c.kind == "mac").findings()
    assert [r.value.reveal().hex() for r in mac if hasattr(r, "value")] == ["8c04ba112233"]
    assert asked == ["eno1"]


def test_an_address_that_was_set_is_random_when_the_card_does_not_tell(tmp_path: Path) -> None:
    for kind in ("1", "2", "3", ""):
        root = tmp_path / f"kind{kind}"
        files = LAPTOP | {f"{CARD}/addr_assign_type": kind}
        assert why(read(build(root, files, LAPTOP_LINKS)), "mac") == MissingWhy.RANDOM


def test_a_usb_card_is_less_sure_and_comes_last(tmp_path: Path) -> None:
    usb = "sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0"
    files = LAPTOP | {
        f"{usb}/net/a0/type": "1\n",
        f"{usb}/net/a0/address": "00:e0:4c:68:01:02\n",
        f"{usb}/net/a0/addr_assign_type": "0\n",
        f"{usb}/modalias": "usb:v0BDA\n",
    }
    links = LAPTOP_LINKS | {"sys/class/net/a0": f"{usb}/net/a0", f"{usb}/net/a0/device": usb}
    cards = [r for r in read(build(tmp_path, files, links)).readings if r.kind == "mac"]
    assert [r.confidence for r in cards] == ["high", "low"]
    assert cards[1].value.reveal().hex() == "00e04c680102"


def test_windows_subsystem_for_linux_has_neither_address_nor_disk(tmp_path: Path) -> None:
    files = LAPTOP | {
        "proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n",
        f"{CARD}/address": "00:15:5d:12:34:56\n",
    }
    assert why(read(build(tmp_path, files, LAPTOP_LINKS)), "mac") == MissingWhy.RANDOM


def test_a_jetson_gives_the_serial_number_of_its_module(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "etc/machine-id": "5f1e0c4b7a3d4e2f9b8c7d6e5f4a3b2c\n",
        "proc/cpuinfo": JETSON_CPU,
        "proc/device-tree/serial-number": b"1423321012345\x00",
        "proc/device-tree/model": b"NVIDIA Jetson Orin Nano Developer Kit\x00",
        "sys/block/mmcblk0/device/serial": "0x12ab34cd\n",
        "sys/block/mmcblk0boot0/device/serial": "0x12ab34cd\n",
    }
    traits = read(build(tmp_path, files))
    assert values(traits, "board_serial") == [b"1423321012345"]
    assert values(traits, "cpu_class")[0].endswith(b"|NVIDIA Jetson Orin Nano Developer Kit")
    assert values(traits, "disk_serial") == [b"0X12AB34CD"]
    assert why(traits, "smbios_uuid") == MissingWhy.ABSENT


@pytest.mark.parametrize(
    ("files", "expected", "confidence"),
    [
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2\n",
          "sys/class/dmi/id/board_asset_tag": "i-0abc1234def567890\n"},
         b"i-0abc1234def567890", "high"),
        ({"sys/class/dmi/id/product_serial": "GoogleCloud-9A5C3E6F0B1D2A4877665544AABBCCDD\n"},
         b"GoogleCloud-9A5C3E6F0B1D2A4877665544AABBCCDD", "high"),
        ({"run/cloud-init/.instance-id": "i-0abc1234def567890\n"}, b"i-0abc1234def567890", "high"),
        ({"run/cloud-init/.instance-id": "d7f8b7a1-5c1e-4b0f\n"}, b"d7f8b7a1-5c1e-4b0f", "low"),
    ],
)  # fmt: skip
def test_a_cloud_instance_is_named_by_firmware_or_cloud_init(
    tmp_path: Path, files: dict[str, str | bytes], expected: bytes, confidence: str
) -> None:
    traits = read(build(tmp_path, files))
    assert values(traits, "cloud_instance") == [expected]
    assert next(r for r in traits.readings if r.kind == "cloud_instance").confidence == confidence


def test_an_asset_tag_outside_the_cloud_is_no_instance(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "sys/class/dmi/id/sys_vendor": "Example Inc.\n",
        "sys/class/dmi/id/board_asset_tag": "i-0abc1234def567890\n",
        "sys/class/dmi/id/product_serial": "PF2ABCDE\n",
        "run/cloud-init/.instance-id": "iid-datasource-none\n",
    }
    assert why(read(build(tmp_path, files)), "cloud_instance") == MissingWhy.PLACEHOLDER


def test_a_cloud_id_in_the_boards_place_counts_once(tmp_path: Path) -> None:
    text = "GoogleCloud-9A5C3E6F0B1D2A4877665544AABBCCDD\n"
    dmi = "sys/class/dmi/id"
    traits = read(build(tmp_path, {f"{dmi}/board_serial": text, f"{dmi}/product_serial": text}))
    assert values(traits, "cloud_instance") and why(traits, "board_serial") == MissingWhy.VIRTUAL


def test_a_kernel_or_microcode_update_does_not_change_the_processor(tmp_path: Path) -> None:
    newer = INTEL.replace("0xb8", "0xc2").replace("stepping\t: 1", "stepping\t: 1\nflags\t: new")
    one = read(build(tmp_path / "a", {"proc/cpuinfo": INTEL}))
    two = read(build(tmp_path / "b", {"proc/cpuinfo": newer}))
    assert values(one, "cpu_class") == values(two, "cpu_class")


def test_hostile_sources_neither_block_nor_fail(tmp_path: Path) -> None:
    root = build(tmp_path, LAPTOP, LAPTOP_LINKS)
    (root / "etc/machine-id").unlink()
    os.mkfifo(root / "etc/machine-id")
    (root / "sys/class/dmi/id/product_uuid").unlink()
    (root / "sys/class/dmi/id/product_uuid").mkdir()
    (root / "proc/cpuinfo").write_bytes(b"vendor_id: " + b"A" * 10_000_000)
    (root / "sys/class/dmi/id/board_serial").unlink()
    (root / "sys/class/dmi/id/board_serial").symlink_to("board_serial")
    (root / f"{DISK}/device/serial").write_bytes(b"\xff\xfe\x00\x01\x1b[2J")
    (root / f"{DISK}/wwid").write_bytes(bytes(range(256)))
    traits = read(root)
    assert why(traits, "machine_id") == MissingWhy.UNREADABLE
    assert why(traits, "smbios_uuid") == MissingWhy.UNREADABLE
    assert why(traits, "board_serial") == MissingWhy.UNREADABLE
    assert why(traits, "cpu_class") == MissingWhy.MALFORMED
    assert why(traits, "disk_serial") == MissingWhy.MALFORMED


def test_an_endless_file_is_read_to_a_bound() -> None:
    assert why(read(Path("/dev")), "machine_id") == MissingWhy.ABSENT
    assert Root(Path("/dev")).read("zero") == MissingWhy.UNREADABLE


def test_what_would_be_read_can_be_shown_before_reading() -> None:
    listed = collect.collectors(platform="linux")
    assert {c.kind for c in listed} == set(TraitKind) - {TraitKind.TPM_EK}
    assert all(c.source for c in listed)
    assert {c.kind for c in listed if c.privileged} == {"smbios_uuid", "board_serial"}
