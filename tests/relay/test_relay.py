"""A device in a closed network lives by a relay, with the client that it has everywhere."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
import urllib.error
import urllib.request

from tests.cli.world import Ran, here
from tests.relay.conftest import Relay


def device(relay: Relay, url: str, *args: object, state: str = "laptop") -> Ran:
    """A command of the device's own, in this process: the relay and the server are others."""
    names = ("--server", url, "--trust", relay.shop.trust, "--state", state)
    with relay.named():
        return here(*args, *names, "--json")


def activated(relay: Relay, url: str, key: str, state: str = "laptop") -> dict:
    device(relay, url, "activate", key, state=state).refused("relay_waiting", 5)
    relay.sync()
    ran = device(relay, url, "activate", key, state=state)
    assert ran.code == 0, ran
    return ran.json


def synced_events(relay: Relay) -> list[dict]:
    named = relay.do("status").json["relay"]
    listed = relay.shop.do("audit", "list", "--subject", named)["items"]
    assert all(event["kind"] == "relay_synced" for event in listed)
    return listed


def test_a_device_activates_renews_pulls_opens_and_returns_through_a_relay(relay):
    key, license_id = relay.shop.issue("pro")
    relay.sync()
    (relay.folder / "tls").mkdir()
    for name in ("server.pem", "server.key"):  # of the authority that the product's trust pins
        shutil.copy(relay.shop.home / "server" / "tls" / name, relay.folder / "tls")
    with relay.run() as url:
        assert url.startswith("https://")
        activated(relay, url, key)
        names = ("--server", url, "--trust", relay.shop.trust, "--state", "laptop")
        said = relay.shell("pull", *names, "--json")  # a process of its own, as everywhere
        assert said.code == 0, said
        assert [model["outcome"] for model in said.json["models"]] == ["downloaded"]
        device(relay, url, "lease", "renew").refused("relay_waiting", 5)
        device(relay, url, "lease", "renew").refused("relay_waiting", 5)  # the same question
        assert relay.do("status").json["waiting"] == 1
        relay.sync()
        renewed = device(relay, url, "lease", "renew")
        assert renewed.code == 0, renewed
        device(relay, url, "deactivate").refused("relay_waiting", 5)
        relay.sync()
        assert device(relay, url, "deactivate").code == 0
    kinds = [e["kind"] for e in relay.shop.do("audit", "list", "--subject", license_id)["items"]]
    assert kinds.count("device_activated") == 1
    assert kinds.count("lease_renewed") == 1 and "device_returned" in kinds
    states = [event["params"]["state"] for event in synced_events(relay)]
    assert states == ["first", "follows", "follows", "follows"]


def test_a_device_goes_on_between_two_syncs_where_the_plan_lets_it(relay, tmp_path):
    lease = {"max_seconds": 3600, "renew_after_seconds": 1}
    terms = {"entitlements": [{"id": "face.swap"}], "lease": lease}
    (tmp_path / "terms.json").write_text(json.dumps(terms))
    name = f"site{time.time_ns()}"
    relay.shop.do("plan", "create", name, "--terms", tmp_path / "terms.json", "--ahead", 3)
    key, _ = relay.shop.issue(name)
    relay.sync()
    with relay.run() as url:
        activated(relay, url, key)
        assert relay.do("status").json["ahead"] == 3
        for _ in range(100):  # the first lease is due after a second
            ran = device(relay, url, "lease", "renew")
            if ran.code == 0:
                break
            ran.refused("relay_waiting", 5)
        assert ran.code == 0 and ran.json["lease"]["seq"] > 1
        assert device(relay, url, "pull").code == 0
    assert relay.do("status").json["released"] == 1
    relay.sync(), relay.sync()
    [listed] = [
        each for each in relay.shop.do("server", "relay", "list", "--all")["items"]
        if each["relay"] == relay.do("status").json["relay"]
    ]  # fmt: skip
    assert (listed["ahead"] > 0, listed["found"]) == (True, 0)


