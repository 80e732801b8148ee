"""Loaders, hook and run over the real client and the real license server."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests import models, onnx_models
from tests.client.world import computer

import modelseal
from modelseal.admin import IssueLicense, LicenseChange, PlanDraft
from modelseal.client import Client, Ports
from modelseal.desk import inplace, publishing, sealing, workspace
from modelseal.errors import (
    EgressRefused,
    LeaseExpired,
    LicenseRevoked,
    NotActivated,
    NotEntitled,
    Refused,
    ReleaseTooOld,
    WrongPublisher,
)
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.runtime import default, ending
from modelseal.runtime.run import environment
from modelseal.testing.server import RunningServer

CPU = ["CPUExecutionProvider"]
SWAP, RESTORE, WEIGHTS = "swap.onnx", "restore.onnx", "weights.safetensors"
CHECKED = "checked.onnx"
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Market:
    """A publisher with a running server and three published models."""

    server: RunningServer
    folder: Path
    plain: dict[str, bytes]

    def key(self, plan: str) -> tuple[str, str]:
        wish = IssueLicense(plan=plan, customer="li@example.com", expires_in_seconds=30 * 86400)
        made = self.server.admin.issue_license(wish)
        return made.license_key, made.license_id


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    plain = {
        SWAP: models.path("silero_vad_16k_op15.onnx").read_bytes(),
        RESTORE: onnx_models.convolutions(),
        WEIGHTS: models.path("silero_vad_16k.safetensors").read_bytes(),
    }
    rights = {SWAP: "face.swap", RESTORE: "face.restore", WEIGHTS: "face.swap"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(folder)
    with server:
        swap, restore = PlanEntitlement(id="face.swap"), PlanEntitlement(id="face.restore")
        for name, terms in (
            ("trial", Plan(entitlements=[swap])),
            ("pro", Plan(entitlements=[swap, restore])),
            ("online", Plan(entitlements=[swap], enforcement="online")),
            ("strict", Plan(entitlements=[swap, restore], on_expiry="stop_now")),
        ):
            server.admin.create_plan(PlanDraft(name=name, terms=terms))
        with workspace.open(server.home) as desk:
            for name, data in plain.items():
                (folder / name).write_bytes(data)
                sealed = folder / f"{name}.sealed"
                sealing.seal_paths(desk, [folder / name], sealed, entitlements=[rights[name]])
                publishing.publish(desk, server.admin, sealed)
            (folder / CHECKED).write_bytes(plain[SWAP])
            inplace.seal_in_place(desk, [folder / CHECKED], entitlements=["face.swap"])
            publishing.publish(desk, server.admin, folder / CHECKED)
        yield Market(server, folder, plain)


@dataclass
class Laptop:
    """An activated client whose clock can be moved, and the folder it pulled into."""

    client: Client
    models: Path
    license_id: str
    offset: list[timedelta]

    def path(self, name: str) -> str:
        return str(self.models / name)


@pytest.fixture
def laptop(market: Market, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Laptop]:
    plan = getattr(request, "param", "trial")
    key, license_id = market.key(plan)
    traits, offset = computer(os.urandom(4).hex()), [timedelta(0)]
    ports = Ports(traits=lambda: traits, environ={}, now=lambda: datetime.now(UTC) + offset[0])
    with Client(
        state=tmp_path / "laptop",
        server=market.server.url,
        trust=market.server.trust,
        background=False,
        ports=ports,
    ) as client:
        client.activate(key)
        client.pull(tmp_path / "models")
        modelseal.use(client)
        yield Laptop(client, tmp_path / "models", license_id, offset)


def run_session(session: ort.InferenceSession) -> list[np.ndarray]:
    return session.run(None, onnx_models.feeds(session))


@pytest.mark.parametrize("laptop", ["trial", "online"], indirect=True)
def test_what_was_sealed_in_place_has_the_plain_checksum_on_the_customers_computer(
    market: Market, laptop: Laptop
) -> None:
    pulled = Path(laptop.path(CHECKED)).read_bytes()
    assert pulled != market.plain[SWAP] and zlib.crc32(pulled) == zlib.crc32(market.plain[SWAP])
    again = laptop.client.pull(laptop.models)
    assert {model.outcome for model in again.models} == {"present"}
    with modelseal.open(laptop.path(CHECKED)) as sealed:
        assert sealed.read(CHECKED) == market.plain[SWAP]


def test_a_pulled_model_runs_as_the_plain_one(market: Market, laptop: Laptop) -> None:
    plain = ort.InferenceSession(market.plain[SWAP], providers=CPU)
    sealed = modelseal.onnx.InferenceSession(laptop.path(SWAP), providers=CPU)
    for one, other in zip(run_session(plain), run_session(sealed), strict=True):
        assert np.array_equal(one, other)
    expected = modelseal.safetensors.load(market.plain[WEIGHTS], allow_plain=True)
    found = modelseal.safetensors.load_file(laptop.path(WEIGHTS))
    assert sorted(found) == sorted(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    with modelseal.open(laptop.path(WEIGHTS)) as opened:
        assert opened.read() == market.plain[WEIGHTS]
    memory = laptop.client.status().memory
    assert memory is not None


def test_what_the_license_lacks_is_refused_with_a_reference_until_it_is_bought(
    market: Market, laptop: Laptop, capsys: pytest.CaptureFixture[str]
) -> None:
    restore = market.folder / f"{RESTORE}.sealed"
    with pytest.raises(NotEntitled) as raised:
        modelseal.onnx.InferenceSession(str(restore), providers=CPU)
    error = raised.value
    assert error.params["entitlement"] == "face.restore"
    assert error.reference is not None and error.reference in capsys.readouterr().err
    entry = [e for e in laptop.client.journal.read() if e["kind"] == "refused"][-1]
    assert (entry["code"], entry["reference"]) == ("not_entitled", error.reference)
    assert laptop.client.status().last_refusal is not None
    market.server.admin.change_license(laptop.license_id, LicenseChange(plan="pro"))
    laptop.client.renew()
    session = modelseal.onnx.InferenceSession(str(restore), providers=CPU)
    assert run_session(session)


def test_a_release_that_the_plan_no_longer_gives_is_too_old_and_is_not_pulled(
    market: Market, laptop: Laptop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert modelseal.open(laptop.path(SWAP)).read() == market.plain[SWAP]
    name = Path(SWAP).stem
    newer = Plan(entitlements=[PlanEntitlement(id="face.swap")], min_releases={name: 2})
    market.server.admin.create_plan(PlanDraft(name="newer", terms=newer))
    market.server.admin.change_license(laptop.license_id, LicenseChange(plan="newer"))
    laptop.client.renew()
    with pytest.raises(ReleaseTooOld) as raised:
        modelseal.onnx.InferenceSession(laptop.path(SWAP), providers=CPU)
    assert (raised.value.params["release"], raised.value.params["min_release"]) == (1, 2)
    assert "modelseal pull" in capsys.readouterr().err
    pulled = laptop.client.pull(laptop.models)
    assert SWAP not in [model.name for model in pulled.models] and SWAP not in pulled.not_granted
    assert modelseal.safetensors.load_file(laptop.path(WEIGHTS))


def test_a_revoked_license_opens_nothing_more_and_made_sessions_go_on(
    market: Market, laptop: Laptop
) -> None:
    session = modelseal.onnx.InferenceSession(laptop.path(SWAP), providers=CPU)
    market.server.admin.revoke_license(laptop.license_id, "chargeback")
    with pytest.raises(LicenseRevoked):
        laptop.client.renew()
    for load in (
        lambda: modelseal.onnx.InferenceSession(laptop.path(SWAP), providers=CPU),
        lambda: modelseal.safetensors.load_file(laptop.path(WEIGHTS)),
        lambda: modelseal.open(laptop.path(SWAP)).read(),
        lambda: session.set_providers(CPU),
    ):
        with pytest.raises(LicenseRevoked):
            load()


def test_after_the_lease_nothing_opens_without_the_server(market: Market, laptop: Laptop) -> None:
    assert modelseal.open(laptop.path(SWAP)).size() == len(market.plain[SWAP])
    market.server.stop()
    try:
        laptop.offset[0] = timedelta(days=6, hours=23)
        assert modelseal.open(laptop.path(SWAP)).read() == market.plain[SWAP]
        laptop.offset[0] = timedelta(days=7, minutes=1)
        with pytest.raises(LeaseExpired):
            modelseal.open(laptop.path(SWAP))
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the server's framework about its own future
            market.server.start()


def test_a_model_of_another_publisher_is_refused_before_any_key_is_asked_for(
    laptop: Laptop, tmp_path: Path
) -> None:
    workspace.init(
        tmp_path / "other",
        "facefusion",
        token_alg="Ed25519",
        now=datetime.now(UTC),
        random=os.urandom,
    )
    (tmp_path / "x.bin").write_bytes(b"x")
    with workspace.open(tmp_path / "other") as desk:
        sealing.seal_paths(
            desk, [tmp_path / "x.bin"], tmp_path / "x.sealed", entitlements=["face.swap"]
        )
    with pytest.raises(WrongPublisher):
        modelseal.open(tmp_path / "x.sealed")


def test_a_device_that_was_never_activated_is_told_what_to_do(
    market: Market, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = Ports(traits=lambda: computer("fresh"), environ={})
    with Client(
        state=tmp_path / "fresh",
        server=market.server.url,
        trust=market.server.trust,
        background=False,
        ports=ports,
    ) as client:
        modelseal.use(client)
        with pytest.raises(NotActivated):
            modelseal.open(market.folder / f"{SWAP}.sealed")
    assert "modelseal activate" in capsys.readouterr().err


def test_egress_is_refused_and_on_the_record(laptop: Laptop, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    with pytest.raises(EgressRefused):
        modelseal.onnx.InferenceSession(laptop.path(SWAP), options, providers=CPU)
    assert not list(tmp_path.glob("profile*"))
    kinds = [e.get("code") for e in laptop.client.journal.read() if e["kind"] == "refused"]
    assert kinds[-1] == "egress_refused"


# -- the command line, a program that was never changed, its children


PROGRAM = """\
import hashlib, multiprocessing, os, subprocess, sys
import numpy as np
import onnxruntime

