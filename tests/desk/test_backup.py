"""The backup: everything comes back, with the printed passphrase and with nothing else."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelseal.desk import archive, backup, kit, opening, proving, recovery, sealing
from modelseal.desk import workspace as workspaces
from modelseal.desk.archive import Archive
from modelseal.desk.workspace import Workspace
from modelseal.errors import (
    BackupInvalid,
    InputMissing,
    Misuse,
    OutputExists,
    PassphraseWrong,
    WorkspaceExists,
)
from modelseal.keys import file as file_provider
from modelseal.keys import passphrase
from modelseal.keys.passphrase import Work

Write = Callable[..., Path]
LIGHT = Work(memory_kib=8 * 1024, iterations=1, lanes=1)


@pytest.fixture
def sealed(shop: Workspace, model_file: Write) -> Path:
    """A sealed model."""
    sealing.seal_paths(shop, [model_file()], None, entitlements=["face.swap"])
    return shop.home.parent / "swap.sealed"


@pytest.fixture
def paper(shop: Workspace) -> str:
    """What the publisher printed."""
    found = kit.read_passphrase(shop.home)
    assert found is not None
    return found


@pytest.fixture
def made(shop: Workspace, sealed: Path, now: datetime) -> Path:
    """A backup of the workspace with one sealed model."""
    path = shop.home.parent / "shop.msbackup"
    backup.backup(shop, path, now=now, work=LIGHT)
    return path


def test_a_backup_is_private_and_says_how_much_is_in_it(
    shop: Workspace, sealed: Path, tmp_path: Path, now: datetime
) -> None:
    found = backup.backup(shop, tmp_path / "b", now=now, work=LIGHT)
    assert (found.keys, found.models, found.created_at) == (17, 1, now)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    data = (tmp_path / "b").read_bytes()
    secrets = [shop.desk_keys.private_bytes(entry) for entry in shop.desk_keys.entries()]
    assert not any(secret in data for secret in secrets)
    assert b"face.swap" not in data and b"facefusion" not in data


def test_a_backup_restores_a_whole_workspace(
    shop: Workspace, made: Path, sealed: Path, paper: str, tmp_path: Path, now: datetime
) -> None:
    restored = backup.restore_backup(made, paper.lower().replace("-", " "), tmp_path / "new")
    assert (restored.product, restored.keys, restored.models) == ("facefusion", 17, 1)
    new = workspaces.open(tmp_path / "new")
    assert new.trust == shop.trust
    for old, again in ((shop.desk_keys, new.desk_keys), (shop.online_keys, new.online_keys)):
        assert [(e.use, e.kid, e.set) for e in old.entries()] == [
            (e.use, e.kid, e.set) for e in again.entries()
        ]
        for before, after in zip(old.entries(), again.entries(), strict=True):
            assert old.private_bytes(before) == again.private_bytes(after)
    keks = [file_provider.read_key("file:kek.key", ask=None, base=w.server) for w in (shop, new)]
    assert keks[0] == keks[1]
    desks = [file_provider.read_key("file:desk.key", ask=None, base=w.desk) for w in (shop, new)]
    assert desks[0] != desks[1]
    with opening.opened(new, sealed) as model:
        assert opening.data_keys(new, model, now).keys[1]
    assert not new.kit.exists()
    assert (new.server / "tls" / "server.pem").read_bytes() == (
        shop.server / "tls" / "server.pem"
    ).read_bytes()


def test_a_restored_workspace_seals_the_next_release_and_backs_up_again(
    made: Path, paper: str, model_file: Write, tmp_path: Path
) -> None:
    backup.restore_backup(made, paper, tmp_path / "new")
    new = workspaces.open(tmp_path / "new")
    (item,) = sealing.seal_paths(new, [model_file()], tmp_path / "out", entitlements=["x"])
    assert item.release == 2
    backup.backup(new, tmp_path / "again", paper, work=LIGHT)
    assert backup.recovery_test(tmp_path / "again", paper, workspace=new).models == 2


def test_everything_that_was_restored_is_private(made: Path, paper: str, tmp_path: Path) -> None:
    backup.restore_backup(made, paper, tmp_path / "new")
    for path in (tmp_path / "new").rglob("*"):
        if path.name != "trust.json":
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_kek_with_a_passphrase_is_restored_with_one(
    shop: Workspace, tmp_path: Path, paper: str
) -> None:
    (shop.server / "kek.key").unlink()
    settings = shop.server / "server.toml"
    settings.write_text(settings.read_text().replace("file:kek.key", "file:kek.key?passphrase=ask"))
    shop.close()
    key = os.urandom(32)
    uri = "file:kek.key?passphrase=ask"
    file_provider.put_back(uri, key, ask=lambda _: "a passphrase", base=shop.server, work=LIGHT)
    for path in (shop.server / "keys").iterdir():
        path.unlink()
    opened = workspaces.open(shop.home, ask=lambda _: "a passphrase")
    content = replace(archive.collect(opened, opened.trust.keys(trust_use())[0].not_before))
    assert (content.kek_uri, content.kek) == (uri, key)


def trust_use() -> Any:
    from modelseal.trust import Use

    return Use.PUBLISHER


def test_only_the_printed_passphrase_makes_a_backup(
    shop: Workspace, tmp_path: Path, paper: str
) -> None:
    other = kit.generate(os.urandom)
    for wrong in (other, "", paper[:-1]):
        with pytest.raises(PassphraseWrong):
            backup.backup(shop, tmp_path / "b", wrong, work=LIGHT)
    assert not (tmp_path / "b").exists()
    backup.backup(shop, tmp_path / "b", paper, work=LIGHT)
    with pytest.raises(OutputExists):
        backup.backup(shop, tmp_path / "b", paper, work=LIGHT)


def test_another_passphrase_opens_nothing(made: Path, tmp_path: Path) -> None:
    for wrong in (kit.generate(os.urandom), "hello", ""):
        with pytest.raises(PassphraseWrong):
            backup.recovery_test(made, wrong)
        with pytest.raises(PassphraseWrong):
            backup.restore_backup(made, wrong, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\x89MSP1\r\n\x1a", b"\x89MSK1\r\n\x1a" * 9])
def test_what_is_no_backup_is_refused(paper: str, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b").write_bytes(data)
    with pytest.raises(BackupInvalid):
        backup.recovery_test(tmp_path / "b", paper)
    with pytest.raises(InputMissing):
        backup.recovery_test(tmp_path / "none", paper)


def test_a_damaged_or_cut_backup_opens_nothing(made: Path, paper: str) -> None:
    data = made.read_bytes()
    for place in (8, 12, 25, 40, len(data) // 2, len(data) - 1):
        altered = bytearray(data)
        altered[place] ^= 1
        made.write_bytes(altered)
        with pytest.raises((BackupInvalid, PassphraseWrong)):
            backup.recovery_test(made, paper)
    made.write_bytes(data[: len(data) // 2])
    with pytest.raises(PassphraseWrong):
        backup.recovery_test(made, paper)


def test_a_workspace_is_never_restored_over_another(
    shop: Workspace, made: Path, paper: str
) -> None:
    with pytest.raises(WorkspaceExists):
        backup.restore_backup(made, paper, shop.home)


def test_a_recovery_test_proves_the_file_and_the_data_key_of_a_sealed_model(
    shop: Workspace, made: Path, sealed: Path, paper: str, now: datetime
) -> None:
    later = now + timedelta(days=3)
    found = backup.recovery_test(made, paper, workspace=shop, sealed=sealed, now=later)
    assert (found.keys, found.models, found.missing, found.recovered_file) == (17, 1, [], True)
    assert backup.last_recovery_test(shop) == later
    assert recovery.state(shop).backup_at == now


def test_the_reminder_stays_until_kit_backup_and_paper_are_right(
    shop: Workspace, made: Path, paper: str, model_file: Write, tmp_path: Path
) -> None:
    start = recovery.state(shop)
    assert not start.done and start.kit_present and start.tested_at is None
    assert start.unsaved == ["swap release 1"]
    backup.recovery_test(made, paper, workspace=shop, typed=False)
    assert backup.last_recovery_test(shop) is None
    shop.kit.unlink()
    assert not recovery.state(shop).done
    backup.recovery_test(made, paper, workspace=shop)
    assert recovery.state(shop).done
    sealing.seal_paths(shop, [model_file()], tmp_path / "out", entitlements=["x"])
    assert recovery.state(shop).unsaved == ["swap release 2"]
    assert not recovery.state(shop).done


def test_models_sealed_since_are_named(
    shop: Workspace, made: Path, paper: str, model_file: Write, tmp_path: Path
) -> None:
    sealing.seal_paths(shop, [model_file("new.onnx")], None, entitlements=["x"])
    assert backup.recovery_test(made, paper, workspace=shop).missing == ["new release 1"]


def test_the_backup_of_another_workspace_proves_nothing_here(
    made: Path, paper: str, tmp_path: Path
) -> None:
    other = workspaces.init(tmp_path / "other", "facefusion")
    with pytest.raises(BackupInvalid):
        backup.recovery_test(made, paper, workspace=other)
    assert recovery.state(other).tested_at is None


def test_a_sealed_file_of_another_publisher_is_not_recovered(
    made: Path, paper: str, model_file: Write, tmp_path: Path
) -> None:
    other = workspaces.init(tmp_path / "other", "facefusion")
    (item,) = sealing.seal_paths(other, [model_file()], tmp_path / "o", entitlements=["x"])
    with pytest.raises(Exception) as caught:
        backup.recovery_test(made, paper, sealed=item.path)
    assert getattr(caught.value, "exit_code", 0) == 4


def test_a_backup_needs_both_halves(shop: Workspace, tmp_path: Path) -> None:
    shutil.rmtree(shop.server)
    with pytest.raises(Misuse) as caught:
        backup.backup(workspaces.open(shop.home), tmp_path / "b", work=LIGHT)
    assert caught.value.code == "workspace_missing"
    assert not (tmp_path / "b").exists()


@pytest.fixture
def content(shop: Workspace, sealed: Path, now: datetime) -> Archive:
    """What is in a backup."""
    return archive.collect(shop, now)


def test_an_archive_is_read_as_it_was_written(content: Archive) -> None:
    assert archive.decode(archive.encode(content)) == content
    proving.prove(content)
    shown = repr(content)
    assert not any(repr(key.private) in shown for key in content.desk)
    assert repr(content.kek) not in shown


def without(use: str) -> Callable[[Archive], Archive]:
    def change(content: Archive) -> Archive:
        return replace(
            content,
            desk=[key for key in content.desk if key.use != use],
            online=[key for key in content.online if key.use != use],
        )

    return change


def other_private(content: Archive) -> Archive:
    first, second = [key for key in content.desk if key.use in ("root", "targets")]
    swapped = msgspec.structs.replace(first, private=second.private)
    return replace(content, desk=[*[k for k in content.desk if k is not first], swapped])


SPOILED: dict[str, Callable[[Archive], Archive]] = {
    **{
        f"no {use} key": without(use)
        for use in (
            "root", "targets", "publisher", "sealing", "license", "lease", "status",
            "checkpoint", "snapshot", "timestamp", "tls",
        )
    },
    "a private key of another": other_private,
    "a short KEK": lambda c: replace(c, kek=b"short"),
    "no passphrase": lambda c: replace(c, desk=[k for k in c.desk if k.alg != "raw"]),
    "trust of another": lambda c: replace(c, server_id="srv_other"),
    "no trust": lambda c: replace(c, trust=b"{}"),
    "a model without its index key": lambda c: replace(
        c, models=[msgspec.structs.replace(c.models[0], keys={1: bytes(32)})]
    ),
    "a short data key": lambda c: replace(
        c, models=[msgspec.structs.replace(c.models[0], keys={0: b"x"})]
    ),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_a_backup_that_lacks_anything_is_not_proved(
    content: Archive, spoil: Callable[[Archive], Archive]
) -> None:
    with pytest.raises(BackupInvalid):
        proving.prove(spoil(content))


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "", "a\\b"])
def test_a_backup_never_writes_outside_its_folder(
    content: Archive, tmp_path: Path, paper: str, name: str
) -> None:
    """Whoever has the passphrase could forge one; it still writes only where it should."""
    forged = replace(content, documents={**content.documents, name: b"x"})
    data = passphrase.protect(
        archive.encode(forged), paper, backup.PURPOSE, random=os.urandom, work=LIGHT
    )
    (tmp_path / "forged").write_bytes(data)
    with pytest.raises(BackupInvalid):
        backup.restore_backup(tmp_path / "forged", paper, tmp_path / "new")
    assert not (tmp_path / "new").exists() and not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("member", "value"),
    [("typ", "x"), ("version", 2), ("desk", [1]), ("created_at", -1), ("extra", 1), ("kek", "x")],
)
def test_an_archive_of_another_form_is_refused(content: Archive, member: str, value: Any) -> None:
    from modelseal import cbor

    members = cbor.decode(archive.encode(content), max_bytes=1 << 24)
    members[member] = value
    with pytest.raises(BackupInvalid):
        archive.decode(cbor.encode(members))
    with pytest.raises(BackupInvalid):
        archive.decode(b"\xff")
