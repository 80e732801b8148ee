"""The program with sealed models, against a real license server over HTTPS."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import cv2
import pytest
from conftest import needs

from face_fusion import models

APP = Path(__file__).resolve().parent.parent / "app"
SHIPPED = (models.DETECTOR, models.MESH, models.RESTORE["fast"])
SECONDS = 600


def _typed(*words, cwd, home, code=0):
    """What a person types, in a folder of an app, with a home of their own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODELSEAL_")}
    env |= {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "BROWSER": "true"}
    command = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def shop(tmp_path_factory, models_dir):
    """A publisher: three sealed models, the plans of the README, and a running server."""
    needs("modelseal")
    from modelseal.testing.server import RunningServer, RunningServerWarning

    folder = tmp_path_factory.mktemp("publisher")

    def typed(*words):
        return _typed("modelseal", *words, cwd=folder, home=folder).stdout

    with pytest.warns(RunningServerWarning):
        server = RunningServer(folder)
    with server:
        for name in SHIPPED:
            right = "face.restore" if "restore" in name else "face.swap"
            sealed = f"sealed/{Path(name).stem}.sealed"
            (folder / "sealed").mkdir(exist_ok=True)
            typed("seal", models_dir / name, "-o", sealed, "--entitlement", right, "--home", "shop")
            typed("model", "publish", sealed, "--home", "shop")
        rights = ["--entitlement", "face.swap", "--seats", "9", "--home", "shop"]
        typed("plan", "create", "trial", *rights)
        typed("plan", "create", "pro", "--entitlement", "face.restore", *rights)

        def issue(plan):
            words = ["--plan", plan, "--customer", "li@example.com", "--expires", "30d", "--json"]
            return json.loads(typed("license", "issue", *words, "--home", "shop"))["license_key"]

        yield SimpleNamespace(server=server, issue=issue)


@pytest.fixture
def app(shop, tmp_path, astronaut_file, hopper):
    """The program's folder as it is shipped; nothing is activated."""
    folder, home = tmp_path / "FaceFusion", tmp_path / "home"
    home.mkdir()
    shutil.copytree(APP, folder)
    settings = (folder / "modelseal.toml").read_text()
    (folder / "modelseal.toml").write_text(
        settings.replace("https://license.example.com", shop.server.url)
    )
    shutil.copyfile(shop.server.trust, folder / "trust.json")
    program = Path(models.__file__).parent
    without = shutil.ignore_patterns("__pycache__", "prepare")
    shutil.copytree(program, folder / "face_fusion", ignore=without)
    (folder / "models").mkdir()
    small = cv2.resize(hopper, (256, 300), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "target.png"), small)
    pictures = ["--source", astronaut_file, "--target", "target.png"]

    def typed(*words, code=0):
        return _typed(*words, cwd=folder, home=home, code=code)

    def swap(output, *more, run=False, code=0, models="models"):
        program = ["face_fusion", "--models", models, *pictures, "--output", output, *more]
        words = ["modelseal", "run", "--", sys.executable, "-m", *program] if run else program
        return typed(*words, code=code)

    return SimpleNamespace(folder=folder, home=home, typed=typed, swap=swap)


def test_plain_under_run_and_by_the_public_api_the_files_are_equal(shop, app, models_dir):
    """Byte for byte, swapped and restored, and what lies in the app's folder is sealed."""
    app.typed("modelseal", "activate", shop.issue("pro"))
    app.typed("modelseal", "pull", "--to", "models")
    for name in SHIPPED:
        data = (app.folder / "models" / name).read_bytes()
        assert data.startswith(models.SEALED_MAGIC)
    for name, more in (("swap.png", []), ("restored.png", ["--restore"])):
        app.swap(f"plain-{name}", *more, models=models_dir)
        app.swap(f"run-{name}", *more, run=True)
        app.swap(f"api-{name}", "--protected", *more)
        found = {(app.folder / f"{kind}-{name}").read_bytes() for kind in ("plain", "run", "api")}
        assert len(found) == 1


@pytest.mark.parametrize("run", [True, False], ids=["run", "api"])
def test_what_the_trial_lacks_is_refused_with_reason_and_next_step(shop, app, run):
    """Exit code 3, no picture, and after the swap that it does include."""
    app.typed("modelseal", "activate", shop.issue("trial"))
    app.typed("modelseal", "pull", "--to", "models")
    sealed = shop.server.home.parent / "sealed" / "restore_fast.sealed"
    shutil.copyfile(sealed, app.folder / "models" / models.RESTORE["fast"])
    more = [] if run else ["--protected"]
    app.swap("swap.png", *more, run=run)
    refused = app.swap("restored.png", "--restore", *more, run=run, code=3)
    assert "face.restore" in refused.stderr
    assert "Ask your vendor for a plan" in refused.stderr
    assert not (app.folder / "restored.png").exists()
    assert (app.folder / "swap.png").exists()


