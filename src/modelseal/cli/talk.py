"""What goes where: data to stdout, talk to stderr, nothing else anywhere.

With ``--json`` stdout is exactly one object. The last line of a refusal is what to do next.
Prompts go to the terminal. Progress bars stand on stderr, and only when it is a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

from modelseal.errors import ModelsealError

Progress = Callable[[int, int, str], None]


def _stream(name: str) -> Any:
    """The stream, or None in a windowed program that has none."""
    return getattr(sys, name, None)


def say(text: str) -> None:
    """One line of talk on stderr."""
    stream = _stream("stderr")
    if stream is not None:
        stream.write(text + "\n")
        stream.flush()


def write(text: str) -> None:
    """Data on stdout, as given."""
    stream = _stream("stdout")
    if stream is not None:
        stream.write(text)
        stream.flush()


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
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value


def answer(value: object, human: Callable[[], None] | None = None, *, as_json: bool) -> None:
    """The command's result: one JSON object, or what ``human`` prints."""
    if as_json:
        write(json.dumps(plain(value), ensure_ascii=False, indent=2) + "\n")
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
        write(json.dumps(body, ensure_ascii=False, indent=2) + "\n")
    else:
        say(f"modelseal: {error.message}")
        say(f"  {error.reason}")
        if error.reference:
            say(f"  Reference: {error.reference}")
        say(f"  {error.next_step}")
    return error.exit_code


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout that folds in a narrow terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title, title_justify="left", pad_edge=False, box=box.SIMPLE_HEAD)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell(value)) for value in row))
    Console(file=_stream("stdout"), highlight=False).print(shown)


def pairs(items: Sequence[tuple[str, object]]) -> None:
    """Names and values, one pair a line, on stdout."""
    width = max((len(name) for name, _ in items), default=0)
    for name, value in items:
        write(f"{name:<{width}}  {cell(value)}\n")


def cell(value: object) -> str:
    """One value as people read it."""
    value = plain(value)
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(cell(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    return str(value)


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Progress]:
    """A bar on stderr while the block runs; nothing when it is no terminal or JSON is asked."""
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
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(file=stream), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def step(done: int, total: int, name: str) -> None:
            label = f"{title} {name}".strip()
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total or None)
            bars.update(tasks[label], completed=done, total=total or None)

        yield step


def ask_secret(prompt: str) -> str:
    """What a person types at ``prompt``, not echoed; from standard input when it is no terminal."""
    import getpass

    stdin = _stream("stdin")
    if stdin is not None and not stdin.isatty():
        return str(stdin.readline()).rstrip("\r\n")
    return getpass.getpass(prompt + ": ")
