"""Disks that are full, folders that cannot be written, users who are not the one who activated."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.cli.world import here

AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
as_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="needs root, to become somebody else"
)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 KiB, for those who may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=755", "none", str(place)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if made.returncode != 0:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(place):
    filler = place / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 1024)
    return filler


@pytest.fixture
def open_to_all(tmp_path):
    """Others may enter the test's folder."""
    for place in (tmp_path, *tmp_path.parents):
        if place == Path(tempfile.gettempdir()):
            break
        place.chmod(0o755)


def test_a_full_disk_ends_an_activation_and_a_renewal_that_work_once_there_is_room(
    shop, shell, small_disk
):
    key, _ = shop.issue()
    options = ("--state", small_disk / "state", "--json")
    filler = _fill(small_disk)
    refused = here("activate", key, *shop.names, *options).refused("disk_full", 5)
    assert "Free some space" in refused["next_step"]
    filler.unlink()
    assert here("activate", key, *shop.names, *options).json["state"] == "ACTIVE"
    filler = _fill(small_disk)
    here("lease", "renew", *options).refused("disk_full", 5)
    assert here("status", *options).json["state"] == "ACTIVE"
    filler.unlink()
    assert here("lease", "renew", *options).json["state"] == "ACTIVE"


def test_a_full_disk_keeps_no_half_model_of_a_pull(shop, shell, small_disk):
    options = ("--state", shell.folder / "laptop", "--json")
    assert here("activate", shop.issue("big")[0], *shop.names, *options).code == 0
    here("pull", "--to", small_disk / "models", *options).refused("disk_full", 5)
    assert not (small_disk / "models" / "big.onnx").exists()
    assert here("pull", "--to", shell.folder / "models", *options).code == 0


def test_a_full_disk_keeps_nothing_of_an_output(shop, small_disk):
    big = shop.home.parent / "big.onnx"
    for command in (
        ("seal", big, "-o", small_disk / "x.sealed", "--entitlement", "a", "--home", shop.home),
        ("model", "reseal", f"{big}.sealed", "-o", small_disk / "y.sealed", "--home", shop.home),
    ):
        here(*command, "--json").refused("disk_full", 5)
    _fill(small_disk)
    for command in (
        ("audit", "export", "-o", small_disk / "log", "--home", shop.home),
        ("keys", "backup", small_disk / "keys", "--home", shop.home),
        ("doctor", "--bundle", small_disk / "report.zip"),
    ):
        here(*command, "--json").refused("disk_full", 5)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


@as_root
def test_a_state_folder_this_user_cannot_write_is_named_and_another_one_works(
    shop, shell, open_to_all
):
    key, _ = shop.issue()
    (shell.folder / "theirs").mkdir(mode=0o755)
    (shell.folder / "mine").mkdir()
    os.chown(shell.folder / "mine", 65534, 65534)
    (shell.folder / "trust.json").write_bytes(shop.trust.read_bytes())
    (shell.folder / "trust.json").chmod(0o644)
    names = ("--server", shop.url, "--trust", "trust.json")

    def typed(*args):
        return shell(*AS_NOBODY, sys.executable, "-m", "modelseal", *args, anything=True)

    ran = typed("activate", key, *names, "--state", "theirs/state", "--json")
    refused = ran.refused("state_not_writable", 5)
    assert "theirs" in refused["message"] and "--state" in refused["next_step"]
    assert typed("activate", key, *names, "--state", "mine/state", "--json").code == 0


@as_root
def test_activated_as_root_and_used_by_a_user_says_so_and_the_user_can_activate(
    shop, shell, open_to_all, laptop
):
    key, _ = laptop
    assert shell("pull", "--state", "laptop", "--to", "models").code == 0
    user = (*AS_NOBODY, sys.executable, "-m", "modelseal")
    ran = shell(*user, "status", "--state", "laptop", "--json", anything=True)
    refused = ran.refused("state_not_readable", 5)
    assert "laptop" in refused["message"]
    shell.more["MODELSEAL_STATE"] = "laptop"
    uses = "import modelseal; modelseal.open('models/swap.onnx')"
    ran = shell(*AS_NOBODY, sys.executable, "-c", uses, anything=True)
    assert ran.code == 1
    assert ran.err.startswith("modelseal: This user may not read it: laptop")
    del shell.more["MODELSEAL_STATE"]
    (shell.folder / "mine").mkdir()
    os.chown(shell.folder / "mine", 65534, 65534)
    (shell.folder / "trust.json").write_bytes(shop.trust.read_bytes())
    device_id = shell("status", "--state", "laptop", "--json").json["device_id"]
    names = ("--server", shop.url, "--trust", "trust.json", "--state", "mine/state")
    ran = shell(*user, "activate", key, *names, "--replace", device_id, "--json", anything=True)
    assert ran.json["state"] == "ACTIVE"


@as_root
def test_a_current_folder_that_may_not_be_looked_into_holds_no_app(shell, open_to_all):
    inner = shell.folder / "closed" / "inner"
    inner.mkdir(parents=True)
    program = [sys.executable, "-m", "modelseal", "status", "--state", shell.folder / "none"]
    inner.parent.chmod(0o700)
    ran = subprocess.run(
        [*AS_NOBODY, *program, "--json"], cwd=inner, capture_output=True, text=True, check=False
    )
    assert '"internal_error"' not in ran.stdout and ran.stdout.startswith("{"), ran.stderr
