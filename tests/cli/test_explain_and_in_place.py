"""What an activation would send, before it is sent; files sealed in place and got back."""

from __future__ import annotations

import zlib

import pytest


def test_explain_shows_every_trait_and_sends_and_stores_nothing(shop, shell):
    before = [each["event_id"] for each in shop.do("audit", "list", "--all")["items"]]
    ran = shell("activate", "--explain", *shop.names, "--state", "laptop", "--json")
    assert ran.code == 0, ran
    traits = {each["kind"]: each for each in ran.json["traits"]}
    assert {"machine_id", "mac", "smbios_uuid"} <= set(traits)
    for each in traits.values():
        assert bool(each["sent"]) != bool(each["missing"])
        assert all(len(digest) == 8 for digest in each["sent"])
    people = shell("activate", "--explain", *shop.names, "--state", "laptop")
    assert people.code == 0 and "machine_id" in people.out
    assert "Nothing has been sent" in people.err
    assert [each["event_id"] for each in shop.do("audit", "list", "--all")["items"]] == before
    assert not (shell.folder / "laptop").exists() or not list((shell.folder / "laptop").iterdir())


def test_a_file_sealed_in_place_keeps_name_and_checksum_and_comes_back(shop, shell):
    plain = bytes(range(256)) * 700
    file = shell.folder / "checked.onnx"
    file.write_bytes(plain)
    home = ("--home", shop.home)
    ran = shell("seal", file, "--in-place", "--entitlement", "face.swap", *home, "--json")
    assert ran.code == 0 and ran.json["sealed"][0]["path"] == str(file)
    assert file.read_bytes() != plain and zlib.crc32(file.read_bytes()) == zlib.crc32(plain)
    assert shell("verify", file, "--trust", shop.home / "trust.json").code == 0
    assert shell("seal", file, "--in-place", "--entitlement", "face.swap", *home).code == 2
    ran = shell("model", "restore", file, *home)
    assert ran.code == 0 and "byte for byte" in ran.err
    assert file.read_bytes() == plain
    assert shell("model", "restore", file, *home).code == 4


def test_files_of_one_name_are_sealed_in_place_as_models_of_their_own(shop, shell):
    """Packages keep their models as det/model.onnx and rec/model.onnx."""
    home = ("--home", shop.home)
    files = [shell.folder / folder / "model.onnx" for folder in ("det", "rec")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(bytes(range(256)) * 70)
    seal = ("--in-place", "--entitlement", "face.swap", *home, "--json")
    assert shell("seal", *files, "--model", "both", *seal).code == 2
    for file in files:
        ran = shell("seal", file, "--model", file.parent.name, *seal)
        assert [(s["model"], s["release"]) for s in ran.json["sealed"]] == [(file.parent.name, 1)]


@pytest.mark.parametrize(
    "words", [("--memory", "somewhere"), ("--min-level", "L9"), ("--in-place", "-o", "x.sealed")]
)
def test_odd_demands_are_told_and_change_nothing(shop, shell, words):
    file = shell.folder / "m.onnx"
    file.write_bytes(b"plain")
    ran = shell("seal", file, "--entitlement", "face.swap", *words, "--home", shop.home, "--json")
    assert (ran.code, ran.json["code"]) == (2, "misuse")
    assert [each.name for each in shell.folder.iterdir()] == ["m.onnx"]
    assert file.read_bytes() == b"plain"


def test_a_model_that_demands_secret_memory_or_a_level_says_so(shop, shell):
    file = shell.folder / "m.onnx"
    file.write_bytes(b"plain")
    demands = ("--memory", "secret", "--min-level", "L2")
    home = ("--home", shop.home)
    ran = shell("seal", file, "--entitlement", "face.swap", *demands, *home, "--json")
    assert ran.code == 0, ran
    section = shell("inspect", "m.sealed", "--json").json["sections"][1]
    assert (section["memory"], section["level"]) == ("secret", "L2")