def test_files_carry_what_a_line_carries_and_the_same_file_may_come_twice(relay, tmp_path):
    key, _ = relay.shop.issue("pro")
    with relay.run() as url:
        device(relay, url, "activate", key).refused("relay_waiting", 5)
        assert relay.do("sync", "--write", "out").json["questions"] == 1
        server = ("--server", relay.shop.url, "--trust", relay.shop.trust, "--json")
        for name in ("in", "in-again"):
            ran = relay.shell("server", "relay", "carry", "out", "-o", name, *server)
            assert ran.code == 0 and ran.json["answers"] == 1, ran
        for name in ("in", "in-again", "in"):
            assert relay.do("sync", "--read", name).code == 0
        assert device(relay, url, "activate", key).code == 0
        assert device(relay, url, "pull").code == 0
    assert [event["params"]["state"] for event in synced_events(relay)] == ["first"]
    damaged = bytearray((tmp_path / "in").read_bytes())
    damaged[100] ^= 1
    (tmp_path / "bad").write_bytes(damaged)
    relay.do("sync", "--read", "bad").refused("relay_file_invalid", 4)
    relay.do("sync", "--read", "out").refused("relay_file_invalid", 4)
    other = Relay(relay.shell, relay.shop, tmp_path / "other")
    assert other.do("init", "--trust", relay.shop.trust).code == 0
    other.do("sync", "--read", "in").refused("relay_file_invalid", 4)


def test_a_revocation_reaches_the_closed_network_with_the_next_sync(relay):
    key, license_id = relay.shop.issue("pro")
    relay.sync()
    with relay.run() as url:
        activated(relay, url, key)
        relay.shop.do("license", "revoke", license_id)
        device(relay, url, "lease", "renew").refused("relay_waiting", 5)
        relay.sync()
        device(relay, url, "lease", "renew").refused("license_revoked", 3)
        assert "revoked" in relay.shell("status", "--state", "laptop", "--json").out


def test_seats_are_the_servers_also_through_two_relays(relay, tmp_path):
    key, _ = relay.shop.issue("pro")
    second = Relay(relay.shell, relay.shop, tmp_path / "second")
    assert second.do("init", "--trust", relay.shop.trust).code == 0
    with relay.run() as url, second.run() as other:
        for at, state in ((url, "a"), (url, "b"), (other, "c")):
            device(relay, at, "activate", key, state=state).refused("relay_waiting", 5)
        relay.sync(), second.sync()
        given = [device(relay, at, "activate", key, state=state).code
                 for at, state in ((url, "a"), (url, "b"), (other, "c"))]  # fmt: skip
    assert sorted(given) == [0, 0, 3]


def test_a_copied_relay_is_found_at_its_next_sync(relay, tmp_path):
    relay.sync()
    shutil.copytree(relay.folder, tmp_path / "copy")
    copy = Relay(relay.shell, relay.shop, tmp_path / "copy")
    assert relay.sync()["state"] == "follows"
    assert copy.sync()["state"] == "apart"
    assert relay.sync()["state"] == "apart"
    assert [e["params"]["state"] for e in synced_events(relay)] == [
        "first", "follows", "apart", "apart",
    ]  # fmt: skip


def test_a_copied_device_that_goes_on_is_a_fork_and_is_told_so(relay, tmp_path):
    key, license_id = relay.shop.issue("pro")
    with relay.run() as url:
        relay.sync()
        activated(relay, url, key)
        shutil.copytree(tmp_path / "laptop", tmp_path / "twin")
        for state in ("laptop", "twin"):
            device(relay, url, "lease", "renew", state=state).refused("relay_waiting", 5)
        assert relay.do("status").json["waiting"] == 2
        relay.sync()
        codes = {device(relay, url, "lease", "renew", state=s).code for s in ("laptop", "twin")}
    assert codes == {0, 3}
    kinds = [e["kind"] for e in relay.shop.do("audit", "list", "--subject", license_id)["items"]]
    assert "fork_found" in kinds


