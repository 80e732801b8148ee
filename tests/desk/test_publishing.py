"""Publishing and withdrawing: verified, signed in the desk, and safe to repeat."""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modelseal.desk import catalog as catalogs
from modelseal.desk import inplace, publishing, sealing
from modelseal.desk import workspace as workspaces
from modelseal.desk.workspace import Workspace
from modelseal.errors import (
    CatalogInvalid,
    Conflict,
    ContainerDamaged,
    ContainerSignature,
    NotSealed,
    SourceChanged,
    TokenKeyUnknown,
    WorkspaceMissing,
    WrongPublisher,
)
from modelseal.trust import metadata

Write = Callable[..., Path]


@pytest.fixture
def sealed(shop: Workspace, model_file: Write) -> Path:
    """A sealed model, release 1 of ``swap``."""
    sealing.seal_paths(shop, [model_file()], None, entitlements=["face.swap"])
    return shop.home.parent / "swap.sealed"


def served(catalog: Any) -> dict[str, Any]:
    """The models that the server's targets name."""
    entries = metadata.read(catalog.targets, "targets").signed["targets"]
    return {path: entry["custom"]["modelseal"] for path, entry in entries.items()}


def test_a_published_model_is_in_the_catalog_and_its_keys_with_the_server(
    shop: Workspace, catalog: Any, sealed: Path
) -> None:
    seen: list[tuple[int, int]] = []
    made = publishing.publish(shop, catalog, sealed, progress=lambda *p: seen.append(p))
    assert (made.model, made.release, made.already) == ("swap", 1, False)
    (record,) = shop.models.all()
    digest = hashlib.sha256(sealed.read_bytes()).hexdigest()
    assert catalog.keys[digest] == shop.models.keys_of(record).keys
    assert served(catalog) == {
        "models/swap/1/swap.onnx.sealed": {
            "product": "facefusion",
            "model": "swap",
            "model_version": "1",
            "release": 1,
            "min_release": 0,
            "file_id": made.file_id,
            "name": "swap.onnx",
            "entitlements": [[], ["face.swap"]],
            "size": sealed.stat().st_size,
        }
    }
    assert catalogs.current(shop).version == 2 and seen[-1][0] == seen[-1][1]


def test_the_catalog_names_the_checksum_of_what_was_sealed_in_place(
    shop: Workspace, catalog: Any, tmp_path: Path
) -> None:
    """And goes on to when the file is published again without its trailer."""
    path = tmp_path / "swap.onnx"
    path.write_bytes(b"weights")
    (made,) = inplace.seal_in_place(shop, [path], entitlements=["face.swap"])
    assert made.size_bytes == path.stat().st_size
    publishing.publish(shop, catalog, path)
    path.write_bytes(path.read_bytes()[:-4])
    publishing.publish(shop, catalog, path, min_release=1)
    (entry,) = served(catalog).values()
    assert (entry["crc32"], entry["min_release"]) == (f"{zlib.crc32(b'weights'):08x}", 1)


def test_publishing_again_changes_nothing(shop: Workspace, catalog: Any, sealed: Path) -> None:
    first = publishing.publish(shop, catalog, sealed)
    targets = catalog.targets
    again = publishing.publish(shop, catalog, sealed)
    assert again.already and again.record_id == first.record_id
    assert catalog.targets == targets


