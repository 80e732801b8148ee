"""The units of ``deploy/systemd`` under a systemd that was booted for them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.booted import PROGRAM, UNITS, Guest, done, requires_machine, system

from modelseal.desk import workspace as workspaces

pytestmark = [pytest.mark.soak, requires_machine]
SERVICE = "modelseal.service"
ENVIRONMENT = "etc/modelseal/environment"
HELD = "0.0.0.0:443"
INSTALL = f"""
set -e
useradd --system --home-dir /var/lib/modelseal --shell /usr/sbin/nologin modelseal
python3 -m venv /opt/modelseal
cd /opt/wheels
pip="/opt/modelseal/bin/pip -q install --no-index --no-deps"
$pip --find-links . --require-hashes -r server.txt
$pip modelseal-*.whl
install -d -o modelseal -g modelseal -m 0700 /var/lib/modelseal
tar -C /var/lib/modelseal --no-same-owner -xf /root/workspace.tar && chown -R modelseal: /var/lib/modelseal
install -d -m 0755 /etc/modelseal
install -m 0600 /dev/null /{ENVIRONMENT}
echo MODELSEAL_LISTEN={HELD} > /{ENVIRONMENT}
"""  # noqa: E501


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """The system with everything installed and the address held; the server is not started yet."""
    folder = tmp_path_factory.mktemp("systemd")
    workspaces.init(folder / "shop", "facefusion")
    root = system(folder)
    done("tar", "-C", folder / "shop", "-cf", root / "root/workspace.tar", "trust.json", "server")
    shutil.copy(folder / "shop/trust.json", root / "root/trust.json")
    for unit in UNITS.iterdir():
        shutil.copy(unit, root / "etc/systemd/system")
    shutil.copy(Path(__file__).with_name("inside.py"), root / "opt/inside.py")
    booted = Guest(root)
    try:
        booted.do("sh", "-c", INSTALL)
        booted.do("systemctl", "enable", "--now", "modelseal.socket", "modelseal-backup.timer")
        yield booted
    finally:
        booted.close()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def served(guest: Guest) -> Guest:
    """The server runs."""
    guest.do("systemctl", "start", SERVICE)
    return guest


def activated(guest: Guest, state: str) -> str:
    """A folder in the guest whose license is in force."""
    if '"items": []' in guest.modelseal("plan", "list", "--json"):
        guest.modelseal("plan", "create", "trial", "--entitlement", "face.swap", "--seats", 9)
    key = guest.modelseal("license", "issue", "--plan", "trial", "--customer", "Li", "--json")
    guest.do(
        PROGRAM, "activate", json.loads(key)["license_key"], "--server", "https://127.0.0.1",
        "--trust", "/root/trust.json", "--state", state,
    )  # fmt: skip
    return state


def test_a_start_ends_when_the_server_answers(served: Guest) -> None:
    found = served.shown(SERVICE, "ActiveState", "StatusText", "NRestarts")
    assert found["ActiveState"] == "active"
    assert found["StatusText"] == f"listens on https://{HELD}"
    assert served.do("systemctl", "is-system-running").strip() == "running"


def test_a_refused_configuration_fails_the_start_at_once_and_is_not_tried_again(
    served: Guest,
) -> None:
    path = served.root / ENVIRONMENT
    before = path.read_text()
    path.write_text(before + "MODELSEAL_PUBLIC_URL=http://clear.example.com\n")
    try:
        assert served.run("systemctl", "restart", SERVICE).returncode != 0
        time.sleep(5)  # RestartSec and more
        found = served.shown(SERVICE, "ActiveState", "NRestarts")
        assert found == {"ActiveState": "failed", "NRestarts": "0"}
    finally:
        path.write_text(before)
    served.do("systemctl", "restart", SERVICE)


def test_renewals_meet_restarts_and_a_killed_server_and_none_is_refused(served: Guest) -> None:
    """systemd holds the address: whoever connects meanwhile waits."""
    state = activated(served, "/root/laptop")
    failed: list[str] = []
    renewed = 0
    over = threading.Event()

    def renew() -> None:
        nonlocal renewed
        while not over.is_set():
            ran: subprocess.CompletedProcess[str] = served.run(
                PROGRAM, "lease", "renew", "--state", state
            )
            renewed += 1
            if ran.returncode:
                failed.append(ran.stderr)

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        for command in (("restart",), ("kill", "--signal=KILL"), ("restart",)):
            time.sleep(2)
            served.do("systemctl", *command, SERVICE)
            assert served.until(lambda: served.shown(SERVICE, "SubState")["SubState"] == "running")
        time.sleep(2)
    finally:
        over.set()
        renewing.join()
    assert not failed and renewed > 3


def test_a_stop_is_graceful(served: Guest) -> None:
    served.do("systemctl", "stop", SERVICE)
    found = served.shown(SERVICE, "Result", "ExecMainStatus", "ExecMainCode")
    assert found == {"Result": "success", "ExecMainStatus": "0", "ExecMainCode": "1"}


def test_nobody_else_reads_the_servers_memory(served: Guest) -> None:
    pid = served.shown(SERVICE, "MainPID")["MainPID"]
    assert served.do("stat", "-c", "%U", f"/proc/{pid}/environ").strip() == "root"
    assert served.run("runuser", "-u", "modelseal", "--", "cat", f"/proc/{pid}/maps").returncode


def test_every_line_of_the_unit_is_in_force(guest: Guest) -> None:
    """A probe in the server's place tells what it may do."""
    unit = (UNITS / SERVICE).read_text()
    unit = re.sub(r"ExecStart=.*", "ExecStart=/opt/modelseal/bin/python /opt/inside.py", unit)
    unit = unit.replace("Type=notify", "Type=oneshot").replace("Restart=on-failure", "Restart=no")
    (guest.root / "etc/systemd/system/probe.service").write_text(unit)
    guest.do("systemctl", "daemon-reload")
    guest.do("systemctl", "start", "probe.service")
    said = guest.do("journalctl", "-u", "probe.service", "-o", "cat", "--no-pager")
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert set(found["calls"].values()) == {"EPERM"}, found["calls"]
    assert found["writable"] == ["/var/lib/modelseal"] and found["runnable"] == []
    assert found["families"] == ["AF_INET", "AF_INET6", "AF_UNIX"]
    assert not found["code_made"] and found["no_new_privileges"] == "1"
    assert set(found["capabilities"]) == {"0000000000000000"}
    assert found["core"] == [0, 0] and found["secret"] == ["secret", True]
    assert len(found["processes"]) == 1 and found["disks"] == []


def test_a_backup_is_made_and_those_of_long_ago_go(served: Guest) -> None:
    folder = served.root / "var/lib/modelseal-backup"
    served.do("systemctl", "start", "modelseal-backup.service")
    [made] = folder.iterdir()
    assert made.stat().st_mode & 0o777 == 0o600
    served.do("touch", "-d", "20 days ago", f"/var/lib/modelseal-backup/{made.name}")
    time.sleep(1.1)  # the name has seconds
    served.do("systemctl", "start", "modelseal-backup.service")
    [left] = folder.iterdir()
    assert left.name != made.name


@pytest.mark.parametrize("unit", [SERVICE, "modelseal-backup.service"])
def test_systemd_counts_what_the_how_to_says(guest: Guest, unit: str) -> None:
    said = guest.do("systemd-analyze", "security", "--no-pager", unit)
    [score] = re.findall(r"exposure level for \S+: ([0-9.]+)", said)
    assert float(score) <= 1.3
