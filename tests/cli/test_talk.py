"""How values become text: tables, records, JSON, durations."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.cli import spans, tables, talk
from modelseal.errors import Misuse, NoFreeSeat
from modelseal.types import LeaseState


def _shown(what, *args) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        what(*args)
    return out.getvalue(), err.getvalue()


def test_a_table_stands_in_columns_also_with_ideographs(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    out, err = _shown(tables.table, "Devices", ("label", "n"), [("工作室", 1), ("desk", None)])
    assert out == "Devices\nlabel   n\n------  -\n工作室  1\ndesk    -\n"
    assert err == ""


def test_a_table_too_wide_for_the_terminal_becomes_blocks(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    out, _ = _shown(tables.table, "Things", ("id", "n"), [("x" * 30, 1), ("y" * 30, [])])
    assert out == f"Things\nid  {'x' * 30}\nn   1\n\nid  {'y' * 30}\nn   -\n"


@given(st.text())
def test_nothing_that_a_terminal_obeys_leaves_in_a_cell(text):
    for what, args in ((tables.pairs, ([("name", text)],)), (talk.say, (f"name {text}",))):
        shown = "".join(_shown(what, *args))
        assert not any(ord(c) < 32 or 126 < ord(c) < 160 for c in shown.replace("\n", ""))
        assert not any(c in shown for c in "\u202e\u2066\u200f")
    assert _shown(tables.pairs, [("name", text)])[0].count("\n") == 1


@given(st.dictionaries(st.text(), st.text()))
def test_json_holds_every_text_and_obeys_none(value):
    out, _ = _shown(talk.write_json, value)
    assert json.loads(out) == value
    assert not any(126 < ord(c) < 160 or c == "\u202e" for c in out)


def test_a_refusal_is_lines_even_where_a_name_has_a_line_break():
    error = NoFreeSeat("no", reference="ABCD2345", holders=["a\nmodelseal: all is well"], seats=1)
    _, err = _shown(lambda: talk.refuse(error, as_json=False))
    lines = err.splitlines()
    assert len(lines) == 4
    assert [line.startswith("modelseal: ") for line in lines] == [True, False, False, False]


def test_values_are_told_as_json_knows_them():
    moment = datetime(2026, 7, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert talk.plain([moment, LeaseState.ACTIVE, (1, None)]) == [
        "2026-07-01T12:00:00Z", "ACTIVE", [1, None],
    ]  # fmt: skip
    assert tables.cell(True) == "yes" and tables.cell({}) == "-" and tables.cell(0) == "0"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("90m", 5400), ("12h", 43200), (" 30D ", 2592000), ("2w", 1209600)],
)
def test_durations_as_people_type_them(text, seconds):
    assert spans.seconds(text) == seconds
    assert spans.end(text) == spans.End(in_seconds=seconds)


def test_ends_are_a_date_an_instant_or_never():
    assert spans.end(None) == spans.End()
    assert spans.end("Never") == spans.End(never=True)
    assert spans.end("2027-01-31").at == datetime(2027, 1, 31, tzinfo=UTC)
    assert spans.end("2027-01-31T12:00:00+02:00").at == datetime(2027, 1, 31, 10, tzinfo=UTC)


@given(st.text(max_size=20))
def test_any_other_text_is_misuse(text):
    for read in (spans.seconds, spans.end):
        with contextlib.suppress(Misuse):
            assert read(text) is not None


@pytest.mark.parametrize(
    "text", ["", "0d", "-1d", "1.5d", "101y", "999999999y", "٣d", "d", "1 d x"]
)
def test_a_duration_is_a_whole_number_within_a_hundred_years(text):
    with pytest.raises(Misuse):
        spans.seconds(text)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_stands_for_what_is_under_way_and_goes_with_it(monkeypatch):
    """However many files there were, the display never grows: it climbs no line to redraw."""
    monkeypatch.setattr(sys, "stderr", _Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with talk.progress("", quiet=False) as step:
        for name in map(str, range(40)):
            step(0, 100, name)
            step(100, 100, name)
    assert "\x1b[1A" not in sys.stderr.getvalue()
