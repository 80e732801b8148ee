"""A publisher's commands beyond the daily path: what each answers, to people and to programs."""

from __future__ import annotations

import json
import platform
import zipfile
from pathlib import Path

import pytest
from tests.cli.world import Shop, here, serving

from modelseal.client import Client, Ports
from modelseal.client.transport import HttpTransport
from modelseal.license.claims import RequestClaims


@pytest.fixture(scope="module")
def sold(shop, tmp_path_factory):
    """A device of the shop, its license and its state folder."""
    state = tmp_path_factory.mktemp("customer") / "laptop"
    key, license_id = shop.issue()
    ran = here("activate", key, *shop.names, "--label", "studio", "--state", state, "--json")
    assert ran.code == 0, ran
    return state, license_id, ran.json["device_id"]


def _told(*args: object) -> str:
    """What a person reads on stdout; the same command with ``--json`` answers one object."""
    ran = here(*args)
    assert ran.code == 0, ran
    assert here(*args, "--json").json
    return ran.out


def test_lists_show_what_there_is_with_ids_that_can_be_copied(shop, sold):
    _, license_id, device_id = sold
    home = ("--home", shop.home)
    assert "swap.onnx" in _told("model", "list", *home)
    assert license_id in _told("license", "list", *home, "--all")
    assert device_id in _told("device", "list", "--license", license_id, *home)
    assert device_id in _told("license", "show", license_id, *home)
    assert "studio" in _told("device", "show", device_id, *home)
    assert "trial" in _told("plan", "list", *home)
    assert "face.swap" in _told("plan", "show", "trial", *home)
    assert "timestamp" in _told("catalog", "list", *home)
    assert "ML-DSA-65" in _told("keys", "list", *home)
    assert "license_issued" in _told("audit", "list", "--subject", license_id, *home)
    assert "activate" in _told("license", "explain", license_id, *home)


def test_a_list_for_programs_says_where_the_next_page_begins(shop):
    found = shop.do("license", "list")
    assert sorted(found) == ["items", "next_cursor"]
    assert sorted(shop.do("audit", "list", "--all")) == ["items", "next_cursor"]


def test_an_empty_list_is_no_data_on_stdout(shop):
    ran = here("license", "list", "--customer", "nobody@example.com", "--home", shop.home)
    assert (ran.code, ran.out, ran.err) == (0, "", "Licenses: none.\n")


def test_verify_tells_every_kind_of_ours_by_its_bytes(shop, sold, tmp_path):
    state, license_id, _ = sold
    trust = ("--trust", shop.trust)
    (tmp_path / "odd.name").write_bytes((shop.home.parent / "swap.onnx.sealed").read_bytes())
    model = here("verify", tmp_path / "odd.name", *trust, "--json").json
    assert (model["kind"], model["verified"], model["model"]) == ("sealed model", True, "swap")
    for name, kind in (
        ("lease.jwt", "lease+jwt"),
        ("license.jwt", "license+jwt"),
        ("trust.json", "modelseal-trust"),
    ):
        found = here("verify", state / name, *trust, "--json").json
        assert (found["kind"], found["verified"]) == (kind, True)
    assert "genuine" in here("verify", state / "lease.jwt", *trust).err
    assert here("verify", state / "license.jwt", *trust, "--json").json["sub"] == license_id


def test_verify_shows_a_request_of_any_operation(shop, sold, tmp_path):
    """A renewal's request introduces no device, and is genuine all the same."""
    state, _, _ = sold
    seen = []

    class Watched(HttpTransport):
        def exchange(self, method, path, *, body=None, **more):
            seen.append(body)
            return super().exchange(method, path, body=body, **more)

    with Client(state=state, background=False, ports=Ports(transport=Watched)) as client:
        client.renew()
    (request,) = (body for body in seen if body)
    (tmp_path / "request").write_bytes(request)
    found = here("verify", tmp_path / "request", "--trust", shop.trust, "--json").json
    assert (found["kind"], found["op"]) == (RequestClaims.TYP, "renew")


