"""What is carried by hand: files, numbered QR codes, lines that a scanner typed.

``segno`` (extra ``qr``) draws the codes and is imported when the first one is drawn.
"""

from __future__ import annotations

import html
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from modelseal.cli import files, talk
from modelseal.errors import ExtraMissing, InputMissing, Misuse, OutputExists
from modelseal.license import parts

_ERROR_LEVEL = "m"
_SCALE = 6
_BORDER = 4


def read(source: Path, *, max_bytes: int) -> bytes:
    """The bytes of a carried file, put together where it is a list of scanned codes.

    ``-`` reads standard input. Raises ``PartsMissing``, ``PartForeign``, ``PartDamaged``.
    """
    limit = max(max_bytes, parts.MAX_TEXT_BYTES) + 1
    data = _stdin(limit) if str(source) == "-" else files.read(source, limit)
    return parts.join(data, max_bytes=max_bytes) if parts.are_parts(data) else data


class Outputs:
    """Where a command puts its file: ``-o``, QR codes as images, QR codes on the terminal."""

    def __init__(self, file: Path | None, images: Path | None, *, shown: bool, svg: bool) -> None:
        self.file = file
        self.images = images
        self._shown = shown
        self._svg = svg

    def check(self) -> None:
        """Returns when there is a place to write to and nothing in the way.

        Asked before anything is done that cannot be undone.
        """
        if self.file is None and self.images is None and not self._shown:
            raise Misuse("name an output: -o FILE, --qr or --qr-out DIR")
        for path in (self.file, self.images):
            if path is not None and os.path.lexists(path):
                raise OutputExists("will not overwrite", path=str(path))
            if path is not None and not path.parent.is_dir():
                raise InputMissing("there is no such folder", path=str(path.parent))
        if self.images is not None or self._shown:
            _segno()

    def write(self, data: bytes, name: str, *, quiet: bool) -> list[str]:
        """``data`` is where it was wanted; the lines of its QR codes, where those were wanted."""
        if self.file is not None:
            with files.whole(self.file) as out:
                out.write(data)
        if self.images is None and not self._shown:
            return []
        lines = parts.split(data)
        if self.images is not None:
            _draw(lines, self.images, name, svg=self._svg)
            talk.said("qr_written", count=len(lines), path=self.images)
        if self._shown and not quiet:
            for line in lines:
                talk.write(f"{parts.label(line)}\n{_as_text(line)}\n")
        return lines


def _draw(lines: list[str], folder: Path, name: str, *, svg: bool) -> None:
    """One image a code and a page with all of them; the folder appears whole or not at all."""
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise files.translate(error, folder) from None
    kind, width = "svg" if svg else "png", len(str(len(lines)))
    try:
        for number, line in enumerate(lines, start=1):
            path = temporary / f"{name}-{number:0{width}}-of-{len(lines)}.{kind}"
            _code(line).save(str(path), scale=_SCALE, border=_BORDER)
        (temporary / "index.html").write_text(_page(lines), encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        raise files.translate(error, folder) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _page(lines: list[str]) -> str:
    figures = "\n".join(
        f"<figure>{_code(line).svg_inline(scale=4, border=_BORDER)}"
        f"<figcaption>{html.escape(parts.label(line))}</figcaption></figure>"
        for line in lines
    )
    return f'<!doctype html><meta charset="utf-8"><title>modelseal</title>\n{figures}\n'


def _as_text(line: str) -> str:
    out = io.StringIO()
    _code(line).terminal(out, border=2, compact=True)
    return out.getvalue()


def _code(line: str) -> Any:
    return _segno().make(line, error=_ERROR_LEVEL, micro=False, boost_error=False)


def _segno() -> Any:
    try:
        import segno
    except ImportError:
        raise ExtraMissing("QR codes need segno", extra="qr") from None
    return segno


def _stdin(limit: int) -> bytes:
    if sys.stdin is None:
        raise Misuse("there is no standard input here")
    data = sys.stdin.buffer.read(limit)
    if len(data) >= limit:
        raise InputMissing(f"larger than {limit - 1} bytes", path="-")
    return data
