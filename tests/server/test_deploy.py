"""What stands in ``deploy/``: read by the tools that will read it, and as closed as it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelseal.desk import workspace as desk_workspaces
from modelseal.errors import InternalError, InvalidBytes, Misuse, Refused, Unavailable
from modelseal.server.http.serving import GRACE_SECONDS
from modelseal.server.services.outgoing import DEADLINE_SECONDS
from modelseal.server.workers import HUNG_SECONDS, STOP_SECONDS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
STOPPING = GRACE_SECONDS + DEADLINE_SECONDS


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


def test_systemd_takes_every_unit_without_a_word(tmp_path: Path) -> None:
    """The program is not installed here, so another one stands in for it."""
    made = []
    for unit in UNITS:
        text = unit.read_text().replace("/opt/modelseal/bin/modelseal", "/bin/true")
        (tmp_path / unit.name).write_text(text)
        made.append(str(tmp_path / unit.name))
    done = analyze("verify", "--man=no", *made)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["modelseal.service", "modelseal-backup.service"])
def test_the_service_is_closed(name: str) -> None:
    """Exposure as systemd counts it, at most 1.5 of 10 (of a file alone it knows less)."""
    unit = DEPLOY / "systemd" / name
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout[-300:]


def lines(name: str) -> dict[str, str]:
    """The settings of a unit; of one that stands more than once the last."""
    text = (DEPLOY / "systemd" / name).read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def test_what_the_server_refuses_is_not_tried_again_and_what_may_come_back_is() -> None:
    unit = lines("modelseal.service")
    kept = {int(code) for code in unit["RestartPreventExitStatus"].split()}
    assert {Misuse.exit_code, Refused.exit_code, InvalidBytes.exit_code} == kept
    assert Unavailable.exit_code not in kept and InternalError.exit_code not in kept
    assert (unit["Restart"], unit["StartLimitIntervalSec"]) == ("on-failure", "0")


def test_systemd_waits_for_a_start_and_longer_than_the_server_for_a_sign_of_life() -> None:
    unit = lines("modelseal.service")
    assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "main")
    assert unit["TimeoutStartSec"] == "infinity"  # a migration is not cut short
    assert float(unit["WatchdogSec"]) > HUNG_SECONDS


def test_a_backup_takes_nothing_of_the_running_servers_away() -> None:
    """``RemoveIPC`` counts by user, and both have one."""
    backup = lines("modelseal-backup.service")
    assert backup["User"] == lines("modelseal.service")["User"] and "RemoveIPC" not in backup


def test_stopping_is_given_more_time_than_the_server_takes() -> None:
    [seconds] = re.findall(
        r"TimeoutStopSec=(\d+)", (DEPLOY / "systemd/modelseal.service").read_text()
    )
    assert STOPPING < STOP_SECONDS < int(seconds)
    [pod] = [m["spec"]["template"]["spec"] for m in manifests() if m["kind"] == "Deployment"]
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS + 5


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


@pytest.mark.parametrize("release", ["1.30", "1.34", "1.37"])
def test_kubernetes_knows_every_member_of_every_manifest(release: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="make .venv/.more")
    kinds = []
    for manifest in manifests():
        validator.validate(manifest, release, strict=True)
        kinds.append(manifest["kind"])
    assert {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"} <= set(kinds)


def test_every_container_is_nobody_and_writes_only_to_memory() -> None:
    [pod] = [m["spec"]["template"]["spec"] for m in manifests() if m["kind"] == "Deployment"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    for container in [*pod["initContainers"], *pod["containers"]]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not container["image"].endswith(":latest") and ":" in container["image"]
        assert container["resources"]["limits"]["memory"]
    for volume in pod["volumes"]:
        kept = "secret" in volume or volume["emptyDir"].get("medium") == "Memory"
        assert kept or volume["name"] == "uploads", volume  # which holds sealed bytes only


def test_a_pod_has_room_for_the_largest_sealed_model_and_its_keys_are_closed(
    tmp_path: Path,
) -> None:
    """The first container's own program, on an archive as the how-to makes it."""
    [pod] = [m["spec"]["template"]["spec"] for m in manifests() if m["kind"] == "Deployment"]
    [blobs] = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "uploads"]
    [uploads] = [v for v in pod["volumes"] if v["name"] == "uploads"]
    assert uploads["emptyDir"] == {"sizeLimit": "20Gi"}
    desk_workspaces.init(tmp_path / "shop", "facefusion")
    home, secret = tmp_path / "home", tmp_path / "secret"
    home.mkdir()
    secret.mkdir()
    with tarfile.open(secret / "workspace.tar", "w") as packed:
        packed.add(tmp_path / "shop/trust.json", "trust.json")
        packed.add(tmp_path / "shop/server", "server")
    unpack = pod["initContainers"][0]
    assert unpack["command"] == ["python", "-c"]
    [program] = unpack["args"]
    program = program.replace("/secret", str(secret)).replace("/var/lib/modelseal", str(home))
    subprocess.run([sys.executable, "-c", program], check=True)
    place = Path(blobs["mountPath"].replace("/var/lib/modelseal", str(home)))
    assert place == home / "server" / "blobs" and place.is_dir()
    for path in (home / "server").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_pods_are_replaced_one_by_one_and_only_asked_once_they_answer() -> None:
    found = {m["kind"]: m["spec"] for m in manifests() if "spec" in m}
    rolling = found["Deployment"]["strategy"]["rollingUpdate"]
    assert (rolling["maxUnavailable"], rolling["maxSurge"]) == (0, 1)
    replicas = found["Deployment"]["replicas"]
    assert replicas > found["PodDisruptionBudget"]["maxUnavailable"] + 1
    [server] = found["Deployment"]["template"]["spec"]["containers"]
    [port] = server["ports"]
    for probe, path in (("startup", "/readyz"), ("readiness", "/readyz"), ("liveness", "/healthz")):
        asked = server[f"{probe}Probe"]["httpGet"]
        assert asked == {"path": path, "port": port["name"], "scheme": "HTTPS"}
    assert found["NetworkPolicy"]["policyTypes"] == ["Ingress", "Egress"]
    [entry] = found["NetworkPolicy"]["ingress"]
    assert entry["ports"] == [{"port": port["containerPort"]}]


def test_whatever_selects_selects_the_pods_that_are_made() -> None:
    found = {m["kind"]: m for m in manifests()}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_the_container_holds_pinned_packages_only_and_runs_as_nobody() -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text()
    installs = re.findall(r"pip install (.*)", text)
    assert len(installs) == 2 and all("--no-deps" in line for line in installs)
    assert "--require-hashes" in installs[0] and "--no-build-isolation" in installs[1]
    assert text.rindex("USER 10001:10001") > text.rindex("RUN ")
    assert "ADD " not in text and 'ENTRYPOINT ["modelseal"]' in text
    root = DEPLOY.parent
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((root / name).exists() for name in copied.split()), copied
    locked = (root / "requirements" / "server.txt").read_text()
    for name in ("litestar", "uvicorn", "sqlalchemy", "alembic", "psycopg-binary", "obstore",
                 "hatchling", "cryptography"):  # fmt: skip
        assert re.search(rf"^{name}==\S+", locked, re.MULTILINE), name