def test_what_is_not_genuine_is_told_apart_by_its_code(shop, tmp_path):
    trust = ("--trust", shop.trust, "--json")
    sealed = (shop.home.parent / "swap.onnx.sealed").read_bytes()

    def judged(data: bytes) -> str:
        (tmp_path / "file").write_bytes(data)
        ran = here("verify", tmp_path / "file", *trust)
        assert str(tmp_path) in ran.json["message"] or ran.json["code"].startswith("token")
        return ran.refused(ran.json["code"], 4)["code"]

    assert judged(b"") == judged(b"hello") == judged(b"a.b.c") == "not_sealed"
    assert judged(sealed[:100]) == judged(sealed[:-1]) == "container_truncated"
    assert judged(sealed[:200] + bytes([sealed[200] ^ 1]) + sealed[201:]) in {
        "container_signature", "container_malformed",
    }  # fmt: skip
    assert judged(sealed[:-9] + bytes([sealed[-9] ^ 1]) + sealed[-8:]) == "container_damaged"
    root = json.loads(shop.trust.read_text())
    root["keys"]["list"]["keys"].pop()
    assert judged(json.dumps(root).encode()) == "not_sealed"


def test_another_publishers_files_are_told_as_theirs(shop, tmp_path):
    assert here("init", "--home", tmp_path / "other", "--product", "facefusion").code == 0
    trust = ("--trust", tmp_path / "other" / "trust.json", "--json")
    here("verify", shop.home.parent / "swap.onnx.sealed", *trust).refused("wrong_publisher", 4)
    here("verify", shop.trust, *trust).refused("trust_signature", 4)
    home = ("--home", tmp_path / "other", "--json")
    here("model", "publish", shop.home.parent / "swap.onnx.sealed", *home).refused(
        "wrong_publisher", 4
    )


def test_inspect_needs_no_key_and_claims_nothing(shop, sold, tmp_path):
    state, _, _ = sold
    found = here("inspect", shop.home.parent / "swap.onnx.sealed", "--json").json
    assert (found["verified"], found["product"]) == (False, "facefusion")
    assert "swap.onnx" not in json.dumps(found)
    assert here("inspect", state / "lease.jwt", "--json").json["kind"] == "lease+jwt"
    (tmp_path / "plain").write_text("hello")
    here("inspect", tmp_path / "plain", "--json").refused("not_sealed", 4)


def test_the_log_is_proved_from_the_workspace_and_from_an_export(shop, tmp_path):
    export = tmp_path / "log.jsonl"
    home = ("--home", shop.home)
    assert here("audit", "verify", *home, "--json").json["verified"] is True
    made = here("audit", "export", "-o", export, *home)
    assert (made.code, made.out) == (0, "")
    assert here("audit", "verify", export, "--trust", shop.trust, "--json").json["verified"]
    here("audit", "export", "-o", export, *home, "--json").refused("output_exists", 2)
    pytest.importorskip("pyarrow", reason="pip install -r requirements/more.txt")
    table = tmp_path / "log.parquet"
    assert here("audit", "export", "-o", table, *home).code == 0
    assert here("audit", "verify", table, "--trust", shop.trust, "--json").json["verified"]
    lines = export.read_bytes().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[:1] + lines[2:]))
    here("audit", "verify", tmp_path / "cut.jsonl", "--trust", shop.trust, "--json").refused(
        "audit_broken", 4
    )


def test_a_backup_is_proved_and_written_over_nothing(tmp_path):
    home, backup = tmp_path / "shop", tmp_path / "keys.backup"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    told = here("doctor", "--home", home, "--state", tmp_path / "none", "--json")
    assert (told.code, told.json["healthy"]) == (0, False)
    made = here("keys", "backup", backup, "--home", home)
    assert f"recovery-test {backup} --home {home}" in made.err
    here("keys", "backup", backup, "--home", home, "--json").refused("output_exists", 2)
    tested = here("keys", "recovery-test", backup, "--home", home)
    assert tested.code == 0 and "Print that page" in tested.err
    here("keys", "recovery-test", tmp_path, "--home", home, "--json").refused("input_missing", 2)
    named = ("--passphrase", "secret", "--home", home, "--json")
    here("keys", "backup", tmp_path / "x", *named).refused("misuse", 2)
    assert not (tmp_path / "x").exists()


