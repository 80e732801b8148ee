"""Running the server: where it listens, what it refuses to lie beside, how it stops."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.server.world import Clock

from modelseal import listening, trust
from modelseal.errors import (
    AddressInUse,
    CertificateInvalid,
    ConfigInvalid,
    DeskExposed,
    ExtraMissing,
    KeyStoreUnavailable,
    ModelsealError,
    WorkspaceMissing,
)
from modelseal.server.run import Running
from modelseal.server.services.config import ServerConfig, load
from modelseal.server.settings import check_desk, settings_of

PROGRAM = """
import sys
from pathlib import Path
from modelseal.server.run import serve
serve(Path(sys.argv[1]), listen="127.0.0.1:0", on_ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.fixture
def home(tmp_path: Path, template: Path) -> Path:
    """A workspace nobody serves."""
    shutil.copytree(template, tmp_path / "shop")
    return tmp_path / "shop"


def test_the_desk_beside_a_server_others_can_reach_is_refused(home: Path) -> None:
    config = ServerConfig()
    closed = settings_of(config, listen="127.0.0.1:0")
    check_desk(home, closed)
    open_ones = (
        settings_of(config, listen="0.0.0.0:8443"),
        settings_of(config, listen="127.0.0.1:8443", public_url="https://licenses.example.com"),
        settings_of(config, listen="127.0.0.1:8443", behind_proxy=["127.0.0.0/8"]),
        settings_of(config, listen="[::]:8443"),
    )
    for settings in open_ones:
        with pytest.raises(DeskExposed):
            check_desk(home, settings)
    shutil.rmtree(home / "desk")
    for settings in open_ones:
        with pytest.raises(DeskExposed):
            check_desk(home, settings)
    (home / "recovery-kit.txt").unlink()
    for settings in open_ones:
        check_desk(home, settings)


def test_the_server_works_with_the_desk_absent(home: Path) -> None:
    shutil.rmtree(home / "desk")
    (home / "recovery-kit.txt").unlink()
    running = Running(home, listen="127.0.0.1:0", now=Clock())
    try:
        assert running.url.startswith("https://127.0.0.1:")
        running.server.ready()
    finally:
        running.close()


@pytest.mark.parametrize(
    "odd", ["8443", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", ":8443"]
)
def test_an_odd_address_is_refused(odd: str) -> None:
    with pytest.raises(ConfigInvalid):
        settings_of(ServerConfig(), listen=odd)


def test_an_odd_proxy_or_public_url_is_refused() -> None:
    with pytest.raises(ConfigInvalid):
        settings_of(ServerConfig(), behind_proxy=["everybody"])
    with pytest.raises(ConfigInvalid):
        settings_of(ServerConfig(), public_url="http://licenses.example.com")


def test_flags_stand_above_the_environment_and_that_above_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = ServerConfig(listen="127.0.0.1:1", public_url="https://file.example.com")
    assert settings_of(config).port == 1
    monkeypatch.setenv("MODELSEAL_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("MODELSEAL_PUBLIC_URL", "https://env.example.com")
    assert settings_of(config).port == 2
    assert settings_of(config).public_url == "https://env.example.com"
    assert settings_of(config, listen="127.0.0.1:3").port == 3


def test_the_public_url_is_told_wherever_it_was_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("desk", "recovery-kit.txt"):
        shutil.move(home / name, home.parent / f"offline-{name}")
    told = Running(home, listen="127.0.0.1:0", public_url="https://licenses.example.com")
    assert told.server.about.discovery().public_url == "https://licenses.example.com"
    told.close()
    monkeypatch.setenv("MODELSEAL_PUBLIC_URL", "https://env.example.com")
    told = Running(home, listen="127.0.0.1:0")
    assert told.server.about.discovery().public_url == "https://env.example.com"
    told.close()


def test_a_taken_address_is_said_so(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(AddressInUse):
            Running(home, listen=f"127.0.0.1:{taken.getsockname()[1]}", now=Clock())


def test_an_address_that_is_not_there_yet_is_worth_another_try() -> None:
    """A host that starts may give itself its address later than it starts its services."""
    with pytest.raises(AddressInUse):
        listening.bind("192.0.2.1", 8443)


def test_a_missing_or_broken_certificate_is_said_so(home: Path) -> None:
    (home / "server/tls/server.pem").write_text("no certificate")
    with pytest.raises(CertificateInvalid):
        Running(home, listen="127.0.0.1:0", now=Clock())
    (home / "server/tls/server.pem").unlink()
    with pytest.raises(CertificateInvalid):
        Running(home, listen="127.0.0.1:0", now=Clock())


def test_plain_http_is_spoken_only_behind_a_named_proxy(home: Path) -> None:
    shutil.rmtree(home / "desk")
    (home / "recovery-kit.txt").unlink()
    running = Running(home, listen="127.0.0.1:0", behind_proxy=["127.0.0.0/8"], now=Clock())
    try:
        assert running.url.startswith("http://")
    finally:
        running.close()
    running = Running(home, listen="127.0.0.1:0", now=Clock())
    running.close()
    assert running.url.startswith("https://")


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (lambda h: (h / "trust.json").unlink(), WorkspaceMissing),
        (lambda h: (h / "trust.json").write_text("{}"), ModelsealError),
        (lambda h: (h / "server/server.toml").unlink(), WorkspaceMissing),
        (lambda h: (h / "server/server.toml").write_text("kek = 5"), ConfigInvalid),
        (lambda h: (h / "server/server.toml").write_text("surprise = 1"), ConfigInvalid),
        (lambda h: (h / "server/server.toml").write_text("\x00"), ConfigInvalid),
        (
            lambda h: (h / "server/server.toml").write_text('database = "mysql://x/y"'),
            ConfigInvalid,
        ),
        (lambda h: (h / "server/kek.key").write_bytes(b"x"), ModelsealError),
        (lambda h: (h / "server/modelseal.db").write_bytes(b"no database" * 500), ModelsealError),
    ],
)
def test_a_broken_workspace_is_said_so(
    home: Path, break_it: object, expected: type[Exception]
) -> None:
    from modelseal.server.services import open_server

    for suffix in ("-wal", "-shm"):
        (home / f"server/modelseal.db{suffix}").unlink(missing_ok=True)
    break_it(home)  # type: ignore[operator]
    with pytest.raises(expected):
        open_server(home, now=Clock()).close()


def test_another_workspaces_kek_opens_nothing(home: Path, tmp_path: Path) -> None:
    from modelseal.desk import workspace as workspaces
    from modelseal.server.services import open_server

    workspaces.init(tmp_path / "other", "facefusion")
    shutil.copy(tmp_path / "other/server/kek.key", home / "server/kek.key")
    with pytest.raises((KeyStoreUnavailable, ModelsealError)):
        open_server(home, now=Clock()).close()


def test_the_configuration_has_defaults_and_closed_keys(home: Path) -> None:
    assert load(home / "server").database == "sqlite:///modelseal.db"


def test_sigterm_stops_it_gracefully_and_a_second_start_works(home: Path) -> None:
    context = ssl.create_default_context(
        cadata=trust.parse((home / "trust.json").read_bytes()).tls_ca
    )
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+", url)
        with httpx.Client(base_url=url, verify=context, timeout=300) as client:
            assert client.get("/healthz").status_code == 200
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=300)
        assert process.returncode in (0, -signal.SIGTERM)
        assert all("days old" in line for line in err.splitlines())  # the workspace's keys are
        assert out in ("stopped\n", "")


def test_services_import_no_web_framework() -> None:
    code = (
        "import sys, modelseal.server.services;"
        "sys.exit(any(m.split('.')[0] in ('litestar', 'uvicorn') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_the_error_names_it() -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from modelseal.errors import ExtraMissing\n"
        "import modelseal.server\n"
        "try: modelseal.server.open_server\n"
        "except ExtraMissing as error: sys.exit(0 if error.params['extra'] == 'server' else 2)\n"
        "sys.exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert ExtraMissing.code and os.name
