"""The report: one page that fetches nothing, whatever the story said."""

from __future__ import annotations

import html.parser
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from demo import page, pictures, report

NASTY = "<script>alert('1')</script> & \"quoted\" https://example.com/x.png"
TIMES = {"plain_seconds": 0.5, "protected_seconds": 0.6, "ratio": 1.2}
PIXEL = "data:image/jpeg;base64,AAAA"


def _data(text: str) -> dict[str, Any]:
    step = {
        "title": text, "command": text, "said": [text], "refused": True, "seconds": 1.25,
        "table": [["name", text], [text, "1"]],
        "pictures": [["detail-restored.png", text], ["swap.png", ""]],
    }  # fmt: skip
    return {
        "created_at": text,
        "seconds": 63.2,
        "machine": {"python": text, "system": text, "cores": 2},
        "facts": [[text, text]],
        "numbers": {
            "once_per_process": {"unlock_seconds": 0.1},
            "frame_pixels": [512, 600],
            "load": {text: TIMES},
            "inference": {text: TIMES},
        },
        "chapters": [{"title": text, "about": text, "steps": [step]}],
    }


class _Reader(html.parser.HTMLParser):
    """The elements and addresses of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def _render(text: str) -> str:
    return page.render(_data(text), [(name, text, PIXEL) for name, _ in report.PICTURES])


def test_what_was_said_is_text_and_never_markup() -> None:
    """Titles, commands, lines, cells, captions and the machine's name are escaped alike."""
    plain, nasty = _Reader(_render("word")), _Reader(_render(NASTY))
    assert nasty.tags == plain.tags
    assert "script" not in nasty.tags
    assert nasty.text.count(NASTY) == plain.text.count("word")
    assert nasty.text.count(NASTY) > 15


def test_the_page_fetches_nothing() -> None:
    """Pictures are inside, and the page itself forbids the browser to ask for anything."""
    shown = _render("word")
    assert set(_Reader(shown).addresses) == {PIXEL}
    assert "default-src 'none'; img-src data:" in shown
    assert "url(" not in shown
    assert "@import" not in shown


def test_every_step_is_shown_with_its_time_and_its_pictures() -> None:
    shown = _Reader(_render("word"))
    assert "1.2 s" in shown.text
    assert shown.tags.count("img") == 4 + 1  # above; beside the step that has a captioned one


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "demo-out"
    report.clear(folder)
    return folder


def test_an_older_report_is_removed_and_other_files_stay(output: Path) -> None:
    for name in ("report.html", "report.json", "swap.png", "mine.txt"):
        (output / name).write_text("old")
    report.clear(output)
    assert [path.name for path in output.iterdir()] == ["mine.txt"]


def _picture(height: int, width: int) -> pictures.Picture:
    values = np.arange(height * width * 3) % 251
    return values.reshape(height, width, 3).astype(np.uint8)


def test_pictures_are_equal_when_their_pixels_and_sizes_are(output: Path) -> None:
    """Not their files: compression and metadata do not count, one grey level does."""
    picture = _picture(8, 6)
    other = picture.copy()
    other[3, 3, 1] ^= 1
    for name, each in {"a": picture, "b": other, "c": picture.reshape(6, 8, 3)}.items():
        pictures.save_png(each, output / f"{name}.png")
    cv2.imwrite(str(output / "d.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    a, b, c, d = (pictures.pixels_digest(output / f"{name}.png") for name in "abcd")
    assert a == d
    assert len({a, b, c}) == 3


def test_a_picture_inside_the_page_is_at_most_900_pixels_long(output: Path) -> None:
    import base64

    pictures.save_png(_picture(1800, 600), output / "long.png")
    kind, _, data = pictures.inside_page(output / "long.png").partition(",")
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert kind == "data:image/jpeg;base64"
    assert shown is not None
    assert shown.shape == (900, 300, 3)


def test_both_details_show_the_same_piece_at_the_same_size() -> None:
    swap = _picture(20, 20)
    restored = cv2.resize(swap, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    plain, large = pictures.detail(swap, np.asarray(restored), slice(5, 15), slice(2, 10))
    assert plain.shape == large.shape == (40, 32, 3)
    assert (large[::4, ::4] == swap[5:15, 2:10]).all()


def test_no_picture_is_an_error_that_names_it(output: Path) -> None:
    (output / "swap.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"swap\.png"):
        pictures.read(output / "swap.png")


def test_a_page_is_written_whole_or_not_at_all(output: Path) -> None:
    report._whole(output / "report.json", json.dumps({"a": 1}))
    with pytest.raises(UnicodeEncodeError):
        report._whole(output / "report.json", "\ud800")
    assert json.loads((output / "report.json").read_text()) == {"a": 1}
    assert [path.name for path in output.iterdir()] == ["report.json"]
