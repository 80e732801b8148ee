"""Where a program is of a kind that no hook in the environment reaches: said before it starts."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from modelseal.runtime.summary import say

PYTHON = re.compile(r"(python|pypy)[0-9.]*[tdm]?(w|_d)?(\.exe)?")
_ISOLATING, _TAKES_VALUE, _PROGRAM = "IES", "WX", "cm"
_PYINSTALLER = b"MEI\014\013\012\013\016"
"""The cookie of a PyInstaller archive, at its end; a signature may follow."""
_COOKIE_WITHIN_BYTES = 4096 + (64 << 10)
_NUITKA = (b"nuitka_module_loader", b"NUITKA_ONEFILE_PARENT")
_NUITKA_WITHIN_BYTES = 64 << 20
_HEAD_BYTES = 512
_BINARIES = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"MZ")


def warn(argv: Sequence[str]) -> None:
    """Says so when the program, or the Python a script names, ignores the environment."""
    reason = why_not(argv)
    if reason:
        say(
            f"{reason}: sealed models stay closed unless the program begins with "
            "`import modelseal; modelseal.install()`."
        )


def why_not(argv: Sequence[str]) -> str | None:
    """Why no hook reaches the program ``argv``; None where one does or nothing is known."""
    if not argv:
        return None
    program = shutil.which(argv[0])
    if PYTHON.fullmatch(Path(argv[0]).name):
        return _of_python(argv, program)
    with contextlib.suppress(OSError, ValueError):
        return None if program is None else _of_file(program)
    return None


def _of_python(argv: Sequence[str], program: str | None) -> str | None:
    letter = _isolating(argv[1:])
    if letter:
        return f"`{Path(argv[0]).name} -{letter}` ignores the hook"
    for place in {program, os.path.realpath(program)} if program else ():
        name = _path_file(place)
        if name:
            return f"{name} beside that Python keeps the hook out"
    return None


def _path_file(program: str) -> str | None:
    """A ``._pth`` file beside the interpreter: Python then reads neither environment nor site."""
    place = Path(program)
    stems = {place.stem, place.name, f"python{''.join(re.findall('[0-9]+', place.name))}"}
    with contextlib.suppress(OSError):
        for each in place.parent.glob("*._pth"):
            if each.name.removesuffix("._pth") in stems or os.name == "nt":
                return each.name
    return None


def _of_file(program: str) -> str | None:
    with Path(program).open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n")[0].decode("utf-8", "replace").split()
            return _of_script(words)
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _COOKIE_WITHIN_BYTES))
        if _PYINSTALLER in file.read():
            return f"{Path(program).name} is frozen by PyInstaller and ignores the hook"
        if size and head.startswith(_BINARIES):
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if any(data.find(mark, 0, _NUITKA_WITHIN_BYTES) >= 0 for mark in _NUITKA):
                    return f"{Path(program).name} is compiled by Nuitka and ignores the hook"
    return None


def _of_script(words: Sequence[str]) -> str | None:
    """``#!/usr/bin/python3 -I``, ``#!/usr/bin/env -S python3 -I``."""
    if words and Path(words[0]).name == "env":
        words = list(itertools.dropwhile(lambda word: word.startswith("-"), words[1:]))
    if words and PYTHON.fullmatch(Path(words[0]).name):
        return _of_python(words, shutil.which(words[0]))
    return None


def _isolating(arguments: Sequence[str]) -> str | None:
    """The first option of the interpreter by which it ignores the environment or its site."""
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-") or argument in ("-", "--"):
            return None
        letters = "" if argument.startswith("--") else argument[1:]
        for place, letter in enumerate(letters):
            if letter in _ISOLATING:
                return letter
            if letter in _PROGRAM:
                return None
            if letter in _TAKES_VALUE:
                if place == len(letters) - 1:
                    next(rest, None)
                break
    return None
