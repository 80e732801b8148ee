"""macOS: traits from ``ioreg``, ``networksetup`` and ``sysctl``, all readable by ordinary users."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from modelseal.collect._collector import Collector, Finding, Run
from modelseal.device import MissingTrait, MissingWhy, TraitKind, normalise

_PLATFORM = ("/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
_PORTS = ("/usr/sbin/networksetup", "-listallhardwareports")
_CPU = ("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string", "hw.model")
_BUILT_IN = re.compile(r"Wi-Fi|AirPort|Ethernet( \d+)?|Built-in Ethernet")


def collectors(run: Run) -> tuple[Collector, ...]:
    """The collectors of a macOS system; ``run`` gives a command's standard output."""
    kind = TraitKind
    return (
        Collector(kind.BOARD_SERIAL, "IOPlatformSerialNumber", False, lambda: read_serial(run)),
        Collector(kind.MAC, "addresses of network ports", False, lambda: read_ports(run)),
        Collector(kind.MACHINE_ID, "IOPlatformUUID", False, lambda: read_platform_uuid(run)),
        Collector(kind.CPU_CLASS, "class of the processor", False, lambda: read_cpu(run)),
    )


def read_platform_uuid(run: Run) -> Iterator[Finding]:
    """``IOPlatformUUID``, which stays when macOS is installed anew."""
    yield _property(run, TraitKind.MACHINE_ID, "IOPlatformUUID", normalise.machine_id)


def read_serial(run: Run) -> Iterator[Finding]:
    """The serial number on the computer's case."""
    yield _property(run, TraitKind.BOARD_SERIAL, "IOPlatformSerialNumber", normalise.serial)


def read_ports(run: Run) -> Iterator[Finding]:
    """The addresses of the built-in ports; private Wi-Fi addresses do not show here."""
    text = run(_PORTS)
    pattern = r"Hardware Port: (.+)\nDevice: .*\nEthernet Address: ([0-9A-Fa-f:]{17})"
    ports = [address for name, address in re.findall(pattern, text) if _BUILT_IN.fullmatch(name)]
    if not ports:
        yield MissingTrait(TraitKind.MAC, MissingWhy.ABSENT)
    for address in ports:
        yield normalise.found(TraitKind.MAC, normalise.mac(address))


def read_cpu(run: Run) -> Iterator[Finding]:
    """The processor's class and the model of the computer."""
    yield normalise.found(TraitKind.CPU_CLASS, normalise.cpu_class(run(_CPU).splitlines()))


def _property(
    run: Run, kind: TraitKind, name: str, clean: Callable[[str], normalise.Normalised]
) -> Finding:
    found = re.search(rf'"{name}" = "([^"]*)"', run(_PLATFORM))
    if found is None:
        return MissingTrait(kind, MissingWhy.ABSENT)
    return normalise.found(kind, clean(found.group(1)))
