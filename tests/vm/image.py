"""The guest's kernel and initial RAM disk: Debian's cloud kernel, this Python, these packages.

Nothing is downloaded but the kernel. The disk holds bytecode only, in one order and without times,
so that the same sources give the same bytes and the same measurement.
"""

from __future__ import annotations

import gzip
import importlib.util
import marshal
import sys
from collections.abc import Iterator
from pathlib import Path

import modelseal
from modelseal.inference import packing

PYTHON = "usr/bin/python3"
LIBRARY = f"usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"{LIBRARY}/site-packages"
_DEVICES = {"dev/console": (5, 1), "dev/null": (1, 3), "dev/urandom": (1, 9)}
_ROOMS = {"stdlib": LIBRARY, "packages": SITE}
Content = Path | bytes


def build(init: dict[str, bytes], target: Path) -> None:
    """``target`` is an initramfs that starts ``/init``; ``init`` are more files of the root."""
    found = list(packing.files())
    files: dict[str, Content] = dict(_kept(each) for each in found)
    version = f"Metadata-Version: 2.1\nName: modelseal\nVersion: {modelseal.__version__}\n"
    files[f"{SITE}/modelseal-{modelseal.__version__}.dist-info/METADATA"] = version.encode()
    files[PYTHON] = packing.python()
    linked = [each.path for each in found if packing.is_linked(each.path)]
    for path in packing.libraries([*linked, packing.python()]):
        files[str(path).lstrip("/")] = path.resolve()
    with gzip.GzipFile(target, "wb", compresslevel=1, mtime=0) as out:
        for entry in _cpio(files | init):
            out.write(entry)


def _kept(each: packing.Packed) -> tuple[str, Content]:
    name = f"{_ROOMS[each.room]}/{each.name}"
    if each.path.suffix != ".py":
        return name, each.path
    return f"{name}c", _bytecode(each.path, name)


def _bytecode(path: Path, name: str) -> bytes:
    """Unchecked bytecode; what Python has compiled before is taken as it is."""
    cached = Path(importlib.util.cache_from_source(str(path)))
    try:
        compiled = cached.read_bytes()
        if cached.stat().st_mtime >= path.stat().st_mtime:
            return compiled[:4] + b"\x01\0\0\0" + bytes(8) + compiled[16:]
    except OSError:
        pass
    code = compile(path.read_bytes(), name, "exec", dont_inherit=True, optimize=0)
    return importlib.util.MAGIC_NUMBER + b"\x01\0\0\0" + bytes(8) + marshal.dumps(code)


def _cpio(files: dict[str, Content]) -> Iterator[bytes]:
    """The archive (newc), folders first, without times and owners."""
    folders = {"dev", "proc", "sys", "tmp", "run", "root"}
    for name in files:
        folders.update(str(p) for p in Path(name).parents if str(p) != ".")
    number = 0
    for name in sorted(folders):
        number += 1
        yield _entry(number, name, 0o040755, b"")
    for name, device in _DEVICES.items():  # Python wants randomness before anything is mounted
        number += 1
        yield _entry(number, name, 0o020600, b"", device)
    for name in sorted(files):
        number += 1
        content = files[name]
        data = content.read_bytes() if isinstance(content, Path) else content
        yield _entry(number, name, 0o100755, data)
    yield _entry(0, "TRAILER!!!", 0, b"")


def _entry(
    number: int, name: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)
) -> bytes:
    raw = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