def test_a_passphrase_is_typed_from_the_paper(shell):
    home = shell.folder / "shop"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    kit = home / "recovery-kit.txt"
    words = next(w for w in kit.read_text().split() if w.startswith("MSR-"))
    assert here("keys", "backup", shell.folder / "backup", "--home", home).code == 0
    kit.unlink()
    test = ("keys", "recovery-test", "backup", "--home", "shop", "--json")
    shell(*test, typed="MSR-wrong\n").refused("passphrase_wrong", 3)
    assert words not in shell(*test, typed="MSR-wrong\n").out
    assert shell(*test, typed=f"{words}\n").code == 0
    assert here("doctor", "--home", home, "--state", shell.folder / "none", "--json").json[
        "healthy"
    ]
    restore = ("keys", "restore", "backup", "--home", "again", "--json")
    assert shell(*restore, typed=f"{words}\n").code == 0
    assert (shell.folder / "again" / "trust.json").read_bytes() == (
        home / "trust.json"
    ).read_bytes()


def test_doctor_writes_a_report_without_secrets_and_over_nothing(shop, sold, tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "li-laptop")
    state, _, _ = sold
    report = tmp_path / "report.zip"
    private = {
        "key": "MS-AAAAA-BBBBB-CCCCC-DDDDD", "token": "mst_abcdefghijklmnopqrstuvwxyz",
        "signed": "eyJhbGciOiJFZDI1NTE5In0.eyJpc3MiOiJ4In0.c2lnbmF0dXJl",
        "proxy": "http://li:hunter22@proxy:3128", "mail": "li@example.com",
        "server": "10.20.30.40", "other": "fd12:3456::9", "file": f"{Path.home()}/models/a.onnx",
        "host": f"on {platform.node()} since", "at": "2026-03-01T12:00:00+00:00",
    }  # fmt: skip
    with (state / "journal").open("a") as journal:
        journal.write(json.dumps({"at": private["at"], "kind": "planted", **private}) + "\n")
    ran = here("doctor", "--state", state, "--bundle", report, "--json")
    assert (ran.code, ran.json["healthy"], report.is_file()) == (0, True, True)
    with zipfile.ZipFile(report) as bundle:
        parts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert set(parts) == {"doctor.json", "journal.jsonl", "environment.json"}
    assert "planted" in parts["journal.jsonl"] and private["at"] in parts["journal.jsonl"]
    hidden = [*list(private.values())[:3], "hunter22", *list(private.values())[4:7]]
    for text in (*hidden, str(Path.home()) + "/", platform.node()):
        assert not any(text in part for part in parts.values()), text
    assert all(json.loads(line) for line in parts["journal.jsonl"].splitlines())
    here("doctor", "--bundle", report, "--json").refused("output_exists", 2)
    here("doctor", "--bundle", tmp_path / "no" / "r.zip", "--json").refused("input_missing", 2)


def test_every_publisher_command_also_works_against_a_server(shop, shell):
    """With an access token, from a folder that has trust.json and nothing else."""
    token = shop.do("server", "token", "create", "--role", "owner")["token"]
    (shell.folder / "far").mkdir()
    (shell.folder / "far" / "trust.json").write_bytes(shop.trust.read_bytes())
    there = ("--server", shop.url, "--home", "far", "--json")
    shell("license", "list", *there).refused("misuse", 2)
    shell("license", "list", *there, env={"MODELSEAL_TOKEN": "mst_wrong"}).refused(
        "credential_invalid", 3
    )
    shell.more["MODELSEAL_TOKEN"] = token
    wish = ("--plan", "trial", "--customer", "far@example.com")
    made = shell("license", "issue", *wish, *there).json
    assert made["license_key"].startswith("MS-")
    shown = shell("license", "show", made["license_id"], *there).json
    assert shown["customer"] == "far@example.com"
    shell("plan", "show", "nope", *there).refused("not_found", 2)
    shell("license", "issue", *wish, "--seats", "0", *there).refused("misuse", 2)


