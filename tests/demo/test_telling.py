"""The story in the terminal, and as data."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from demo.telling import StoryFailed, Telling, relative
from rich.console import Console


def _telling(width: int) -> tuple[Telling, io.StringIO]:
    out = io.StringIO()
    return Telling(Console(file=out, width=width, highlight=False)), out


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_step_is_told_with_its_time_in_any_width(width: int) -> None:
    telling, out = _telling(width)
    telling.chapter("The publisher", "About it, in a sentence that is longer than forty columns.")
    with telling.doing("A step", "modelseal seal a-file-with-a-long-name.onnx --home shop") as step:
        step.said = ["one line [bold]as it is[/]"]
        step.table = [["name", "size"], ["a", "12"], ["bcd", "3"]]
        step.pictures = [("swap.png", "")]
    told = out.getvalue()
    assert max(map(len, told.splitlines())) <= width
    assert "1  The publisher" in told
    assert " s\n" in told
    assert "[bold]as it is[/]" in told
    assert "→ swap.png" in told
    assert telling.chapters[0].steps == [step]
    assert step.seconds > 0


def test_numbers_stand_at_the_right_and_words_at_the_left() -> None:
    telling, out = _telling(60)
    telling.chapter("", "")
    with telling.doing("") as step:
        step.table = [["name", "size"], ["a", "12"], ["bcd", "3"]]
    rows = [line.strip() for line in out.getvalue().splitlines()[-3:]]
    assert rows == ["name  size", "a       12", "bcd      3"]


def test_a_refused_step_has_another_mark() -> None:
    telling, out = _telling(60)
    telling.chapter("", "")
    for refused in (False, True):
        with telling.doing("A step") as step:
            step.refused = refused
    assert [line[0] for line in out.getvalue().splitlines() if "A step" in line] == ["✓", "■"]


def test_a_step_that_fails_is_not_told_as_done() -> None:
    telling, out = _telling(60)
    telling.chapter("", "")
    with pytest.raises(StoryFailed, match="no picture"), telling.doing("A step"):
        telling.must(False, "no picture")
    assert "A step" not in out.getvalue()
    assert telling.chapters[0].steps == []


def test_the_clock_starts_with_the_story() -> None:
    telling, _ = _telling(60)
    before = time.perf_counter()
    telling.begin()
    assert 0 <= telling.seconds <= time.perf_counter() - before


def test_the_demos_own_folder_is_not_told() -> None:
    base = Path("/tmp/modelseal-demo-x")
    assert relative(f"{base}/laptop/clone in {base}", base) == "laptop/clone in ."
