"""What ``docs/key-loss.md`` promises for each key that was lost or leaked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.rotation.conftest import Drill

from modelseal.admin import IssueLicense, PlanDraft
from modelseal.desk import backup, certifying, kit, opening, publishing, recovery, rotating, sealing
from modelseal.desk import workspace as workspaces
from modelseal.errors import (
    BackupInvalid,
    Conflict,
    Misuse,
    ModelsealError,
    NotFound,
    PassphraseWrong,
    TokenKeyUnknown,
    Unavailable,
)
from modelseal.keys.passphrase import Work
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.trust import Use

LIGHT = Work(memory_kib=8 * 1024, iterations=1, lanes=1)


def lose(drill: Drill, *uses: str) -> None:
    """The server's private keys for ``uses`` are gone, and it was restarted since."""
    for use in uses:
        found = list((drill.desk.server / "keys").glob(f"{use}-*.key"))
        assert found
        for path in found:
            path.unlink()
    drill.server.stop()
    drill.server.start()


def test_lost_signing_keys_are_replaced_and_running_leases_go_on(drill: Drill) -> None:
    laptop = drill.activated("laptop")
    lose(drill, "lease", "license", "status", "checkpoint")
    with pytest.raises(ModelsealError):
        laptop.renew()
    assert drill.opens(laptop)
    api = drill.another_process()
    rotating.rotate(drill.desk, api)
    laptop.renew()
    assert drill.opens(laptop) and laptop.status().state == "ACTIVE"
    assert drill.server.admin.checkpoint().size > 0


def test_lost_catalog_keys_are_replaced_by_a_new_root(drill: Drill) -> None:
    laptop = drill.activated("laptop")
    lose(drill, "snapshot", "timestamp")
    rotating.rotate_root(drill.desk, drill.another_process())
    laptop.pull(drill.folder / "models")
    assert laptop.trust.root_version == 2
    drill.publish("later.onnx")


def test_a_lost_sealing_key_is_replaced_for_those_who_know_the_new_list(drill: Drill) -> None:
    laptop = drill.activated("laptop")
    lose(drill, "sealing")
    laptop.renew()
    rotating.rotate(drill.desk, drill.another_process(), [Use.SEALING])
    shipped = drill.client("shipped", trust=drill.server.trust)
    shipped.activate(drill.license_key)
    later = drill.publish("later.onnx")
    laptop.renew()
    assert drill.opens(laptop, later)


def test_a_lost_or_leaked_certificate_is_replaced_and_apps_notice_nothing(drill: Drill) -> None:
    laptop = drill.activated("laptop")
    folder = drill.desk.server / "tls"
    before = (folder / "server.pem").read_bytes()
    done = certifying.rotate_tls(drill.desk)
    assert set(done.hosts) == {"localhost", "127.0.0.1", "::1"}
    assert (folder / "server.pem").read_bytes() != before
    drill.server.stop()
    drill.server.start()
    laptop.renew()
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(Misuse):
        certifying.rotate_tls(drill.desk)
    certifying.rotate_tls(drill.desk, hosts=["127.0.0.1"])
    drill.server.stop()
    drill.server.start()
    laptop.renew()
    (drill.folder / "elsewhere").mkdir()
    certifying.rotate_tls(drill.desk, output=drill.folder / "elsewhere")
    assert sorted(p.name for p in (drill.folder / "elsewhere").iterdir()) == [
        "server.key", "server.pem",
    ]  # fmt: skip


def test_after_a_new_recovery_key_old_files_open_with_the_old_and_new_ones_with_the_new(
    drill: Drill,
) -> None:
    old = drill.sealed
    rotating.rotate_recovery(drill.desk)
    newer = Path(sealing.reseal(drill.desk, old, drill.folder / "two.sealed").path)
    kids = set()
    for path in (drill.desk.desk / "models").glob("*.key"):
        path.unlink()
    for path in (old, newer):
        with opening.opened(drill.desk, path) as model:
            kids.add(model.header.recovery.kid)
            assert opening.data_keys(drill.desk, model, drill.now).keys
    assert len(kids) == 2
    rows = {row.state for row in drill.desk.list_keys() if row.use == "recovery"}
    assert rows == {"in force", "opens"}


def test_a_new_passphrase_opens_new_backups_and_the_old_one_the_old(drill: Drill) -> None:
    paper = kit.read_passphrase(drill.desk.home) or ""
    backup.backup(drill.desk, drill.folder / "old", paper, work=LIGHT)
    backup.recovery_test(drill.folder / "old", paper, workspace=drill.desk)
    assert backup.last_recovery_test(drill.desk) is not None
    backup.rotate_passphrase(drill.desk)
    assert backup.last_recovery_test(drill.desk) is None
    fresh = kit.read_passphrase(drill.desk.home) or ""
    assert fresh != paper
    with pytest.raises(PassphraseWrong):
        backup.backup(drill.desk, drill.folder / "new", paper, work=LIGHT)
    backup.backup(drill.desk, drill.folder / "new", fresh, work=LIGHT)
    backup.recovery_test(drill.folder / "new", fresh, workspace=drill.desk)
    backup.recovery_test(drill.folder / "old", paper)
    with pytest.raises(PassphraseWrong):
        backup.recovery_test(drill.folder / "old", fresh)


