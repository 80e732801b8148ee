"""Lists and records for people, on stdout.

A cell is never folded or cut, because ids are there to be copied: a table that is too wide for the
terminal becomes one block of lines per row.
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence

from modelseal.cli import talk

_GAP = "  "


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """``rows`` under ``columns``; in a narrow terminal a block per row. No rows: said on stderr."""
    if not rows:
        talk.said("none", title=title)
        return
    texts = [[cell(value) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(columns, *texts, strict=True)]
    if sum(widths) + len(_GAP) * (len(widths) - 1) > _room():
        for text in texts:
            talk.write(f"{title}\n" if text is texts[0] else "\n")
            pairs(list(zip(columns, text, strict=True)))
        return
    lines = [title, _line(columns, widths), _line(["-" * width for width in widths], widths)]
    talk.write("\n".join([*lines, *(_line(text, widths) for text in texts)]) + "\n")


def pairs(items: Sequence[tuple[str, object]]) -> None:
    """Names and values, one pair a line."""
    width = max((_width(name) for name, _ in items), default=0)
    talk.write("".join(f"{_padded(name, width)}{_GAP}{cell(value)}\n" for name, value in items))


def cell(value: object) -> str:
    """One value as people read it."""
    value = talk.plain(value)
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(cell(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    return str(value).replace("\n", " ")


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    padded = (_padded(text, width) for text, width in zip(texts, widths, strict=True))
    return _GAP.join(padded).rstrip()


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Columns on the screen: an ideograph takes two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _room() -> int:
    """The terminal's columns; unlimited for a file or a pipe, unless ``COLUMNS`` says."""
    stdout = getattr(sys, "stdout", None)
    if os.environ.get("COLUMNS") or (stdout is not None and stdout.isatty()):
        return shutil.get_terminal_size().columns
    return 1 << 20
