"""What happened, as data, and its telling in the terminal while it happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text


class StoryFailed(Exception):
    """A step did not go as the story says; the demo ends with exit code 1."""


@dataclass
class Step:
    """One thing that was done: what was typed, what came of it, how long it took.

    ``said`` are the lines worth reading; ``refused`` tells that a refusal is what was wanted;
    ``table`` has its header in the first row; ``pictures`` are names and captions of pictures
    in the output folder.
    """

    title: str
    command: str = ""
    said: list[str] = field(default_factory=list)
    refused: bool = False
    seconds: float = 0.0
    table: list[list[str]] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Chapter:
    """A part of the story with a sentence of what it is about."""

    title: str
    about: str
    steps: list[Step] = field(default_factory=list)


class Telling:
    """Collects the chapters and prints each step when it is done."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.chapters: list[Chapter] = []
        self.begin()

    def begin(self) -> None:
        """The story's clock starts."""
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the story began."""
        return time.perf_counter() - self._started

    def chapter(self, title: str, about: str) -> None:
        """A new part begins."""
        self.chapters.append(Chapter(title, about))
        number = len(self.chapters)
        self.console.print()
        self.console.print(
            Rule(Text(f"{number}  {title}", style="bold"), align="left", style="dim")
        )
        self.console.print(Padding(Text(about, style="italic"), (0, 0, 0, 3)))

    @contextmanager
    def doing(self, title: str, command: str = "") -> Iterator[Step]:
        """A step is under way; it is printed with its time when the block has ended well."""
        step = Step(title, command)
        began = time.perf_counter()
        if self.console.is_terminal:
            with self.console.status(Text(title)):
                yield step
        else:
            yield step
        step.seconds = time.perf_counter() - began
        self.chapters[-1].steps.append(step)
        self._print(step)

    def must(self, holds: bool, what: str) -> None:
        """The story goes on only when ``holds``."""
        if not holds:
            raise StoryFailed(what)

    def _print(self, step: Step) -> None:
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(width=2)
        line.add_column(ratio=1, overflow="fold")
        line.add_column(justify="right", no_wrap=True, style="dim")
        mark = Text("■", style="yellow") if step.refused else Text("✓", style="green")
        line.add_row(mark, Text(step.title), f"{step.seconds:.1f} s")
        self.console.print(line)
        if step.command:
            self._below(Text(f"$ {step.command}", style="cyan"))
        for said in step.said:
            self._below(Text(said, style="yellow" if step.refused else "dim"))
        if step.table:
            self._below(_table(step.table))
        for name, _caption in step.pictures:
            self._below(Text(f"→ {name}", style="magenta"))

    def _below(self, shown: Text | Table) -> None:
        self.console.print(Padding(shown, (0, 0, 0, 3)))


def _table(rows: Sequence[Sequence[str]]) -> Table:
    head, *body = rows
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, name in enumerate(head):
        numbers = is_numbers(row[index] for row in body)
        table.add_column(name, overflow="fold", justify="right" if numbers else "left")
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    return table


def is_numbers(cells: Iterable[str]) -> bool:
    """Whether every cell of a column begins with a digit: such columns stand at the right."""
    return all(cell[:1].isdigit() for cell in cells)


def relative(text: str, folder: Path) -> str:
    """``text`` without the long name of the demo's own folder."""
    return text.replace(f"{folder}/", "").replace(str(folder), ".")
