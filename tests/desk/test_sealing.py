"""Sealing files, folders and ``seal.toml``: what goes in comes out, and nothing half is left."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.desk.contents import SWAP, contents, left, seal, write_toml

from modelseal import container
from modelseal.desk import opening
from modelseal.desk import workspace as workspaces
from modelseal.desk.filesource import FileSource
from modelseal.desk.sealing import seal_paths
from modelseal.desk.workspace import Workspace
from modelseal.errors import (
    ConfigInvalid,
    DiskFull,
    InputMissing,
    Misuse,
    ModelsealError,
    OutputExists,
    SourceChanged,
    SourceNotSealable,
    TogetherMissing,
    WrongPublisher,
)
from modelseal.types import Level

Write = Callable[..., Path]


def test_a_file_comes_out_as_it_went_in(shop: Workspace, model_file: Write, now: datetime) -> None:
    plain = model_file()
    made = seal(shop, plain, plain.parent / "out.sealed")
    assert contents(shop, made.path, now) == {"swap.onnx": plain.read_bytes()}
    assert (made.model, made.release, made.model_version, made.name) == (
        "swap",
        1,
        "1",
        "swap.onnx",
    )
    assert made.entitlements == SWAP
    sealed = Path(made.path).read_bytes()
    assert len(sealed) == made.size_bytes and plain.read_bytes()[:64] not in sealed
    assert left(plain.parent) == ["out.sealed", "shop", "swap.onnx"]


@pytest.mark.parametrize("size", [0, 1, 65536, 262144, 262145, 900_000])
def test_every_size_comes_out_as_it_went_in(
    shop: Workspace, model_file: Write, now: datetime, size: int
) -> None:
    plain = model_file(size=size)
    made = seal(shop, plain)
    assert made.path == str(plain.parent / "swap.sealed")
    assert contents(shop, made.path, now) == {"swap.onnx": plain.read_bytes()}


def test_the_data_keys_stay_in_the_desk_wrapped(shop: Workspace, model_file: Write) -> None:
    made = seal(shop, model_file())
    (record,) = shop.models.all()
    keys = shop.models.keys_of(record)
    assert sorted(keys.keys) == [0, 1] and keys.together is not None
    assert (record.digest, record.size_bytes) == ("", made.size_bytes)
    stored = b"".join(p.read_bytes() for p in (shop.desk / "models").iterdir() if p.is_file())
    for secret in (*keys.keys.values(), keys.together):
        assert secret not in stored and secret not in Path(made.path).read_bytes()
    assert repr(keys) == "DataKeys()"


def test_the_recovery_key_alone_opens_a_sealed_file(
    shop: Workspace, model_file: Write, now: datetime
) -> None:
    plain = model_file()
    made = seal(shop, plain)
    for path in (shop.desk / "models").glob("*.key"):
        path.unlink()
    assert contents(shop, made.path, now) == {"swap.onnx": plain.read_bytes()}


def test_repeated_entitlements_are_alternatives_and_plus_means_both(
    shop: Workspace, model_file: Write
) -> None:
    made = seal(shop, model_file(), entitlements=["face.swap+pro", "studio"])
    with opening.opened(shop, Path(made.path)) as model:
        expression = model.sections[1].entitlement
    assert expression is not None
    assert expression.satisfied_by(frozenset({"studio"}))
    assert expression.satisfied_by(frozenset({"face.swap", "pro"}))
    assert not expression.satisfied_by(frozenset({"face.swap"}))


def test_releases_only_grow_also_over_failures(shop: Workspace, model_file: Write) -> None:
    plain = model_file()
    out = plain.parent
    assert seal(shop, plain, out / "1").release == 1
    assert seal(shop, plain, out / "2").release == 2
    assert seal(shop, plain, out / "7", release=7).release == 7
    for old in (7, 3, 0):
        with pytest.raises(Misuse):
            seal(shop, plain, out / "x", release=old)
    assert seal(shop, plain, out / "8").release == 8
    other = model_file("other.onnx")
    assert seal(shop, other, out / "other").release == 1


def test_two_at_once_never_get_the_same_release(shop: Workspace) -> None:
    found: list[int] = []

    def reserve() -> None:
        opened = workspaces.open(shop.home)
        found.append(opened.models.reserve_release("swap", published=0))

    threads = [threading.Thread(target=reserve) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [1, 2, 3, 4, 5, 6]


def test_a_folder_is_one_model_with_its_files(
    shop: Workspace, model_file: Write, now: datetime
) -> None:
    for name in ("bert/config.json", "bert/onnx/model.onnx", "bert/onnx/model.onnx_data"):
        model_file(name, 70_000)
    folder = model_file("bert/weights.bin").parent
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("x")
    (folder / ".DS_Store").write_text("x")
    (folder / "link.json").symlink_to("config.json")
    made = seal(shop, folder)
    assert (made.model, made.name) == ("bert", "bert.sealed")
    assert made.path == str(folder.parent / "bert.sealed")
    found = contents(shop, made.path, now)
    assert sorted(found) == [
        "config.json", "link.json", "onnx/model.onnx", "onnx/model.onnx_data", "weights.bin",
    ]  # fmt: skip
    for name, data in found.items():
        assert (folder / name).read_bytes() == data


def test_the_current_folder_has_a_name_too(
    shop: Workspace, model_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_file("bert/weights.bin").parent
    monkeypatch.chdir(folder)
    assert seal(shop, Path(), folder.parent / "out").model == "bert"


def test_several_inputs_are_several_models_in_a_folder(
    shop: Workspace, model_file: Write, tmp_path: Path, now: datetime
) -> None:
    paths = [model_file("a.onnx"), model_file("b.onnx")]
    seen: list[tuple[int, int, str]] = []
    made = seal_paths(
        shop, paths, tmp_path / "out", entitlements=SWAP, progress=lambda *p: seen.append(p)
    )
    assert [item.model for item in made] == ["a", "b"]
    assert left(tmp_path / "out") == ["a.sealed", "b.sealed"]
    assert contents(shop, made[1].path, now) == {"b.onnx": paths[1].read_bytes()}
    for name in ("a", "b"):
        steps = [(done, total) for done, total, model in seen if model == name]
        assert steps == sorted(steps) and steps[-1][0] == steps[-1][1]


def test_a_model_id_joins_several_inputs(shop: Workspace, model_file: Write, now: datetime) -> None:
    paths = [model_file("net.xml", 10), model_file("net.bin")]
    made = seal(shop, paths, model="net")
    assert made.model == "net"
    assert contents(shop, made.path, now) == {p.name: p.read_bytes() for p in paths}


def test_two_inputs_of_one_stem_are_refused_rather_than_guessed(
    shop: Workspace, model_file: Write, tmp_path: Path
) -> None:
    paths = [model_file("net.xml", 10), model_file("net.bin")]
    with pytest.raises(Misuse, match="--model"):
        seal_paths(shop, paths, tmp_path / "out", entitlements=SWAP)


def test_seal_toml_gives_each_file_its_own_demand(
    shop: Workspace, model_file: Write, tmp_path: Path, now: datetime
) -> None:
    for name in ("enc.onnx", "parts/dec.onnx", "extra/a.txt", "lone.onnx"):
        model_file(name, 70_000)
    toml = write_toml(
        tmp_path,
        """
        [[file]]
        path = "enc.onnx"
        model = "face"
        entitlement = "face.swap"

        [[file]]
        path = "parts/dec.onnx"
        model = "face"
        entitlement = ["face.restore", "pro+studio"]
        min_level = "L2"
        memory = "secret"

        [[file]]
        path = "extra"
        model = "face"
        entitlement = "face.swap"

        [[file]]
        path = "lone.onnx"
        """,
    )
    made = seal_paths(shop, [toml], tmp_path / "out", entitlements=["free"])
    assert [item.model for item in made] == ["face", "lone"]
    found = contents(shop, made[0].path, now)
    assert sorted(found) == ["enc.onnx", "extra/a.txt", "parts/dec.onnx"]
    assert made[1].entitlements == ["free"] and made[1].name == "lone.onnx"
    with opening.opened(shop, Path(made[0].path)) as model:
        assert len(model.sections) == 3
        assert [s.level for s in model.sections] == [Level.L0, Level.L0, Level.L2]
        assert model.sections[2].entitlement is not None
        assert model.sections[2].entitlement.texts() == ["face.restore", "pro+studio"]


@pytest.mark.parametrize(
    "text",
    [
        "", "file = 1", "[[file]]", "[[file]]\npath = 7", "[[file]]\npath = ''", "[[file]",
        "[[file]]\npath = 'a'\nentitlements = 'typo'", "[[file]]\npath = 'a'\nmin_level = 'L9'",
        "[[file]]\npath = 'a'\nmemory = 'much'", "other = 1\n[[file]]\npath = 'a'", "\xff",
    ],
)  # fmt: skip
def test_an_odd_seal_toml_is_a_configuration_error(
    shop: Workspace, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "seal.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigInvalid) as caught:
        seal(shop, path, tmp_path / "out")
    assert caught.value.params["path"] == str(path)


def test_a_folder_with_a_seal_toml_is_not_sealed_past_it(
    shop: Workspace, model_file: Write
) -> None:
    folder = model_file("bert/weights.bin").parent
    write_toml(folder, "")
    with pytest.raises(Misuse, match=r"seal\.toml"):
        seal(shop, folder)


def test_together_with_demands_the_other_model(
    shop: Workspace, model_file: Write, tmp_path: Path, now: datetime
) -> None:
    safety = seal(shop, model_file("safety.onnx"), entitlements=["safety"])
    plain = model_file()
    made = seal(shop, plain, together_with=[safety.path])
    assert contents(shop, made.path, now) == {"swap.onnx": plain.read_bytes()}
    with opening.opened(shop, Path(made.path)) as model:
        assert [t.model for t in model.sections[1].together_with] == ["safety"]
        keys = opening.data_keys(shop, model, now)
        with pytest.raises(TogetherMissing):
            model.open_section(
                1, keys.keys[1], memoryview(bytearray(model.sections[1].plain_bytes))
            )


def test_the_next_release_of_a_demanded_model_still_fits(
    shop: Workspace, model_file: Write, tmp_path: Path, now: datetime
) -> None:
    plain = model_file("safety.onnx")
    first = seal(shop, plain, tmp_path / "s1", entitlements=["safety"])
    made = seal(shop, model_file(), together_with=[first.path])
    second = seal(shop, plain, tmp_path / "s2", entitlements=["safety"])
    with opening.opened(shop, Path(second.path)) as model:
        index = model.open_index(opening.data_keys(shop, model, now).keys[0])
    with opening.opened(shop, Path(made.path)) as model:
        keys = opening.data_keys(shop, model, now)
        assert index.secret is not None
        target = bytearray(model.sections[1].plain_bytes)
        model.open_section(1, keys.keys[1], memoryview(target), together={"safety": index.secret})


def test_only_own_sealed_models_can_be_demanded(
    shop: Workspace, model_file: Write, tmp_path: Path
) -> None:
    other = workspaces.init(tmp_path / "other", "facefusion")
    foreign = seal(other, model_file("safety.onnx"))
    with pytest.raises(WrongPublisher):
        seal(shop, model_file(), together_with=[foreign.path])
    with pytest.raises(ModelsealError):
        seal(shop, model_file(), together_with=[model_file("plain.onnx")])
    assert not (tmp_path / "swap.sealed").exists()


def test_no_demand_is_no_sealing(shop: Workspace, model_file: Write) -> None:
    with pytest.raises(Misuse, match="entitlement"):
        seal(shop, model_file(), entitlements=[])
    with pytest.raises(Misuse):
        seal(shop, model_file(), entitlements=["Not A Name"])
    with pytest.raises(Misuse):
        seal_paths(shop, [], None, entitlements=SWAP)


def test_what_cannot_be_read_to_an_end_is_refused_without_hanging(
    shop: Workspace, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "sock"))
        for name in (tmp_path / "fifo", tmp_path / "sock", Path("/dev/zero")):
            with pytest.raises(SourceNotSealable):
                seal(shop, name, tmp_path / "out")
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    with pytest.raises(SourceNotSealable):
        seal(shop, folder, tmp_path / "out")
    assert left(tmp_path) == ["fifo", "folder", "shop", "sock"]


def test_missing_and_empty_inputs_are_named(shop: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InputMissing) as caught:
        seal(shop, tmp_path / "none.onnx")
    assert caught.value.params["path"] == str(tmp_path / "none.onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceNotSealable):
        seal(shop, tmp_path / "empty")


@pytest.mark.parametrize("target", ["../outside.bin", "nowhere", "sub"])
def test_links_out_of_a_folder_to_nowhere_or_to_folders_are_refused(
    shop: Workspace, model_file: Write, target: str
) -> None:
    model_file("outside.bin")
    folder = model_file("bert/sub/weights.bin").parent.parent
    (folder / "link").symlink_to(target)
    with pytest.raises(SourceNotSealable) as caught:
        seal(shop, folder)
    assert caught.value.params["path"] == str(folder / "link")


def test_a_sealed_model_is_not_sealed_again(shop: Workspace, model_file: Write) -> None:
    made = seal(shop, model_file())
    with pytest.raises(SourceNotSealable, match="already"):
        seal(shop, Path(made.path), Path(made.path).parent / "twice")


def test_nothing_is_ever_overwritten(shop: Workspace, model_file: Write, tmp_path: Path) -> None:
    plain = model_file()
    before = plain.read_bytes()
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "planted")
    for output in (plain, tmp_path / "taken", tmp_path / "dangling"):
        with pytest.raises(OutputExists):
            seal(shop, plain, output)
    assert plain.read_bytes() == before and (tmp_path / "taken").read_text() == "mine"
    assert left(tmp_path) == ["dangling", "shop", "swap.onnx", "taken"]
    with pytest.raises(InputMissing):
        seal(shop, plain, tmp_path / "none" / "out")


def test_a_folder_as_output_gets_the_models_name(
    shop: Workspace, model_file: Write, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    assert seal(shop, model_file(), tmp_path / "out").path == str(tmp_path / "out" / "swap.sealed")


def test_the_output_may_not_lie_in_the_sealed_folder(shop: Workspace, model_file: Write) -> None:
    folder = model_file("bert/weights.bin").parent
    with pytest.raises(Misuse):
        seal(shop, folder, folder / "out.sealed")
    assert left(folder) == ["weights.bin"]


def test_a_failure_in_the_second_of_two_leaves_neither(
    shop: Workspace, model_file: Write, tmp_path: Path
) -> None:
    good, bad = model_file("a.onnx"), model_file("b.onnx")
    bad.write_bytes(container.MAGIC + bytes(200))
    (tmp_path / "out").mkdir()
    with pytest.raises(SourceNotSealable):
        seal_paths(shop, [good, bad], tmp_path / "out", entitlements=SWAP)
    assert left(tmp_path / "out") == []


CHANGES: dict[str, Callable[[Path], Any]] = {
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "shorter": lambda path: os.truncate(path, 100),
    "other bytes": lambda path: path.write_bytes(bytes(900_000)),
    "replaced": lambda path: _replace(path),
    "gone": lambda path: path.unlink(),
}


def _replace(path: Path) -> None:
    data = path.read_bytes()
    path.rename(path.with_suffix(".old"))
    path.write_bytes(data)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_source_that_changes_while_it_is_sealed_aborts_it(
    shop: Workspace, model_file: Write, tmp_path: Path, change: Callable[[Path], Any]
) -> None:
    plain = model_file(size=900_000)
    os.utime(plain, ns=(10**18, 10**18))
    changed: list[bool] = []

    def meddle(done: int, total: int, name: str) -> None:
        if not changed:
            changed.append(True)
            change(plain)

    with pytest.raises(SourceChanged):
        seal(shop, plain, tmp_path / "out", progress=meddle)
    assert changed and not (tmp_path / "out").exists()
    assert not [name for name in left(tmp_path) if name.endswith(".tmp")]


def test_an_interruption_leaves_nothing(shop: Workspace, model_file: Write, tmp_path: Path) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seal(shop, model_file(), tmp_path / "out", progress=stop)
    assert left(tmp_path) == ["shop", "swap.onnx"]


def test_a_full_disk_is_said_and_leaves_nothing(
    shop: Workspace, model_file: Write, tmp_path: Path, small_disk: Any
) -> None:
    plain = model_file(size=3_000_000)
    with small_disk(1_000_000), pytest.raises(DiskFull) as caught:
        seal(shop, plain, tmp_path / "out")
    assert caught.value.params["path"] == str(tmp_path / "out")
    assert left(tmp_path) == ["shop", "swap.onnx"]


def test_a_source_reads_what_the_file_holds(model_file: Write) -> None:
    plain = model_file(size=1000)
    with FileSource(plain) as source:
        target = bytearray(500)
        source.read_into(250, memoryview(target))
        assert target == plain.read_bytes()[250:750]
        with pytest.raises(ModelsealError):
            source.read_into(900, memoryview(bytearray(200)))
        source.check_unchanged()