def digest(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {
        "input": np.full((1, 512), 0.25, dtype=np.float32),
        "state": np.zeros((2, 1, 128), dtype=np.float32),
        "sr": np.array(16000, dtype=np.int64),
    }
    return hashlib.sha256(b"".join(o.tobytes() for o in session.run(None, feeds))).hexdigest()

if __name__ == "__main__":
    path = sys.argv[1]
    print(digest(path), flush=True)
    if len(sys.argv) > 2:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.map(digest, [path])[0], flush=True)
        code = subprocess.run([sys.executable, sys.argv[2], path]).returncode
        try:
            digest(sys.argv[3])
        except Exception:
            os._exit(40 + code)
"""


def cli(*arguments: object, env: dict[str, str], **how: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelseal", *map(str, arguments)]
    return subprocess.run(
        command,
        env=env,
        cwd=how.pop("cwd", ROOT),
        capture_output=True,
        text=True,
        timeout=300,
        **how,
    )


@pytest.fixture
def clean(tmp_path: Path) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("MODELSEAL_")}
    return {**env, "HOME": str(tmp_path / "home"), "XDG_DATA_HOME": str(tmp_path / "data")}


def test_the_daily_path_of_a_user_with_a_program_that_was_never_changed(
    market: Market, clean: dict[str, str], tmp_path: Path
) -> None:
    key, _ = market.key("trial")
    app, elsewhere = tmp_path / "app", tmp_path / "elsewhere"
    app.mkdir()
    elsewhere.mkdir()
    (app / "app.py").write_text(PROGRAM)
    (elsewhere / "worker.py").write_text(PROGRAM)
    shutil.copy(market.server.trust, app / "trust.json")
    (app / "modelseal.toml").write_text(
        f'product = "facefusion"\nserver = "{market.server.url}"\n'
        'trust = "trust.json"\nsealed = ["models/*.onnx"]\n'
    )
    activated = cli("activate", key, "--json", env=clean, cwd=app)
    assert activated.returncode == 0, activated.stderr
    pulled = cli("pull", "--to", "models", env=clean, cwd=app)
    assert pulled.returncode == 0, pulled.stderr
    shutil.copy(market.folder / f"{RESTORE}.sealed", app / "models" / RESTORE)

    plain = tmp_path / SWAP
    plain.write_bytes(market.plain[SWAP])
    expected = subprocess.run(
        [sys.executable, str(app / "app.py"), str(plain)],
        env=clean, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert expected.returncode == 0, expected.stderr
    found = cli(
        "run", "--", sys.executable, app / "app.py", app / "models" / SWAP,
        elsewhere / "worker.py", app / "models" / RESTORE, env=clean,
    )  # fmt: skip
    assert found.returncode == 40, found.stderr
    assert found.stdout == expected.stdout * 3
    assert "face.restore" in found.stderr and "[not_entitled]" in found.stderr
    status = cli("status", "--json", env=clean, cwd=app)
    assert '"not_entitled"' in status.stdout
    shutil.copy(plain, app / "models" / "plain.onnx")
    program = [sys.executable, app / "app.py", app / "models" / "plain.onnx"]
    assert cli("run", "--", *program, env=clean).returncode == 1
    (journal,) = (tmp_path / "data").rglob("journal")
    assert '"not_sealed"' in journal.read_text()
    bare = subprocess.run(
        [sys.executable, str(app / "app.py"), str(app / "models" / SWAP)],
        env=clean, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert bare.returncode == 1


def test_run_with_a_state_folder_and_no_app(
    market: Market, clean: dict[str, str], tmp_path: Path
) -> None:
    key, _ = market.key("trial")
    activate = ["activate", "-", "--server", market.server.url, "--trust", market.server.trust]
    done = cli(*activate, "--state", "laptop", env=clean, cwd=tmp_path, input=key + "\n")
    assert done.returncode == 0, done.stderr
    done = cli("pull", "--state", "laptop", "--to", "models", env=clean, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "app.py").write_text(PROGRAM)
    program = [sys.executable, "app.py", f"models/{SWAP}"]
    found = cli("run", "--state", "laptop", "--", *program, env=clean, cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    env = environment(clean, state=tmp_path / "laptop")
    again = subprocess.run(
        program, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert again.stdout == found.stdout
    default.use(None)


@pytest.mark.parametrize("laptop", ["strict", "pro"], indirect=True)
@pytest.mark.parametrize("how", ["expired", "revoked", "narrowed"])
def test_a_session_that_runs_stops_with_the_right_where_the_plan_says_so(
    laptop: Laptop, market: Market, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under every other plan it goes on until it is closed, and only new ones are refused."""
    monkeypatch.setattr(ending, "EVERY_SECONDS", 0)
    strict = laptop.client.status().plan == "strict"
    session = modelseal.onnx.InferenceSession(laptop.path(RESTORE), providers=CPU)
    feeds = onnx_models.feeds(session, 0)
    before = session.run(None, feeds)
    if how == "expired":
        laptop.offset[0] = timedelta(days=8)
        market.server.admin.suspend_license(laptop.license_id, "late")
    elif how == "revoked":
        market.server.admin.revoke_license(laptop.license_id, "chargeback")
    else:
        market.server.admin.change_license(laptop.license_id, LicenseChange(plan="trial"))
    with contextlib.suppress(Refused):
        laptop.client.renew()
    if not strict:
        assert np.array_equal(before[0], session.run(None, feeds)[0])
        with pytest.raises(Refused):
            modelseal.onnx.InferenceSession(laptop.path(RESTORE), providers=CPU)
        return
    for _ in range(2):
        with pytest.raises(Refused) as caught:
            session.run(None, feeds)
        assert caught.value.next_step
    assert session._sess is None
    if how == "narrowed":
        assert isinstance(caught.value, NotEntitled)
        modelseal.onnx.InferenceSession(laptop.path(SWAP), providers=CPU)
