"""What stands in ``deploy/``: read by the tools that will read it, and as closed as it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelseal.server.http.serving import GRACE_SECONDS
from modelseal.server.services.outgoing import DEADLINE_SECONDS
from modelseal.server.workers import STOP_SECONDS

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


def test_the_service_is_closed() -> None:
    """Exposure as systemd counts it, at most 2.0 of 10."""
    unit = DEPLOY / "systemd" / "modelseal.service"
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout[-300:]


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


@pytest.mark.parametrize("release", ["1.30", "1.34"])
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
        assert "secret" in volume or volume["emptyDir"]["medium"] == "Memory", volume


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