def test_sealed_models_do_not_open_without_activation(shop, app):
    """Not plainly, not under `modelseal run`, not by the API; each says what to do."""
    for name in SHIPPED[:2]:
        sealed = shop.server.home.parent / "sealed" / f"{Path(name).stem}.sealed"
        shutil.copyfile(sealed, app.folder / "models" / name)
    assert "modelseal run" in app.swap("out.png", code=5).stderr
    assert "modelseal activate" in app.swap("out.png", run=True, code=3).stderr
    assert "modelseal activate" in app.swap("out.png", "--protected", code=3).stderr
    assert not (app.folder / "out.png").exists()


class _Dialog:
    """`python -m face_fusion.activation_dialog`, and a person at its page."""

    def __init__(self, app):
        env = {name: v for name, v in os.environ.items() if not name.startswith("MODELSEAL_")}
        env |= {"HOME": str(app.home), "XDG_DATA_HOME": str(app.home / "data"), "BROWSER": "true"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "face_fusion.activation_dialog"], cwd=app.folder, env=env,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        said = self.process.stderr.readline()
        self.url = said.rpartition(" ")[2].strip()
        self.page = self._ask()

    def _ask(self, form=None):
        data = None if form is None else urlencode(form).encode()
        with urllib.request.urlopen(self.url, data, timeout=SECONDS) as answer:
            return html.unescape(answer.read().decode())

    def enter(self, key, *, accept=True):
        """The form is sent; the page that is there once the server has answered."""
        csrf, eula = (
            re.search(f'name="{name}" value="([^"]+)"', self.page)[1] for name in ("csrf", "eula")
        )
        form = {"csrf": csrf, "license_key": key, "do": "activate"}
        self.page = self._ask(form | ({"eula": eula} if accept else {}))
        until = time.monotonic() + SECONDS
        while "Asking the license server" in self.page:
            assert time.monotonic() < until
            self.page = self._ask()
        return self.page

    def ends(self):
        """The exit code of the program."""
        with self.process:
            return self.process.wait(SECONDS)


@pytest.fixture
def dialog(app):
    shown = _Dialog(app)
    yield shown
    shown.process.kill()
    with shown.process:
        pass


def test_the_dialog_activates_at_the_real_server(shop, app, dialog):
    """A refusal is shown with next step and reference; then the key works, as the EULA asks."""
    assert "You may use the program on as many computers" in dialog.page
    unknown = "MS-00000-00000-00000-00000"
    assert "Activate facefusion" in dialog.enter(unknown)
    assert 'role="alert"' in dialog.page
    assert "not accepted" in dialog.enter(shop.issue("trial"), accept=False)
    accepted = dialog.enter(shop.issue("trial"))
    assert "facefusion is activated" in accepted
    assert "face.swap" in accepted
    assert dialog.ends() == 0
    status = json.loads(app.typed("modelseal", "status", "--json").stdout)
    assert (status["state"], status["plan"]) == ("ACTIVE", "trial")


def test_a_revoked_license_is_told_in_the_dialog(shop, app, dialog):
    """In the server's words, with the reference that support asks for."""
    key = shop.issue("trial")
    home = ["--home", shop.server.home]
    listed = json.loads(app.typed("modelseal", "license", "list", "--all", "--json", *home).stdout)
    newest = max(item["license_id"] for item in listed["items"])
    app.typed("modelseal", "license", "revoke", newest, "--reason", "test", *home)
    page = dialog.enter(key)
    assert "revoked" in page
    assert len(re.findall(r"(?:For support: <code>|reference )[0-9A-Z]{8}\b", page)) == 1


def test_a_program_that_was_not_shipped_whole_says_so(app):
    """A missing trust.json is no traceback, in the dialog or with --protected."""
    (app.folder / "trust.json").unlink()
    for words in (["face_fusion.activation_dialog"], ["face_fusion", "--protected"]):
        more = ["--source", "a.png", "--target", "b.png", "--output", "c.png"]
        done = subprocess.run(
            [sys.executable, "-m", *words, *(more if "--protected" in words else [])],
            cwd=app.folder, env={**os.environ, "HOME": str(app.home)}, capture_output=True,
            text=True, timeout=SECONDS,
        )  # fmt: skip
        assert done.returncode not in (0, 1), done.stderr
        assert "face-fusion: " in done.stderr