def test_a_killed_relay_and_a_server_out_of_reach_lose_nothing(relay):
    key, _ = relay.shop.issue("pro")
    with relay.run(kill=True) as url:
        relay.sync()
        device(relay, url, "activate", key).refused("relay_waiting", 5)
        with contextlib.closing(sqlite3.connect(relay.folder / "relay.sqlite3")) as db:
            assert db.execute("SELECT count(*) FROM questions").fetchone() == (1,)
    line = ("--server", "http://127.0.0.1:9", "--trust", relay.shop.trust)
    relay.do("sync", *line).refused("server_unreachable", 5)
    with relay.shell.start(
        "server", "relay", "sync", relay.folder, "--server", relay.shop.url,
        "--trust", relay.shop.trust,
    ) as process:  # fmt: skip
        time.sleep(0.9)
        process.kill()
    relay.sync()
    with relay.run() as url:
        assert device(relay, url, "activate", key).code == 0


def test_what_a_relay_cannot_do_it_says_and_it_is_no_admin(relay):
    with relay.run() as url:
        for path, code, status in (
            ("/v1/trials", "relay_cannot", 503),
            ("/v1/licenses:lookup", "relay_cannot", 503),
            ("/v1/devices/dev_1/key-releases", "relay_cannot", 503),
            ("/v1/devices/dev_1/key-releases:attest", "relay_cannot", 503),
            ("/v1/admin/licenses", "not_found", 404),
            ("/v1/devices", "token_malformed", 400),
        ):
            assert asked(url + path, b"x") == (status, code)
        for path, status in (
            ("/v1/catalog/timestamp.json", 503), ("/v1/catalog/1.root.json", 404),
            ("/v1/log/checkpoint", 503), ("/v1/blobs/../relay.sqlite3", 404),
            ("/v1/blobs/" + "0" * 64, 404), ("/v1/status-lists/1", 503),
        ):  # fmt: skip
            assert asked(url + path)[0] == status, path
        relay.sync()
        for path in ("/v1/catalog/timestamp.json", "/v1/catalog/1.root.json",
                     "/v1/log/checkpoint", "/.well-known/jwks.json",
                     "/v1/status-lists/1", "/healthz", "/readyz", "/metrics"):  # fmt: skip
            with urllib.request.urlopen(url + path) as answer:
                assert answer.status == 200, path
    relay.shell("server", "token", "create", "--role", "owner", "--server", relay.shop.url,
                "--home", relay.shop.home, "--json").refused("access_denied", 3)  # fmt: skip


def test_an_older_file_does_not_bring_an_older_catalog_back(relay, tmp_path):
    server = ("--server", relay.shop.url, "--trust", relay.shop.trust, "--json")
    assert relay.do("sync", "--write", "out").code == 0
    assert relay.shell("server", "relay", "carry", "out", "-o", "old", *server).code == 0
    relay.shop.do("plan", "create", f"p{time.time_ns()}", "--entitlement", "face.swap")
    assert relay.sync()["documents"] > 0
    size = checkpoint(relay)
    assert relay.do("sync", "--read", "old").code == 0
    assert checkpoint(relay) == size > 0


def test_nothing_in_a_relay_opens_a_model_or_names_a_license_key(relay):
    key, _ = relay.shop.issue("pro")
    with relay.run() as url:
        relay.sync()
        activated(relay, url, key)
    held = b"".join(path.read_bytes() for path in relay.folder.glob("relay.sqlite3*"))
    assert key.encode() not in held and key.replace("-", "").encode() not in held
    assert relay.shell.more["MODELSEAL_TOKEN"].encode() not in held
    assert (relay.folder / "relay.sqlite3").stat().st_mode & 0o077 == 0


def test_beyond_this_computer_a_relay_serves_over_tls_only(relay):
    listen = ("--listen", "0.0.0.0:0")
    ran = relay.shell("server", "relay", "run", relay.folder, *listen)
    assert ran.code == 5 and "certificate" in ran.err


def checkpoint(relay: Relay) -> int:
    with contextlib.closing(sqlite3.connect(relay.folder / "relay.sqlite3")) as db:
        query = "SELECT body FROM documents WHERE path = '/v1/log/checkpoint'"
        return int(bytes(db.execute(query).fetchone()[0]).split(b"\n")[1])


def asked(url: str, body: bytes | None = None) -> tuple[int, str]:
    """Status and code of a call that is refused."""
    headers = {"Content-Type": "application/jwt"}
    request = urllib.request.Request(url, body, headers)
    try:
        urllib.request.urlopen(request).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["code"]
    raise AssertionError(url)
