"""Names of entries and the short texts of the header: checked when sealing and when opening."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)
_MAX_NAME_BYTES = 1024
_MAX_PART_BYTES = 255
_MAX_PARTS = 32


def name_problem(name: object) -> str | None:
    """Why ``name`` is no normalised relative path; None when it is one."""
    if not isinstance(name, str) or not name:
        return "an entry has a name"
    problem = _text_problem(name)
    if problem is not None:
        return problem
    if len(name.encode("utf-8")) > _MAX_NAME_BYTES:
        return f"a name has at most {_MAX_NAME_BYTES} bytes"
    if "\\" in name or ":" in name:
        return "a name holds no backslash and no colon"
    parts = name.split("/")
    if len(parts) > _MAX_PARTS:
        return f"a name has at most {_MAX_PARTS} parts"
    return next((p for p in map(_part_problem, parts) if p is not None), None)


def names_problem(names: Iterable[str]) -> str | None:
    """Why ``names`` cannot stand in one folder on every system; None when they can."""
    seen: set[str] = set()
    folders: set[str] = set()
    for name in names:
        folded = _folded(name)
        if folded in seen:
            return "two names differ in case at most"
        seen.add(folded)
        cut = folded.rfind("/")
        while cut > 0:
            folders.add(folded[:cut])
            cut = folded.rfind("/", 0, cut)
    return "a name is a file and a folder" if seen & folders else None


def label_problem(text: object) -> str | None:
    """Why ``text`` is no product, model or version label (1 to 128 characters); None if it is."""
    if not isinstance(text, str) or not 1 <= len(text) <= 128:
        return "a label has 1 to 128 characters"
    if text != text.strip() or "/" in text or "\\" in text:
        return "a label has no outer spaces and no slash"
    return _text_problem(text)


def is_kind(text: object) -> bool:
    """True for a section kind: lower-case ASCII, at most 32 characters."""
    return isinstance(text, str) and _KIND.fullmatch(text) is not None


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _part_problem(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "a name is a relative path without empty, . or .. parts"
    if part[-1] in ". ":
        return "no part of a name ends in a dot or a space"
    if not part.isascii() and len(part.encode("utf-8")) > _MAX_PART_BYTES:
        return f"a part of a name has at most {_MAX_PART_BYTES} bytes"
    if len(part) > _MAX_PART_BYTES:
        return f"a part of a name has at most {_MAX_PART_BYTES} bytes"
    if part.split(".")[0].rstrip().casefold() in _DEVICES:
        return "no part of a name is a device name"
    return None


def _text_problem(text: str) -> str | None:
    if text.isascii():
        return None if text.isprintable() else "no control characters"
    if any(unicodedata.category(char) in _FORBIDDEN for char in text):
        return "no control characters"
    if not unicodedata.is_normalized("NFC", text):
        return "text is in normalization form C"
    return None
