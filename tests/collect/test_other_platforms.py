"""Windows and macOS from recorded answers; any platform imports and reads without failing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collect.world import values, why

from modelseal import collect
from modelseal.collect import smbios, windows
from modelseal.device import MissingWhy, TraitKind, Traits, gather

UUID_BYTES = bytes.fromhex("44454c4c420010358050b7c04f334432")


def structure(kind: int, body: bytes, texts: Sequence[str]) -> bytes:
    tail = b"\x00".join(text.encode("latin-1") for text in texts) + b"\x00\x00"
    return bytes([kind, 4 + len(body), 0, 0]) + body + (tail if texts else b"\x00\x00")


def tables(board: str = "/5B53DD2/CNCMC0012345/") -> bytes:
    system = structure(1, bytes([1, 2, 0, 3]) + UUID_BYTES + bytes([6, 0, 0]), ["Ex", "X1", "SN"])
    base = structure(2, bytes([1, 2, 0, 3, 0]), ["Ex", "Board", board])
    return structure(0, bytes(14), ["BIOS"]) + system + base + structure(127, b"", [])


class Recorded:
    """A registry of recorded values; ``closed`` keys may not be read."""

    def __init__(self, closed: bool = False, **changed: str | bytes | None) -> None:
        self.closed = closed
        self.values: dict[str, str | bytes | None] = {
            "MachineGuid": "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
            "SMBiosData": b"\x00\x03\x04\x00\x00\x00\x00\x00" + tables(),
            "VendorIdentifier": "GenuineIntel",
            "Identifier": "Intel64 Family 6 Model 140 Stepping 1",
            "ProcessorNameString": "11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz",
        } | changed

    def value(self, key: str, name: str) -> str | bytes | None:
        assert key.startswith(("SOFTWARE\\", "SYSTEM\\", "HARDWARE\\"))
        if self.closed:
            raise PermissionError(5, "Access is denied")
        return self.values.get(name)


def windows_traits(registry: Recorded, node: int = 0x8C04BA112233) -> Traits:
    listed = windows.collectors(registry, lambda: node)
    return gather(finding for one in listed for finding in one.findings())


def test_a_windows_computer_gives_five_traits() -> None:
    traits = windows_traits(Recorded())
    assert values(traits, "machine_id")[0].hex() == "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
    assert values(traits, "smbios_uuid")[0].hex() == "4c4c4544004235108050b7c04f334432"
    assert values(traits, "board_serial") == [b"/5B53DD2/CNCMC0012345/"]
    assert values(traits, "mac")[0].hex() == "8c04ba112233"
    assert values(traits, "cpu_class")[0].startswith(b"GenuineIntel|Intel64 Family 6")
    assert why(traits, "disk_serial") == MissingWhy.NOT_SUPPORTED


def test_an_address_made_up_by_uuid_getnode_is_missing() -> None:
    assert why(windows_traits(Recorded(), 0x010203040506), "mac") == MissingWhy.RANDOM
    local = windows_traits(Recorded(), 0x0A0203040506)
    assert why(local, "mac") == MissingWhy.LOCALLY_ADMINISTERED


def test_missing_closed_and_odd_registry_values_are_missing_traits() -> None:
    closed = windows_traits(Recorded(closed=True))
    assert why(closed, "machine_id") == why(closed, "smbios_uuid") == "needs_privilege"
    assert why(closed, "cpu_class") == MissingWhy.UNREADABLE
    odd = windows_traits(Recorded(MachineGuid=None, SMBiosData=b"x", VendorIdentifier=b"1"))
    assert why(odd, "machine_id") == why(odd, "board_serial") == MissingWhy.ABSENT
    unset = windows_traits(Recorded(SMBiosData=bytes(8) + tables("To be filled by O.E.M.")))
    assert why(unset, "board_serial") == MissingWhy.PLACEHOLDER


@given(st.binary(max_size=300))
def test_any_bytes_can_be_taken_for_firmware_tables(data: bytes) -> None:
    smbios.parse(data)
    smbios.parse(tables()[: len(data)] + data)


MAC_ANSWERS = {
    "ioreg": """+-o J293AP  <class IOPlatformExpertDevice, id 0x100000227, registered>
    {
      "IOPlatformSerialNumber" = "FVFXC0AAQ05D"
      "IOPlatformUUID" = "8A6E1B2C-3D4F-5A6B-9C8D-7E0F1A2B3C4D"
      "model" = <"MacBookPro17,1">
    }
""",
    "networksetup": """
Hardware Port: Thunderbolt Bridge
Device: bridge0
Ethernet Address: 36:aa:bb:cc:dd:ee

Hardware Port: Wi-Fi
Device: en0
Ethernet Address: f4:d4:88:11:22:33

Hardware Port: USB 10/100/1000 LAN
Device: en7
Ethernet Address: 00:e0:4c:68:01:02
""",
    "sysctl": "Apple M1\nMacBookPro17,1\n",
}


def answer(command: Sequence[str]) -> str:
    return MAC_ANSWERS[command[0].rsplit("/", 1)[1]]


def test_a_mac_gives_four_traits() -> None:
    traits = collect.read(platform="darwin", run=answer)
    assert values(traits, "machine_id")[0].hex() == "8a6e1b2c3d4f5a6b9c8d7e0f1a2b3c4d"
    assert values(traits, "board_serial") == [b"FVFXC0AAQ05D"]
    assert values(traits, "mac") == [bytes.fromhex("f4d488112233")]
    assert values(traits, "cpu_class") == [b"Apple M1|MacBookPro17,1"]


def test_silent_or_failing_commands_are_missing_traits() -> None:
    def fails(_command: Sequence[str]) -> str:
        raise OSError("no such command")

    for run in (lambda _command: "", fails, None):
        traits = collect.read(platform="darwin", run=run)
        assert traits.readings == () and len(traits.missing) == len(TraitKind)


@pytest.mark.parametrize("platform", ["win32", "darwin", "freebsd14", "emscripten"])
def test_reading_never_fails_on_a_platform_whose_sources_are_not_here(platform: str) -> None:
    traits = collect.read(platform=platform)
    assert len({m.kind for m in traits.missing} | {r.kind for r in traits.readings}) == 8


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_everything_imports_where_unix_modules_do_not_exist(platform: str) -> None:
    """A process of its own, in which the platform has another name and the modules are gone."""
    program = f"""
        import sys
        import uuid, subprocess, ctypes, os, pathlib, cryptography.hazmat.bindings._rust
        absent = {{"fcntl", "resource", "pwd", "grp", "termios"}}
        class Gone:
            def find_spec(self, name, path=None, target=None):
                if name in absent:
                    raise ModuleNotFoundError(name)
        for name in absent:
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, Gone())
        sys.platform = {platform!r}
        from modelseal import collect, device, memory
        traits = collect.read()
        wrapped = device.wrap(b"secret", traits.readings, random=os.urandom)
        assert device.unwrap(wrapped.data, traits.readings) == b"secret"
        with memory.Arena(100) as arena:
            arena.view[:5] = b"hello"
        assert memory.SecretBytes(b"key").reveal() == b"key"
        assert not memory.harden_process().not_dumpable
        print("fine")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "fine", done.stderr
