"""Names of entries: what is refused, and that both sides refuse the same."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.container import label_problem, name_problem
from modelseal.container._names import names_problem


@pytest.mark.parametrize(
    "name",
    ["a", "model.onnx", "unet/config.json", "a b/c", "模型/权重.bin", ".gitattributes", "a.b.c",
     "..a", "a..b", "console", "com10", "naïve", "x" * 255],
)  # fmt: skip
def test_ordinary_names_pass(name: str) -> None:
    """Names of real models, in any script."""
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/./b", "a\\b", "C:", "C:/a", "a:b",
     "a\0", "a\n", "a\x7f", "a\x85", "a\u2028", "\ud800", "a.", "a ", "a /b", "con", "CON.txt",
     "a/Nul", "lpt1.x", "COM¹", "aux .txt", "e\u0301", "x" * 256, "语" * 86, "/".join("a" * 33),
     "/".join(["x" * 200] * 6), None, b"a", 1],
)  # fmt: skip
def test_dangerous_names_are_refused(name: object) -> None:
    """Whatever leaves the folder, means something else elsewhere, or is not normalised."""
    assert name_problem(name) is not None


@given(st.text(max_size=40))
def test_a_name_that_passes_stays_inside_the_folder_on_every_system(name: str) -> None:
    """Joined to a folder it lies in it, for POSIX and for Windows, and prints."""
    if name_problem(name) is not None:
        return
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        assert not path.is_absolute()
        assert not path.drive
        assert ".." not in path.parts
        assert path.as_posix() == name
    assert unicodedata.normalize("NFC", name) == name
    assert name.encode()


@pytest.mark.parametrize(
    "names",
    [
        ["a", "A"],
        ["straße", "STRASSE"],
        ["a", "a/b"],
        ["x/y", "X/Y/z"],
        ["\uff21", "\uff41"],
        ["a", "a"],
    ],
)
def test_names_that_would_collide_are_refused(names: list[str]) -> None:
    """Equal but for case, or one a folder of the other."""
    assert names_problem(names) is not None
    assert names_problem(reversed(names)) is not None


def test_names_that_only_look_alike_pass() -> None:
    """A common beginning is no folder."""
    assert names_problem(["a", "ab/c", "ab/d", "a-b", "a.b/c"]) is None


@pytest.mark.parametrize(
    "label", ["", " a", "a ", "a/b", "a\\b", "a\tb", "e\u0301", "x" * 129, None]
)
def test_odd_labels_are_refused(label: object) -> None:
    """Products, models and versions are one short clean line."""
    assert label_problem(label) is not None
