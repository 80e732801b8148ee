from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import (
    ClientAmbiguous,
    InputMissing,
    Misuse,
    ModelsealError,
    NotEntitled,
    NotFound,
    NotSealed,
)
from modelseal.runtime import default, report
from modelseal.runtime.loading import inside
from modelseal.runtime.policy import Policy


@pytest.mark.parametrize(
    ("pattern", "path", "demanded"),
    [
        ("models/*.onnx", "models/a.onnx", True),
        ("models/*.onnx", "models/sub/a.onnx", False),
        ("models/*.onnx", "other/models/a.onnx", False),
        ("models/**/*.onnx", "models/sub/deep/a.onnx", True),
        ("models/**/*.onnx", "models/a.onnx", True),
        ("models/**", "models/any/thing", True),
        ("./models/?.bin", "models/a.bin", True),
        ("models/?.bin", "models/ab.bin", False),
        ("a+b[1].onnx", "a+b[1].onnx", True),
        ("../shared/*.pt", "../shared/x.pt", True),
        ("*.onnx", "a.onnx\n", False),
    ],
)
def test_patterns_mean_what_they_say(
    pattern: str, path: str, demanded: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    assert Policy.of(str(folder), [pattern]).demands(str(folder / path)) is demanded


def test_a_link_is_judged_by_both_its_names(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "x.onnx").write_bytes(b"")
    (tmp_path / "models" / "link.onnx").symlink_to(tmp_path / "x.onnx")
    (tmp_path / "models" / "real.onnx").write_bytes(b"")
    (tmp_path / "out.onnx").symlink_to(tmp_path / "models" / "real.onnx")
    policy = Policy.of(str(tmp_path), ["models/*.onnx"])
    assert policy.demands(str(tmp_path / "models" / "link.onnx"))
    assert policy.demands(str(tmp_path / "out.onnx"))
    assert not policy.demands(str(tmp_path / "x.onnx"))


def test_relative_paths_follow_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy.of(str(tmp_path), ["models/*.onnx"])
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path / "models")
    assert policy.demands("a.onnx")


@pytest.mark.parametrize("location", ["/a", "a/../..", "..", "", ".", "a\\..\\..\\b", "c:/x", "\0"])
def test_names_inside_never_lead_out(location: str) -> None:
    with pytest.raises(ModelsealError):
        inside("net", location)


def test_names_inside_are_normal() -> None:
    assert inside("", "w.bin") == "w.bin"
    assert inside("net", "./w//x.bin") == "net/w/x.bin"


def refuse(shop: Shop, name: str = "r.onnx") -> Path:
    return shop.seal(name, b"x", entitlement="face.restore")[0]


def test_a_refusal_is_on_stderr_and_on_the_record_before_the_exception_is_caught(
    shop: Shop, licensee: ShopLicensee, capsys: pytest.CaptureFixture[str]
) -> None:
    path = refuse(shop)
    with pytest.raises(NotEntitled) as raised:
        modelseal.open(path)
    assert [error.code for error in licensee.refusals] == ["not_entitled"]
    told = capsys.readouterr().err
    assert told.splitlines() == [f"modelseal: {line}" for line in report.lines(raised.value)]
    assert raised.value.params["path"] == str(path)


def test_the_same_refusal_is_told_once_per_process(
    shop: Shop, licensee: ShopLicensee, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = refuse(shop), refuse(shop, "s.onnx")
    for _ in range(3):
        with pytest.raises(NotEntitled):
            modelseal.open(path)
    with pytest.raises(NotEntitled):
        modelseal.open(other)
    assert len(licensee.refusals) == 2
    assert capsys.readouterr().err.count("modelseal: ") == 6


def test_a_file_that_is_not_there_is_no_refusal(
    shop: Shop, licensee: ShopLicensee, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputMissing):
        modelseal.open(shop.folder / "none")
    assert capsys.readouterr().err == "" and not licensee.refusals


@pytest.mark.parametrize("stream", [None, "closed"])
def test_an_absent_stderr_hides_no_refusal(
    stream: str | None, shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed if stream else None)
    with pytest.raises(NotEntitled):
        modelseal.open(refuse(shop))
    assert len(licensee.refusals) == 1


def test_two_products_that_could_be_meant_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "modelseal.toml").write_text(f'product = "{folder.name}"\n')
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", str(one / "app.py"), raising=False)
    monkeypatch.setenv("MODELSEAL_APP", str(other))
    with pytest.raises(ClientAmbiguous) as raised:
        default.check_unambiguous()
    told = str(raised.value.params["candidates"])
    assert str(one) in told and str(other) in told
    monkeypatch.setenv("MODELSEAL_APP", str(one))
    default.check_unambiguous()
    monkeypatch.delenv("MODELSEAL_APP")
    default.check_unambiguous()


class Adapter:
    """A third party's framework adapter."""

    name = "upper"

    def load(self, entries, name, *args, **kwargs):
        with entries.shared(name) as view:
            return bytes(view).upper(), args, kwargs


class Point:
    def __init__(self, name: str, found: object) -> None:
        self.name, self._found = name, found

    def load(self) -> object:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_a_third_party_adapter_is_found_by_its_entry_point(
    shop: Shop, licensee: ShopLicensee, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [Point("upper", Adapter), Point("odd", object()), Point("broken", ValueError("x"))]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    path, _ = shop.seal("m.bin", b"abc")
    assert modelseal.load("upper", path, 1, two=2) == (b"ABC", (1,), {"two": 2})
    with pytest.raises(NotFound):
        modelseal.load("none", path)
    for name in ("odd", "broken"):
        with pytest.raises(Misuse):
            modelseal.load(name, path)
    (shop.folder / "plain").write_bytes(b"abc")
    with pytest.raises(NotSealed):
        modelseal.load("upper", shop.folder / "plain")


def test_pathlike_and_bytes_paths_are_the_same_file(shop: Shop, licensee: ShopLicensee) -> None:
    path, _ = shop.seal("m.bin", b"abc")
    assert modelseal.open(path).read() == b"abc"
    assert modelseal.open(os.fspath(path)).read() == b"abc"
    assert modelseal.open(path.read_bytes()).read() == b"abc"
