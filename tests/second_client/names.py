"""Names in the index of a sealed model (sealed-model.md, section 3)."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from . import front
from .encoding import Refused, expect, refuse

_BAD = "container_damaged"
_DEVICES = {"con", "prn", "aux", "nul"} | {
    stem + digit for stem in ("com", "lpt") for digit in "0123456789¹²³"
}
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def name(value: Any) -> str:
    """A normalised path."""
    if not isinstance(value, str) or unicodedata.normalize("NFC", value) != value:
        refuse(_BAD, "a name")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        refuse(_BAD, "a name")
    good = size <= 1024 and not any(
        c in "\\:" or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value
    )
    parts = value.split("/")
    expect(good and len(parts) <= 32, _BAD, "a name")
    for part in parts:
        good = part not in ("", ".", "..") and part[-1] not in ". " and len(part.encode()) <= 255
        stem = part.split(".")[0].rstrip(" ").casefold()
        expect(good and stem not in _DEVICES, _BAD, "a part of a name")
    return value


def together(values: list[str]) -> None:
    """No two names are alike, none is another's folder."""
    folded = [unicodedata.normalize("NFC", value.casefold()) for value in values]
    expect(len(set(folded)) == len(folded), _BAD, "two names alike")
    folders = {"/".join(v.split("/")[:n]) for v in folded for n in range(1, v.count("/") + 1)}
    expect(not folders & set(folded), _BAD, "a file that is a folder")


def role(row: dict[str, Any]) -> None:
    """Absent, or a word other than `file`."""
    if "role" in row:
        word = row["role"]
        good = isinstance(word, str) and _ROLE.fullmatch(word) and word != "file"
        expect(good, _BAD, "role")


def labels(value: Any, sections: int) -> None:
    """The publisher's names of sections."""
    expect(isinstance(value, dict) and value, _BAD, "names")
    for number, text in value.items():
        expect(type(number) is int and 0 < number < sections, _BAD, "names of no section")
        try:
            front.label(text)
        except Refused:
            refuse(_BAD, "a section's name")