@pytest.mark.parametrize(
    "options",
    [
        ("--seats", "0"),
        ("--seats", "99999999999999999999"),
        ("--seats", "-1"),
        ("--customer", ""),
        ("--customer", "x" * 255),
        ("--plan", "a b"),
        ("--expires", "yesterday"),
        ("--expires", "2020-01-01"),
        ("--expires", "0d"),
        ("--metadata", "novalue"),
        ("--label", "x" * 65),
    ],
)
def test_a_license_that_makes_no_sense_is_not_issued(shop, options):
    wish = {"--plan": "trial", "--customer": "odd@example.com", **dict([options])}
    words = [word for pair in wish.items() for word in pair]
    before = shop.do("audit", "list", "--all")["items"]
    here("license", "issue", *words, "--home", shop.home, "--json").refused("misuse", 2)
    assert len(shop.do("audit", "list", "--all")["items"]) == len(before)


def test_a_plan_that_makes_no_sense_is_not_made(shop, tmp_path):
    home = ("--home", shop.home, "--json")
    terms = tmp_path / "terms.json"
    terms.write_text('{"entitlements": [{"id": "a"}], "sets": 3}')
    for more in (
        ("--seats", "0"), ("--lease", "500d"), ("--lease", "soon"), ("--enforcement", "magic"),
        ("--entitlement", "a@L9"), ("--entitlement", "A B"), ("--terms", terms),
    ):  # fmt: skip
        given = ("--entitlement", "a") if more[0] != "--terms" else ()
        ran = here("plan", "create", "odd", *given, *more, *home)
        assert ran.code == 2 and ran.json["code"] in {"misuse", "config_invalid"}, ran
    here("plan", "create", "odd", *home).refused("misuse", 2)
    here("plan", "create", "trial", "--entitlement", "a", *home).refused("conflict", 2)
    here("plan", "show", "odd", *home).refused("not_found", 2)


def test_a_server_starts_on_nothing_that_is_no_workspace_or_not_free(shop, shell):
    address = shop.url.removeprefix("https://")
    here("server", "run", "--home", shop.home, "--listen", address).told(5)
    here("server", "run", "--home", shop.home, "--listen", "nonsense").told(2)
    here("server", "run", "--home", shop.home, "--listen", "0.0.0.0:0").told(2)
    here("server", "run", "--home", shell.folder).told(2)


def test_the_server_runs_with_the_desk_absent(shell):
    """The desk is carried away; licenses are issued and activated all the same."""
    home = shell.folder / "shop"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    (home / "desk").rename(shell.folder / "desk")
    (home / "recovery-kit.txt").unlink()
    with serving(shell, home) as url:
        shop = Shop(home, url)
        shop.do("plan", "create", "trial", "--entitlement", "a")
        options = ("--state", shell.folder / "laptop", "--json")
        assert here("activate", shop.issue()[0], *shop.names, *options).code == 0
        here("seal", shop.trust, "-o", shell.folder / "x", "--entitlement", "a", "--home", home,
             "--json").refused("workspace_missing", 2)  # fmt: skip


def test_the_doctor_looks_at_a_host_that_has_the_servers_half_alone(tmp_path):
    assert here("init", "--home", tmp_path / "shop", "--product", "facefusion").code == 0
    host = tmp_path / "host"
    host.mkdir()
    for name in ("trust.json", "server"):
        (tmp_path / "shop" / name).rename(host / name)
    told = here("doctor", "--home", host, "--json")
    found = {each["what"]: each["grade"] for each in told.json["findings"]}
    assert told.code == 0 and found["trust.json"] == "ok" and "backup" not in found
    assert {"lease key", "certificate", "server/", "key store kek"} <= set(found), found
    assert not [what for what in found if found[what] == "bad" and what != "device"]


def test_what_the_doctor_cannot_look_at_gives_its_exit_code(tmp_path):
    told = here("doctor", "--home", tmp_path / "none", "--json")
    assert (told.code, told.json["healthy"]) == (2, False)
    home = tmp_path / "shop"
    assert here("init", "--home", home, "--product", "facefusion").code == 0
    (home / "trust.json").write_bytes(b"{}")
    told = here("doctor", "--home", home, "--json")
    assert (told.code, told.json["healthy"]) == (4, False)


def test_doctor_measures_this_computer(shell):
    told = shell("doctor", "--bench", "--json")
    assert told.code == 0, told
    names = [each["what"] for each in told.json["measured"]]
    assert "sealed, tag, 1 thread" in names and "seal" in names
    assert told.json["identical"] is None
    assert shell("doctor", "--bench", "--plain", __file__).code == 2
