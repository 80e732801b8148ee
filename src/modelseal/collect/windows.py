"""Windows: traits from the registry and the firmware tables; no subprocess, no ``wmic``.

Read with the rights of an ordinary user. Disk serials and burnt-in addresses are not read here;
the address in use counts with low confidence.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from modelseal.collect import smbios
from modelseal.collect._collector import Collector, Finding
from modelseal.device import Confidence, MissingTrait, MissingWhy, TraitKind, normalise

_MACHINE = r"SOFTWARE\Microsoft\Cryptography"
_PROCESSOR = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
_TABLES = r"SYSTEM\CurrentControlSet\Services\mssmbios\Data"
_TABLES_HEAD_BYTES = 8
_CPU_FIELDS = ("VendorIdentifier", "Identifier", "ProcessorNameString")

Node = Callable[[], int]


class Registry(Protocol):
    """Values below ``HKEY_LOCAL_MACHINE``."""

    def value(self, key: str, name: str) -> str | bytes | None:
        """The value, or None when it is not there; ``PermissionError`` when it may not be read."""
        ...


class LocalRegistry:
    """The registry of this computer (``winreg``), the 64-bit view."""

    def value(self, key: str, name: str) -> str | bytes | None:
        """See ``Registry``."""
        try:
            winreg: Any = importlib.import_module("winreg")
        except ImportError:
            raise OSError("this Python has no winreg") from None
        access = winreg.KEY_READ | winreg.KEY_WOW64_64KEY
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key, 0, access) as opened:
                value, _kind = winreg.QueryValueEx(opened, name)
        except FileNotFoundError:
            return None
        return value if isinstance(value, (str, bytes)) else str(value)


def collectors(registry: Registry | None = None, node: Node | None = None) -> tuple[Collector, ...]:
    """The collectors of a Windows system; ``node`` gives the 48-bit address ``uuid`` found."""
    source = registry or LocalRegistry()
    kind = TraitKind
    return (
        Collector(kind.SMBIOS_UUID, "SMBIOS system UUID", False, lambda: read_smbios(source)),
        Collector(kind.BOARD_SERIAL, "serial number of the board", False, lambda: _board(source)),
        Collector(kind.MAC, "address of a network card", False, lambda: read_node(node)),
        Collector(kind.MACHINE_ID, "MachineGuid", False, lambda: read_machine_guid(source)),
        Collector(kind.CPU_CLASS, "class of the processor", False, lambda: read_cpu(source)),
    )


def read_machine_guid(registry: Registry) -> Iterator[Finding]:
    """``MachineGuid``, made when Windows was installed."""
    yield _from_text(registry, TraitKind.MACHINE_ID, _MACHINE, "MachineGuid", normalise.machine_id)


def read_smbios(registry: Registry) -> Iterator[Finding]:
    """The system UUID of the firmware tables."""
    tables = _tables(registry)
    if isinstance(tables, MissingWhy):
        yield MissingTrait(TraitKind.SMBIOS_UUID, tables)
        return
    text = tables.system_uuid
    value = normalise.smbios_uuid(text) if text is not None else MissingWhy.ABSENT
    yield normalise.found(TraitKind.SMBIOS_UUID, value)


def read_cpu(registry: Registry) -> Iterator[Finding]:
    """The processor's class."""
    values = [registry.value(_PROCESSOR, name) for name in _CPU_FIELDS]
    texts = [value if isinstance(value, str) else "" for value in values]
    yield normalise.found(TraitKind.CPU_CLASS, normalise.cpu_class(texts))


def read_node(node: Node | None) -> Iterator[Finding]:
    """The address that ``uuid.getnode`` finds; one it made up has the multicast bit."""
    import uuid

    address = (node or uuid.getnode)()
    value = normalise.mac(address.to_bytes(6, "big"))
    yield normalise.found(TraitKind.MAC, value, confidence=Confidence.LOW)


def _board(registry: Registry) -> Iterator[Finding]:
    tables = _tables(registry)
    if isinstance(tables, MissingWhy):
        yield MissingTrait(TraitKind.BOARD_SERIAL, tables)
        return
    text = tables.board_serial
    value = normalise.serial(text) if text is not None else MissingWhy.ABSENT
    yield normalise.found(TraitKind.BOARD_SERIAL, value)


def _tables(registry: Registry) -> smbios.Smbios | MissingWhy:
    try:
        raw = registry.value(_TABLES, "SMBiosData")
    except PermissionError:
        return MissingWhy.NEEDS_PRIVILEGE
    if not isinstance(raw, bytes) or len(raw) <= _TABLES_HEAD_BYTES:
        return MissingWhy.ABSENT
    return smbios.parse(raw[_TABLES_HEAD_BYTES:])


def _from_text(
    registry: Registry,
    kind: TraitKind,
    key: str,
    name: str,
    clean: Callable[[str], normalise.Normalised],
) -> Finding:
    try:
        value = registry.value(key, name)
    except PermissionError:
        return MissingTrait(kind, MissingWhy.NEEDS_PRIVILEGE)
    if not isinstance(value, str):
        return MissingTrait(kind, MissingWhy.ABSENT)
    return normalise.found(kind, clean(value))