@pytest.mark.parametrize("what", ["signing", "root", "kek"])
def test_a_backup_from_before_a_rotation_is_said_to_be_old(drill: Drill, what: str) -> None:
    """By the recovery test, and by what the desk remembers of the last one."""
    paper = kit.read_passphrase(drill.desk.home) or ""
    backup.backup(drill.desk, drill.folder / "b", paper, work=LIGHT)
    backup.recovery_test(drill.folder / "b", paper, workspace=drill.desk)
    assert not backup.is_old(drill.desk)
    api = drill.another_process()
    if what == "kek":
        api.rotate_kek()
    elif what == "root":
        rotating.rotate_root(drill.desk, api)
    else:
        rotating.rotate(drill.desk, api)
    assert backup.is_old(drill.desk) and not recovery.state(drill.desk).done
    assert backup.last_recovery_test(drill.desk) is None
    with pytest.raises(BackupInvalid, match="old"):
        backup.recovery_test(drill.folder / "b", paper, workspace=drill.desk)
    backup.backup(drill.desk, drill.folder / "c", paper, work=LIGHT)
    backup.recovery_test(drill.folder / "c", paper, workspace=drill.desk)
    assert not backup.is_old(drill.desk)


def test_no_backup_is_made_of_a_half_rewrapped_store(drill: Drill) -> None:
    api = drill.another_process()

    def stop(step: str) -> None:
        if step == "files":
            raise Unavailable("the power went")

    api._server.rekeying.on_step = stop  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        api.rotate_kek()
    with pytest.raises(Conflict):
        backup.backup(drill.desk, drill.folder / "b", work=LIGHT)


def test_a_desk_restored_after_a_rotation_rotates_and_publishes_on(drill: Drill) -> None:
    """The backup of a rotated workspace has every key that is in force."""
    api = drill.another_process()
    laptop = drill.activated("laptop")
    rotating.rotate_root(drill.desk, api)
    rotating.rotate(drill.desk, api)
    api.rotate_kek()
    paper = kit.read_passphrase(drill.desk.home) or ""
    backup.backup(drill.desk, drill.folder / "b", paper, work=LIGHT)
    backup.restore_backup(drill.folder / "b", paper, drill.folder / "new")
    drill.server.stop()
    for name in ("blobs", "modelseal.db", "modelseal.db-wal", "modelseal.db-shm"):
        source = drill.desk.server / name
        target = drill.folder / "new" / "server" / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, target)
    drill.server.home = drill.folder / "new"
    drill.server.start()
    with workspaces.open(drill.folder / "new") as desk:
        rotating.rotate_root(desk, drill.server.admin)
        rotating.rotate(desk, drill.server.admin)
        publishing.publish(desk, drill.server.admin, drill.sealed)
    laptop.renew()
    assert drill.opens(laptop)
    laptop.pull(drill.folder / "models")
    assert laptop.trust.root_version == 3


def test_a_server_with_a_new_database_gets_the_roots_that_older_apps_need(drill: Drill) -> None:
    """It knows only the root of its trust.json until the desk signs the catalog again."""
    api = drill.another_process()
    for _ in range(2):
        rotating.rotate_root(drill.desk, api)
    rotating.rotate(drill.desk, api)
    drill.server.stop()
    for path in drill.desk.server.glob("modelseal.db*"):
        path.unlink()
    drill.server.start()
    admin = drill.server.admin
    assert len(admin.trust_documents().roots) == 1
    done = rotating.sign_catalog(drill.desk, admin)
    assert done.signed == []
    assert len(admin.trust_documents().roots) == 3
    publishing.publish(drill.desk, admin, drill.sealed)
    plan = Plan(entitlements=[PlanEntitlement(id="face.swap")])
    admin.create_plan(PlanDraft(name="again", terms=plan))
    wish = IssueLicense(plan="again", customer="li@example.com", expires_in_seconds=86400)
    drill.license_key = admin.issue_license(wish).license_key
    first = drill.activated("first-day app")
    first.pull(drill.folder / "models")
    assert first.trust.root_version == 3 and drill.opens(first)


def test_the_last_key_of_a_use_cannot_be_retired(drill: Drill) -> None:
    api = drill.another_process()
    kid = drill.desk.trust.keys(Use.LEASE)[0].kid
    for which, error in ((kid, Conflict), (kid[:7], NotFound), ("nothing-of-this", NotFound)):
        with pytest.raises(error):
            rotating.retire(drill.desk, api, which)


def test_a_retired_publisher_key_never_comes_back(drill: Drill) -> None:
    """Not even when the newest one was the one that was stolen."""
    api = drill.another_process()
    first = {key.kid for key in drill.desk.trust.keys(Use.PUBLISHER)}
    rotating.rotate(drill.desk, api, [Use.PUBLISHER])
    stolen = {key.kid for key in drill.desk.trust.keys(Use.PUBLISHER)} - first
    rotating.retire(drill.desk, api, min(stolen))
    rotating.rotate(drill.desk, api, [Use.PUBLISHER])
    listed = {key.kid for key in drill.desk.trust.keys(Use.PUBLISHER)}
    assert first < listed and not stolen & listed
    assert not stolen & drill.desk.desk_keys.kids("publisher")
    with pytest.raises(NotFound):
        rotating.retire(drill.desk, api, min(stolen))


def test_a_key_that_waits_to_be_listed_signs_nothing(drill: Drill) -> None:
    """Made and not announced: neither on the server nor in the desk does it come to a signature."""
    api = drill.another_process()
    made = api.make_keys(["lease", "timestamp", "sealing"])
    waiting = {key.kid for key in made.keys if not key.listed}
    assert len(waiting) == 3
    assert {key.kid for key in api.make_keys(["lease"]).keys if not key.listed} == waiting
    states = {row.kid: row.state for row in drill.desk.list_keys()}
    assert all(states[kid] == "waiting" for kid in waiting)
    drill.server.stop()
    drill.server.start()
    laptop = drill.activated("laptop")
    laptop.pull(drill.folder / "models")
    assert drill.opens(laptop)
    with pytest.raises(TokenKeyUnknown):
        drill.desk.trust.verify_keys(Use.LEASE, next(iter(waiting)), drill.now)
