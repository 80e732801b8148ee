"""Numbered QR codes: split, shown, scanned by a real decoder, put together again."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from modelseal import errors
from modelseal.license import parts

DATA = random.Random(1).randbytes(4000)


def _text(lines: list[str]) -> bytes:
    return "\n".join(lines).encode()


@given(st.binary(min_size=1, max_size=5000), st.integers(8, 900), st.randoms())
def test_any_order_and_repetition_gives_the_same_bytes(data, symbols, drawn):
    """The round-trip law, whatever the scanner did."""
    lines = parts.split(data, symbols=max(symbols, len(data) // 50 + 8))
    shuffled = lines + drawn.choices(lines, k=3)
    drawn.shuffle(shuffled)
    assert parts.join(_text(shuffled), max_bytes=5000) == data


def test_lines_as_people_and_scanners_write_them():
    """Lower case, blank lines, Windows ends, spaces inside and around do no harm."""
    lines = parts.split(DATA)
    typed = "\r\n\r\n".join(f"  {line[:20].lower()} {line[20:]}\t" for line in lines)
    assert parts.are_parts(typed.encode())
    assert parts.join(typed.encode(), max_bytes=5000) == DATA


def test_each_code_says_which_of_how_many_it_is():
    """Set, number and count stand in the code and beside it."""
    lines = parts.split(DATA)
    assert len(lines) == 16
    assert [parts.label(line).split(" ", 1)[1] for line in lines] == [
        f"{n} of 16" for n in range(1, 17)
    ]
    assert len({line.split(":")[1] for line in lines}) == 1


def test_what_is_missing_is_named():
    """The numbers that are not there, and of how many."""
    lines = parts.split(DATA)
    with pytest.raises(errors.PartsMissing) as caught:
        parts.join(_text([lines[0], lines[3], *lines[5:]]), max_bytes=5000)
    assert caught.value.params == {"missing": "2, 3, 5", "count": 16}
    with pytest.raises(errors.PartsMissing):
        parts.join(b"\n\n", max_bytes=5000)


def test_a_code_of_another_set_is_refused():
    """Two stacks of codes on one table: the line that does not belong is named."""
    lines, others = parts.split(DATA), parts.split(DATA[:-1] + b"x")
    with pytest.raises(errors.PartForeign) as caught:
        parts.join(_text([*lines[:2], others[2], *lines[2:]]), max_bytes=5000)
    assert caught.value.params["line"] == 3


def test_every_wrong_symbol_is_found_in_its_line():
    """One symbol of one line read wrongly: the checksum of that line does not hold."""
    lines = parts.split(DATA)
    drawn = random.Random(3)
    for _ in range(300):
        place = drawn.randrange(len(lines))
        at = drawn.randrange(len(lines[place]))
        wrong = drawn.choice([c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567:/019"
                              if c != lines[place][at]])  # fmt: skip
        bad = [*lines]
        bad[place] = lines[place][:at] + wrong + lines[place][at + 1 :]
        with pytest.raises(errors.PartDamaged) as caught:
            parts.join(_text(bad), max_bytes=5000)
        assert caught.value.params["line"] == place + 1


@pytest.mark.parametrize(
    "data",
    [b"MSQ1:", b"MSQ1:AAAAAAAA:1/1:AAAAAAA:AAAA", b"MSQ2:AAAAAAAA:1/1:AAAAAAA:AAAA",
     b"MSQ1:\xff\xfe", b"MSQ1:AAAAAAAA:0/0:AAAAAAA:AAAA", random.Random(4).randbytes(64)],
    ids=repr,
)  # fmt: skip
def test_what_is_no_code_is_refused_by_its_line(data):
    """Never a traceback of a decoder."""
    with pytest.raises((errors.PartDamaged, errors.PartsMissing)):
        parts.join(data, max_bytes=5000)


def test_a_bomb_of_zeros_is_not_inflated():
    """Ten megabytes of zeros fit into a few codes and are refused at the cap."""
    lines = parts.split(bytes(10_000_000))
    assert len(lines) < 60
    with pytest.raises(errors.PartDamaged):
        parts.join(_text(lines), max_bytes=256 * 1024)


def test_too_much_for_codes_is_told():
    """A file of a megabyte is carried as a file."""
    with pytest.raises(errors.Misuse):
        parts.split(random.Random(2).randbytes(1_000_000))


def test_a_real_decoder_reads_every_code_of_a_response_with_leases():
    """As drawn by the command and seen by OpenCV's newer detector, at the size of the images."""
    detector = cv2.QRCodeDetectorAruco()
    lines = parts.split(DATA)
    seen = []
    for line in lines:
        code = segno.make(line, error="m", micro=False, boost_error=False)
        assert code.version <= 13 and code.mode == "alphanumeric"
        matrix = np.array([list(row) for row in code.matrix_iter(scale=6, border=4)], np.uint8)
        text, *_ = detector.detectAndDecode(np.where(matrix, 0, 255).astype(np.uint8))
        seen.append(text)
    assert seen == lines
    assert parts.join(_text(seen[::-1]), max_bytes=5000) == DATA
