"""What a device may open of its pulled files: all of them, together, to plain bytes."""

from __future__ import annotations

from pathlib import Path

from . import datakeys, sealed
from .catalog import Target
from .device import Device
from .opening import Index, Opener, Secrets, assemble


def open_all(device: Device, pulled: dict[Target, Path]) -> dict[str, bytes]:
    """Every file of every pulled sealed model whose sections are granted now."""
    granted = device.granted()
    keys, variants = device.data_keys()
    publishers = device.keys.publishers()
    openers: dict[Target, tuple[Opener, Index]] = {}
    secrets: Secrets = {}
    for target, path in pulled.items():
        data = path.read_bytes()

        def read_at(offset: int, size: int, data: bytes = data) -> bytes:
            return data[offset : offset + size]

        model = sealed.whole_file(read_at, len(data))
        model.verify(publishers, device.keys.product, target.min_release)
        file = model.prologue.file_id
        mine = {section: key for (owner, section), key in keys.items() if owner == file}
        opener = Opener(model, read_at, mine)
        index = opener.index()
        openers[target] = (opener, index)
        if index.secret:
            secrets[model.model] = index.secret
    found = {}
    for opener, index in openers.values():
        plain = {}
        for section in opener.sealed.sections[1:]:
            if datakeys.satisfied(section.entitlement, granted):
                pairs = variants.get((opener.sealed.prologue.file_id, section.id))
                plain[section.id] = opener.plain(section.id, secrets, pairs)
                opener.padding(index, section.id, plain[section.id])
        for name, extents in index.entries.items():
            if {extent.section for extent in extents} <= set(plain):
                found[name] = assemble(extents, plain)
    return found
