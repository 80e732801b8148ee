"""The files that a service needs of this installation: this Python, modelseal, its dependencies.

For images and enclaves, where every file is measured and so none is left that is not needed. What
the packages say of themselves decides, not what happens to lie in the folder.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import modelseal
from modelseal.errors import ExtraMissing

EXTRAS = ("serve", "attest")
_LEFT_OUT = re.compile(
    r"(^|/)(test|tests|_?testing|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|distutils"
    r"|site-packages|config-[^/]*|__pycache__|samples|transformers|quantization|tools|datasets"
    r"|f2py|_pyinstaller|test_data)/"
)
_LEFT_OUT_FILES = re.compile(
    r"(^|/)(_test\w*|_ctypes_test|_tkinter|xxlimited\w*|_xx\w*|libonnxruntime)\."
    r"|\.(pyc|a|h|pyi|pxd)$"
)


@dataclass(frozen=True, slots=True)
class Packed:
    """One file: its name below the folder of its ``room``, and where it lies here.

    ``room`` is ``stdlib``, ``packages`` or ``system``; of ``system`` the name is the path.
    """

    room: str
    name: str
    path: Path


def files() -> Iterator[Packed]:
    """Every file; ``ExtraMissing`` where a package is not installed that the service needs."""
    yield from _tree("stdlib", Path(sysconfig.get_path("stdlib")), "")
    yield from _tree("packages", Path(modelseal.__file__).parent, "modelseal/")
    for name in sorted(closure(modelseal.__name__, EXTRAS)):
        found = importlib.metadata.distribution(name)
        for path in found.files or ():
            local = Path(str(found.locate_file(path)))
            if path.parts[0] != ".." and _is_kept(path.as_posix(), local):
                yield Packed("packages", path.as_posix(), local)


def python() -> Path:
    """The interpreter itself, whatever links lead to it."""
    return Path(sys.executable).resolve()


def libraries(programs: Sequence[Path]) -> list[Path]:
    """The system's shared libraries that ``programs`` are linked with, at the paths sought."""
    found: set[str] = set()
    for program in programs:
        ran = subprocess.run(
            ["ldd", str(program)], capture_output=True, text=True, check=False
        )  # of files that are part of this installation
        found.update(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", ran.stdout, re.MULTILINE))
    return [Path(path) for path in sorted(found) if "site-packages" not in path]


def is_linked(path: Path) -> bool:
    """Whether ``path`` is a shared library or a program with some."""
    return (
        path.suffix == ".so"
        or ".so." in path.name
        or (os.access(path, os.X_OK) and not (path.suffix))
    )


def closure(name: str, extras: Sequence[str]) -> set[str]:
    """The names of everything that ``name`` with ``extras`` needs here, itself left out."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    pending = [(name, tuple(extras))]
    while pending:
        package, wanted = pending.pop()
        for line in _requires(package):
            need = Requirement(line)
            asks = need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in (*wanted, "")
            )
            if asks and need.name not in found:
                found.add(need.name)
                pending.append((need.name, tuple(need.extras)))
    return found


def _requires(name: str) -> list[str]:
    try:
        return importlib.metadata.distribution(name).requires or []
    except importlib.metadata.PackageNotFoundError:
        raise ExtraMissing(f"{name} is not installed", extra=EXTRAS[0]) from None


def _tree(room: str, place: Path, under: str) -> Iterator[Packed]:
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if _is_kept(name, path):
            yield Packed(room, under + name, path)


def _is_kept(name: str, path: Path) -> bool:
    left_out = _LEFT_OUT.search(name) or _LEFT_OUT_FILES.search(name)
    return not left_out and path.is_file()
