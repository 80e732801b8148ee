"""Publishing to the real services over a real store: what the desk signs is what is served."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from modelseal.admin import AdminApi, PutTrust
from modelseal.crypto.signing import SigningKey
from modelseal.desk import backup, catalog, kit, publishing, sealing
from modelseal.desk import workspace as workspaces
from modelseal.desk.founding import TARGETS_LIFE
from modelseal.desk.workspace import Workspace
from modelseal.errors import Conflict
from modelseal.keys.passphrase import Work
from modelseal.server.services import open_server
from modelseal.server.services.admin import LocalAdmin
from modelseal.trust import Use, keylist, metadata, writing

LIGHT = Work(memory_kib=8 * 1024, iterations=1, lanes=1)


@pytest.fixture
def api(shop: Workspace, now: datetime) -> Iterator[AdminApi]:
    """The workspace's server half in this process."""
    with open_server(shop.home, now=lambda: now) as server:
        yield LocalAdmin(server)


@pytest.fixture
def sealed(shop: Workspace, model_file: Callable[..., Path]) -> Path:
    """A sealed model, release 1 of ``swap``."""
    sealing.seal_paths(shop, [model_file()], None, entitlements=["face.swap"])
    return shop.home.parent / "swap.sealed"


def served(api: AdminApi) -> list[str]:
    data = api.catalog_state().targets.data
    return sorted(metadata.read(data, "targets").signed["targets"])


def test_a_model_is_published_released_anew_and_withdrawn(
    shop: Workspace, api: AdminApi, sealed: Path, tmp_path: Path
) -> None:
    first = publishing.publish(shop, api, sealed)
    assert not first.already and publishing.publish(shop, api, sealed).already
    second = sealing.reseal(shop, sealed, tmp_path / "two.sealed")
    publishing.publish(shop, api, second.path, min_release=2)
    assert served(api) == ["models/swap/1/swap.onnx.sealed", "models/swap/2/swap.onnx.sealed"]
    assert publishing.withdraw(shop, api, "swap", release=1).withdrawn_at is not None
    assert served(api) == ["models/swap/2/swap.onnx.sealed"]
    assert catalog.path_of(shop).read_bytes() == api.catalog_state().targets.data


def test_after_a_crash_between_server_and_desk_publishing_again_finishes_it(
    shop: Workspace, api: AdminApi, sealed: Path
) -> None:
    before = catalog.path_of(shop).read_bytes()
    publishing.publish(shop, api, sealed)
    catalog.path_of(shop).write_bytes(before)
    assert publishing.publish(shop, api, sealed).already
    assert catalog.path_of(shop).read_bytes() == api.catalog_state().targets.data


def test_a_release_that_the_server_has_is_a_conflict(
    shop: Workspace, api: AdminApi, sealed: Path, model_file: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(shop.home, tmp_path / "old")
    publishing.publish(shop, api, sealed)
    shutil.rmtree(tmp_path / "old" / "desk" / "models")
    (tmp_path / "old" / "desk" / "models").mkdir()
    old = workspaces.open(tmp_path / "old")
    (again,) = sealing.seal_paths(old, [model_file()], tmp_path / "again", entitlements=["x"])
    with pytest.raises(Conflict):
        publishing.publish(old, api, again.path)
    assert served(api) == ["models/swap/1/swap.onnx.sealed"]


def test_a_desk_restored_from_its_backup_publishes_on(
    shop: Workspace, api: AdminApi, sealed: Path, model_file: Callable[..., Path], tmp_path: Path
) -> None:
    publishing.publish(shop, api, sealed)
    paper = kit.read_passphrase(shop.home) or ""
    backup.backup(shop, tmp_path / "b", paper, work=LIGHT)
    backup.restore_backup(tmp_path / "b", paper, tmp_path / "new")
    new = workspaces.open(tmp_path / "new")
    (other,) = sealing.seal_paths(new, [model_file("b.onnx")], None, entitlements=["x"])
    publishing.publish(new, api, other.path)
    assert served(api) == ["models/b/1/b.onnx.sealed", "models/swap/1/swap.onnx.sealed"]


def test_a_restored_key_encryption_key_opens_the_old_database(
    shop: Workspace, sealed: Path, now: datetime, tmp_path: Path
) -> None:
    with open_server(shop.home, now=lambda: now) as server:
        publishing.publish(shop, LocalAdmin(server), sealed)
    paper = kit.read_passphrase(shop.home) or ""
    backup.backup(shop, tmp_path / "b", paper, work=LIGHT)
    backup.restore_backup(tmp_path / "b", paper, tmp_path / "new")
    for name in ("blobs",):
        shutil.rmtree(tmp_path / "new" / "server" / name)
        shutil.copytree(shop.server / name, tmp_path / "new" / "server" / name)
    for path in shop.server.glob("modelseal.db*"):
        shutil.copy(path, tmp_path / "new" / "server" / path.name)
    with open_server(tmp_path / "new", now=lambda: now) as server:
        again = publishing.publish(workspaces.open(tmp_path / "new"), LocalAdmin(server), sealed)
        assert again.already
        server.ready()


def test_the_server_takes_over_a_new_key_list_that_the_desk_signed(
    shop: Workspace, api: AdminApi, now: datetime
) -> None:
    """The way that rotating a key will go: list and role one version up, targets too."""
    key = SigningKey.generate()
    old = keylist.read((shop.desk / "tuf" / "keys").read_bytes())
    added = keylist.trusted(Use.ENDORSEMENT, key.verify_key(), "endorsement-2", not_before=now)
    new = keylist.write(
        keylist.KeyList(2, old.product, old.server_id, old.trait_salt, (*old.keys, added))
    )
    role = writing.sign(
        writing.keys_role(2, now + TARGETS_LIFE, new), shop.desk_signers("keys", now)
    )
    targets = catalog.signed_next(shop, catalog.current(shop), {}, now)
    state = api.put_trust(PutTrust(roots=[], targets=targets, keys_role=role, key_list=new))
    assert state.keys_version == 2