@pytest.mark.parametrize("call", ["put_blob", "publish_model"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_after_a_crash_at_any_step_publishing_again_finishes_it(
    shop: Workspace, catalog: Any, sealed: Path, call: str, when: str
) -> None:
    catalog.failing[call] = when
    with pytest.raises(ConnectionError):
        publishing.publish(shop, catalog, sealed)
    made = publishing.publish(workspaces.open(shop.home), catalog, sealed)
    assert made.already is ((call, when) == ("publish_model", "after"))
    assert list(served(catalog)) == ["models/swap/1/swap.onnx.sealed"]
    assert catalogs.current(shop).version == metadata.read(catalog.targets, "targets").version == 2


def test_models_add_up_and_withdrawn_ones_go(
    shop: Workspace, catalog: Any, model_file: Write, tmp_path: Path
) -> None:
    for name in ("a.onnx", "b.onnx"):
        (made,) = sealing.seal_paths(shop, [model_file(name)], None, entitlements=["x"])
        publishing.publish(shop, catalog, made.path)
    assert [c["model"] for c in served(catalog).values()] == ["a", "b"]
    record = publishing.withdraw(shop, catalog, "a")
    assert record.withdrawn_at is not None
    assert [c["model"] for c in served(catalog).values()] == ["b"]
    targets = catalog.targets
    assert publishing.withdraw(shop, catalog, "a").withdrawn_at is not None
    assert catalog.targets == targets


def test_a_second_release_stands_beside_the_first(
    shop: Workspace, catalog: Any, sealed: Path, tmp_path: Path
) -> None:
    publishing.publish(shop, catalog, sealed)
    second = sealing.reseal(shop, sealed, tmp_path / "two.sealed")
    publishing.publish(shop, catalog, second.path, min_release=2)
    assert [(c["release"], c["min_release"]) for c in served(catalog).values()] == [(1, 0), (2, 2)]
    publishing.withdraw(shop, catalog, "swap", release=1)
    assert [c["release"] for c in served(catalog).values()] == [2]


def test_min_release_only_grows(
    shop: Workspace, catalog: Any, sealed: Path, tmp_path: Path
) -> None:
    with pytest.raises(Conflict):
        publishing.publish(shop, catalog, sealed, min_release=2)
    publishing.publish(shop, catalog, sealed, min_release=1)
    second = sealing.reseal(shop, sealed, tmp_path / "two.sealed")
    with pytest.raises(Conflict):
        publishing.publish(shop, catalog, second.path, min_release=0)
    publishing.publish(shop, catalog, second.path)
    assert [c["min_release"] for c in served(catalog).values()] == [1, 1]


def test_a_taken_release_is_a_conflict(
    shop: Workspace, catalog: Any, sealed: Path, model_file: Write, tmp_path: Path
) -> None:
    """A desk restored from an old backup gives a release again; the catalog notices."""
    old = tmp_path / "old"
    shutil.copytree(shop.home, old / "shop")
    publishing.publish(shop, catalog, sealed)
    shutil.rmtree(old / "shop" / "desk" / "models")
    (old / "shop" / "desk" / "models").mkdir()
    desk = workspaces.open(old / "shop")
    (again,) = sealing.seal_paths(desk, [model_file()], tmp_path / "again", entitlements=["x"])
    assert again.release == 1
    with pytest.raises(Conflict):
        publishing.publish(desk, catalog, again.path)
    assert list(served(catalog)) == ["models/swap/1/swap.onnx.sealed"]


def test_a_desk_that_is_behind_catches_up_with_the_server(
    shop: Workspace, catalog: Any, sealed: Path, model_file: Write, tmp_path: Path
) -> None:
    behind = tmp_path / "behind"
    shutil.copytree(shop.home, behind / "shop")
    publishing.publish(shop, catalog, sealed)
    desk = workspaces.open(behind / "shop")
    (other,) = sealing.seal_paths(desk, [model_file("b.onnx")], None, entitlements=["x"])
    publishing.publish(desk, catalog, other.path)
    assert [c["model"] for c in served(catalog).values()] == ["b", "swap"]
    assert catalogs.newest_release(desk, "swap") == 1


def test_a_server_that_is_behind_gets_what_the_desk_knows(
    shop: Workspace, catalog: Any, sealed: Path, model_file: Write
) -> None:
    before = catalog.targets
    publishing.publish(shop, catalog, sealed)
    catalog.targets = before
    (other,) = sealing.seal_paths(shop, [model_file("b.onnx")], None, entitlements=["x"])
    publishing.publish(shop, catalog, other.path)
    assert [c["model"] for c in served(catalog).values()] == ["b", "swap"]
    assert metadata.read(catalog.targets, "targets").version == 3


def test_targets_that_somebody_else_signed_are_refused(
    shop: Workspace, catalog: Any, sealed: Path, tmp_path: Path
) -> None:
    other = workspaces.init(tmp_path / "other", "facefusion")
    catalog.targets = (other.desk / "tuf" / "targets.json").read_bytes()
    with pytest.raises(CatalogInvalid):
        publishing.publish(shop, catalog, sealed)


def test_another_desk_that_is_faster_is_waited_out(
    shop: Workspace, catalog: Any, sealed: Path, model_file: Write
) -> None:
    """Between reading the catalog and publishing, somebody else publishes."""
    (other,) = sealing.seal_paths(shop, [model_file("b.onnx")], None, entitlements=["x"])
    state, raced = catalog.catalog_state, []

    def racing() -> Any:
        seen = state()
        if not raced:
            raced.append(True)
            listed = catalogs.entries(catalogs.current(shop, catalog.targets))
            catalog.targets = catalogs.signed_next(
                shop, catalogs.current(shop, catalog.targets), listed, catalog_now()
            )
        return seen

    def catalog_now() -> Any:
        return shop.models.all()[0].created_at

    catalog.catalog_state = racing
    publishing.publish(shop, catalog, other.path)
    assert [c["model"] for c in served(catalog).values()] == ["b"]
    assert metadata.read(catalog.targets, "targets").version == 3


def test_a_file_of_another_publisher_or_product_is_never_sent(
    shop: Workspace, catalog: Any, model_file: Write, tmp_path: Path
) -> None:
    other = workspaces.init(tmp_path / "other", "facefusion")
    (foreign,) = sealing.seal_paths(other, [model_file()], None, entitlements=["x"])
    with pytest.raises(WrongPublisher):
        publishing.publish(shop, catalog, foreign.path)
    with pytest.raises(NotSealed):
        publishing.publish(shop, catalog, model_file("plain.onnx"))
    assert catalog.puts == 0


@pytest.mark.parametrize(
    ("place", "error"), [(130, ContainerSignature), (-3, ContainerDamaged)], ids=["header", "chunk"]
)
def test_a_damaged_file_is_never_sent(
    shop: Workspace, catalog: Any, sealed: Path, place: int, error: type[Exception]
) -> None:
    data = bytearray(sealed.read_bytes())
    data[place] ^= 1
    sealed.write_bytes(data)
    with pytest.raises(Exception) as caught:
        publishing.publish(shop, catalog, sealed)
    assert getattr(caught.value, "exit_code", None) == 4
    assert error is not ContainerDamaged or isinstance(caught.value, error)
    assert catalog.puts == 0


def test_a_file_that_changes_on_its_way_is_not_published(
    shop: Workspace, catalog: Any, sealed: Path
) -> None:
    put = catalog.put_blob
    catalog.put_blob = lambda path, progress=None: put(path, progress)[::-1]
    with pytest.raises(SourceChanged):
        publishing.publish(shop, catalog, sealed)
    assert served(catalog) == {}


def test_publishing_needs_the_desk(shop: Workspace, catalog: Any, sealed: Path) -> None:
    shutil.rmtree(shop.desk)
    with pytest.raises(WorkspaceMissing):
        publishing.publish(workspaces.open(shop.home), catalog, sealed)
    assert catalog.puts == 0


def test_without_a_valid_sealing_key_no_data_key_leaves_the_desk(
    shop: Workspace, catalog: Any, sealed: Path, now: Any
) -> None:
    with pytest.raises(TokenKeyUnknown):
        publishing.publish(shop, catalog, sealed, now=now - timedelta(days=30))
    assert served(catalog) == {}


def test_a_folder_is_pulled_under_its_model_id(
    shop: Workspace, catalog: Any, model_file: Write
) -> None:
    model_file("bert/config.json", 10)
    folder = model_file("bert/weights.bin").parent
    (made,) = sealing.seal_paths(shop, [folder], None, entitlements=["x"])
    publishing.publish(shop, catalog, made.path)
    ((path, custom),) = served(catalog).items()
    assert (path, custom["name"]) == ("models/bert/1/bert.sealed", "bert.sealed")
