"""The commands as a person types them: files, exit codes, JSON, codes on paper."""

from __future__ import annotations

import json
import os
import string
from pathlib import Path

import cv2
import pytest
from tests.client.world import computer

import modelseal
from modelseal import cli, texts
from modelseal.client import ports
from modelseal.testing.server import RunningServer, RunningServerWarning
from modelseal.texts import en, zh_cn


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of one's own, a computer that can be told from others, no settings from outside."""
    for name in list(os.environ):
        if name.startswith("MODELSEAL_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(ports, "_read_traits", computer)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here, capfd):
    """Runs a command; its exit code, its JSON (or text) and what it told."""

    def act(*words: str, code: int = 0):
        found = cli.main([*words])
        out, err = capfd.readouterr()
        assert found == code, (out, err)
        return json.loads(out) if "--json" in words else out + err

    return act


@pytest.fixture
def key(run, here):
    """A workspace ``shop`` with a published model, and a license key."""
    run("init", "--home", "shop", "--product", "facefusion")
    Path("swap.onnx").write_bytes(os.urandom(5000))
    run("seal", "swap.onnx", "-o", "swap.sealed", "--entitlement", "face.swap", "--home", "shop")
    run("model", "publish", "swap.sealed", "--home", "shop")
    run("plan", "create", "pro", "--entitlement", "face.swap", "--home", "shop")
    made = run(
        "license", "issue", "--plan", "pro", "--customer", "li", "--expires", "90d", "--home",
        "shop", "--json",
    )  # fmt: skip
    return made["license_key"]


def test_the_day_of_a_device_without_a_network(run, key, here):
    """Activate, load, code by phone, renew, return: nine commands and no server."""
    asked = run(
        "lease", "request", key, "--next", "2", "--label", "lab", "-o", "req.jwt", "--trust",
        "shop/trust.json", "--state", "laptop", "--json",
    )  # fmt: skip
    assert (asked["op"], asked["next_count"], asked["path"]) == ("activate", 2, "req.jwt")
    made = run("lease", "respond", "req.jwt", "-o", "resp", "--home", "shop", "--json")
    assert made["next_count"] == 2 and made["code"] is None and "response" not in made
    assert run("verify", "resp", "--trust", "shop/trust.json", "--json")["verified"] is True
    assert run("lease", "import", "resp", "--state", "laptop", "--json")["seq"] == 1
    with modelseal.Client(state="laptop", background=False) as client:
        modelseal.use(client)
        with modelseal.open("swap.sealed") as sealed:
            assert bytes(sealed.read("swap.onnx")) == Path("swap.onnx").read_bytes()
        modelseal.use(None)
    told = run("lease", "code", made["device_id"], "--home", "shop", "--json")
    assert run("lease", "import", "--code", told["code"], "--state", "laptop", "--json")["seq"] == 2
    run("lease", "request", "-o", "req2.jwt", "--state", "laptop")
    assert "lease until" in run("lease", "respond", "req2.jwt", "-o", "resp2", "--home", "shop")
    assert "runs until" in run("lease", "import", "resp2", "--state", "laptop")
    said = run("lease", "return", "-o", "ret.jwt", "--state", "laptop")
    assert "nothing opens on this device" in said
    assert run("status", "--state", "laptop", "--json")["state"] == "RETURNED"
    free = run("lease", "respond", "ret.jwt", "-o", "resp3", "--home", "shop", "--json")
    assert free["seat_free_at"] is not None
    run("lease", "import", "resp3", "--state", "laptop")


def test_codes_on_paper_go_both_ways(run, key, here):
    """Images are written, scanned by a real decoder, typed into a file in any order."""
    run(
        "lease", "request", key, "--qr-out", "req", "--trust", "shop/trust.json", "--state",
        "laptop",
    )  # fmt: skip
    scanned = _scan(here / "req")
    Path("scanned.txt").write_text("\n".join(reversed(scanned)))
    run("lease", "respond", "scanned.txt", "--qr-out", "resp", "--home", "shop")
    Path("back.txt").write_text("\r\n".join(_scan(here / "resp")))
    assert run("lease", "import", "back.txt", "--state", "laptop", "--json")["seq"] == 1
    page = (here / "resp" / "index.html").read_text()
    assert page.count("<svg") == len(_scan(here / "resp"))


def _scan(folder: Path) -> list[str]:
    detector = cv2.QRCodeDetectorAruco()
    found = []
    for path in sorted(folder.glob("*.png")):
        text, *_ = detector.detectAndDecode(cv2.imread(str(path)))
        assert text, path
        found.append(text)
    return found


def test_codes_on_the_terminal_and_lines_from_standard_input(run, key, here, monkeypatch):
    """``--qr`` prints each code under its number; ``--json`` gives the lines instead."""
    words = ["lease", "request", key, "--qr", "--trust", "shop/trust.json", "--state", "laptop"]
    shown = run(*words)
    lines = run(*words, "--json")["parts"]
    assert f"{len(lines)} of {len(lines)}" in shown and "▄" in shown
    Path("typed").write_text("\n".join(lines))
    with Path("typed").open() as typed:
        monkeypatch.setattr("sys.stdin", typed)
        run("lease", "respond", "-", "-o", "resp", "--home", "shop")
    assert Path("resp").is_file()


def test_wrong_commands_and_files_exit_by_the_table(run, key, here):
    """2 for usage and typing errors, 4 for bytes that are not ours, 5 never: nothing is asked."""
    state = ["--state", "laptop"]
    trust = ["--trust", "shop/trust.json"]
    run("lease", "request", key, *state, *trust, code=2)
    run("lease", "request", "MS-AAAAA-AAAAA-AAAAA-AAAAA", "-o", "x", *state, *trust, code=2)
    run("lease", "request", "-o", "x", *state, *trust, code=3)
    run("lease", "request", key, "-o", "no/such/x", *state, *trust, code=2)
    run("lease", "import", *state, *trust, code=2)
    run("lease", "import", "swap.onnx", *state, *trust, code=4)
    run("lease", "import", "--code", "ABC", *state, *trust, code=2)
    run("lease", "respond", "swap.onnx", "-o", "x", "--home", "shop", code=4)
    run("lease", "respond", "missing", "-o", "x", "--home", "shop", code=2)
    run("lease", "code", "dev_none", "--home", "shop", code=2)
    assert not Path("x").exists()


def test_no_output_file_is_left_by_a_refusal_and_none_is_overwritten(run, key, here):
    """A return checks its output before it erases anything."""
    run("lease", "request", key, "-o", "req.jwt", "--trust", "shop/trust.json", "--state", "laptop")
    run("lease", "respond", "req.jwt", "-o", "resp", "--home", "shop")
    run("lease", "import", "resp", "--state", "laptop")
    before = Path("resp").read_bytes()
    run("lease", "respond", "req.jwt", "-o", "resp", "--home", "shop", code=2)
    assert Path("resp").read_bytes() == before
    run("lease", "return", "-o", "resp", "--state", "laptop", code=2)
    assert run("status", "--state", "laptop", "--json")["state"] == "ACTIVE"
    assert [path.name for path in here.iterdir() if path.name.startswith(".")] == []


def test_a_refusal_is_an_answer_for_support_and_an_error_for_the_device(run, key, here):
    """``respond`` ends well and says what was refused; ``import`` exits with 3."""
    run("lease", "request", key, "-o", "req.jwt", "--trust", "shop/trust.json", "--state", "laptop")
    listed = run("license", "list", "--home", "shop", "--json")["items"][0]["license_id"]
    run("license", "revoke", listed, "--reason", "chargeback", "--home", "shop")
    made = run("lease", "respond", "req.jwt", "-o", "resp", "--home", "shop", "--json")
    assert made["code"] == "license_revoked"
    refused = run("lease", "import", "resp", "--state", "laptop", "--json", code=3)
    assert (refused["code"], refused["reference"]) == ("license_revoked", made["reference"])


def test_both_commands_of_support_work_on_a_server_elsewhere(run, key, here, monkeypatch):
    """``--server`` with a token of the role support gives the same as ``--home``."""
    run(
        "lease", "request", key, "--next", "64", "-o", "req.jwt", "--trust", "shop/trust.json",
        "--state", "laptop",
    )  # fmt: skip
    assert Path("req.jwt").stat().st_size > 128 * 1024
    token = run("server", "token", "create", "--role", "support", "--home", "shop", "--json")
    with pytest.warns(RunningServerWarning), RunningServer(here) as server:
        monkeypatch.setenv("MODELSEAL_TOKEN", token["token"])
        far = ["--server", server.url, "--home", "shop", "--json"]
        made = run("lease", "respond", "req.jwt", "-o", "resp", *far)
        assert made["next_count"] == 12  # the last one ends with the license, after 90 days
        told = run("lease", "code", made["device_id"], *far)
        monkeypatch.delenv("MODELSEAL_TOKEN")
    run("lease", "import", "resp", "--state", "laptop")
    assert run("lease", "import", "--code", told["code"], "--state", "laptop", "--json")["seq"] == 2


def test_what_commands_say_stands_in_both_languages():
    """The same lines with the same values; none is empty."""
    assert en.SAID.keys() == zh_cn.SAID.keys()
    for name, line in en.SAID.items():
        names = [_fields(text) for text in (line, zh_cn.SAID[name])]
        assert names[0] == names[1], name
        assert "{" not in texts.said(name, **dict.fromkeys(names[0], "x"))


def _fields(line: str) -> set[str]:
    plain = line.replace("[", "").replace("]", "")
    return {name for _, name, _, _ in string.Formatter().parse(plain) if name}
