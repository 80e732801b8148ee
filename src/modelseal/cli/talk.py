"""What goes where: data to stdout, talk to stderr, nothing else anywhere.

With ``--json`` stdout is exactly one object. The last line of a refusal is what to do next.
Prompts go to the terminal. Progress bars stand on stderr, and only when it is a terminal.
Names that others chose (labels, customers, files) are shown without their control characters.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from modelseal import texts
from modelseal.errors import DiskFull, Misuse, ModelsealError, StorageFailed

Progress = Callable[[int, int, str], None]
_MAX_TYPED = 4096
# A terminal obeys these: an escape sequence in a device's label would rewrite the screen, and the
# directional marks show a name in another order than it is.
_OBEYED = [*range(32), *range(127, 160), *range(0x200E, 0x2010), *range(0x202A, 0x202F)]
_OBEYED += range(0x2066, 0x206A)
_INERT = {code: f"\\x{code:02x}" for code in _OBEYED if code != 10}
_IN_JSON = {code: f"\\u{code:04x}" for code in _OBEYED if code > 31}


def _stream(name: str) -> Any:
    """The stream, or None in a windowed program that has none."""
    return getattr(sys, name, None)


def lenient() -> None:
    """From now on a character that a stream cannot write becomes an escape, not a failure."""
    for name in ("stdout", "stderr"):
        reconfigure = getattr(_stream(name), "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def silence(name: str) -> None:
    """What the stream could not take goes nowhere; else the end of Python would fail on it."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), _stream(name).fileno())


def say(text: str) -> None:
    """One line of talk on stderr; nobody misses it where stderr is closed or full."""
    stream = _stream("stderr")
    if stream is not None:
        try:
            stream.write(text.translate(_INERT) + "\n")
            stream.flush()
        except (OSError, ValueError):
            silence("stderr")


def said(name: str, /, **values: object) -> None:
    """On stderr: what the catalogue says under ``name``, in the language of the door."""
    shown = {key: _one_line(v) if isinstance(v, str) else v for key, v in values.items()}
    say(texts.said(name, **shown))


def write(text: str) -> None:
    """Data on stdout. Raises ``DiskFull`` or ``StorageFailed`` when it cannot be written."""
    _out(text.translate(_INERT))


def _out(text: str) -> None:
    stream = _stream("stdout")
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        full = error.strerror is not None and error.errno == 28
        kind = DiskFull if full else StorageFailed
        raise kind(error.strerror or "", path="standard output") from None


def write_json(value: object) -> None:
    """One JSON object on stdout."""
    stream = _stream("stdout")
    encoding = str(getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
    text = json.dumps(plain(value), ensure_ascii=encoding != "utf8", indent=2)
    _out(text.translate(_IN_JSON) + "\n")


def plain(value: object) -> Any:
    """``value`` as JSON knows it: times RFC 3339, paths and enums as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if is_dataclass(value):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value


def answer(value: object, human: Callable[[], None] | None = None, *, as_json: bool) -> None:
    """The command's result: one JSON object, or what ``human`` prints."""
    if as_json:
        write_json(value)
    elif human is not None:
        human()


def refuse(error: ModelsealError, *, as_json: bool) -> int:
    """Tell a person (or a program) what happened, why and what to do; the exit code."""
    if as_json:
        body = {
            "code": error.code,
            "message": error.message,
            "next_step": error.next_step,
            "reference": error.reference,
        }
        write_json(body)
    else:
        say(f"modelseal: {_one_line(error.message)}")
        say(f"  {_one_line(error.reason)}")
        if error.reference:
            say(f"  {texts.reference_line(error.reference)}")
        say(f"  {_one_line(error.next_step)}")
    return error.exit_code


def _one_line(text: str) -> str:
    return " ".join(text.split("\n"))


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Progress]:
    """A bar on stderr for what is under way; nothing when it is no terminal or JSON is asked."""
    stream = _stream("stderr")
    if quiet or stream is None or not stream.isatty():
        yield lambda _done, _total, _name: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(file=stream), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def step(done: int, total: int, name: str) -> None:
            label = f"{title} {name}".strip().translate(_INERT)
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total or None)
            goes_on = not total or done < total
            bars.update(tasks[label], completed=done, total=total or None, visible=goes_on)

        yield step


def ask_secret(prompt: str) -> str:
    """What a person types at ``prompt``, not echoed; from standard input when it is no terminal."""
    import getpass

    stdin = _stream("stdin")
    if stdin is None:
        raise Misuse(f"nobody can be asked for the {prompt.lower()} here: there is no input")
    if not stdin.isatty():
        return str(stdin.readline(_MAX_TYPED)).rstrip("\r\n")
    try:
        return getpass.getpass(prompt + ": ")
    except EOFError:
        raise Misuse(f"no {prompt.lower()} was typed") from None
