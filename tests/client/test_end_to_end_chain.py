"""The client against the real license server: copies, lost replies, many processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from tests.client.real_shop import opens
from tests.client.world import computer

from modelseal import errors
from modelseal.client import Ports
from modelseal.errors import (
    Forked,
    LicenseSuspended,
    ServerUnreachable,
)


def test_a_state_folder_restored_from_a_backup_is_seen_and_heals_with_the_key(shop, make, tmp_path):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    shutil.copytree(tmp_path / "laptop", tmp_path / "backup")
    client.renew()
    client.renew()
    shutil.rmtree(tmp_path / "laptop")
    shutil.copytree(tmp_path / "backup", tmp_path / "laptop")
    restored = make()
    with pytest.raises(Forked):
        restored.renew()
    assert restored.status().state == "FORKED"
    restored.activate(key)
    assert opens(restored, shop.swap)
    assert restored.renew().state == "ACTIVE"


def test_a_copy_of_the_folder_is_found_at_its_first_renewal(shop, make, tmp_path):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    shutil.copytree(tmp_path / "laptop", tmp_path / "copy")
    client.renew()
    with pytest.raises(Forked):
        make("copy").renew()


def test_an_edited_folder_is_named_and_heals_with_the_key(shop, make, tmp_path):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    place = tmp_path / "laptop" / "license.jwt"
    head, body, signature = place.read_text().split(".")
    place.write_text(f"{head}.{body[:-4]}AAAA.{signature}")
    with pytest.raises(errors.StateDamaged) as caught:
        opens(make(), shop.swap)
    assert "license.jwt" in caught.value.params["path"]
    client.activate(key)
    assert opens(client, shop.swap)


@pytest.mark.parametrize("plan", ["trial", "online"])
@pytest.mark.parametrize("act", ["renew", "activate", "return", "load"])
def test_a_number_written_into_the_note_by_hand_locks_nobody_out(shop, make, tmp_path, act, plan):
    """The server knows no such number; what is signed counts then."""
    key, _ = shop.issue(plan)
    client = make()
    client.activate(key)
    place = tmp_path / "laptop" / "state.json"
    place.write_bytes(place.read_bytes().replace(b'"seq":1', b'"seq":77'))
    assert b'"seq":77' in place.read_bytes()
    does = {
        "renew": client.renew,
        "activate": lambda: client.activate(key),
        "return": client.deactivate,
        "load": lambda: opens(client, shop.swap),
    }
    does[act]()
    if act == "return":
        client.activate(key)
    assert client.renew().state == "ACTIVE"
    assert opens(client, shop.swap)


def test_a_lost_reply_of_the_real_server_is_answered_again(shop, make):
    """The connection dies after the server did its work: same lease, no fork."""
    from modelseal.client.transport import HttpTransport

    class Losing(HttpTransport):
        lose = False

        def exchange(self, *args, **more):
            answer = super().exchange(*args, **more)
            if Losing.lose:
                Losing.lose = False
                raise ServerUnreachable("the reply was lost")
            return answer

    traits = computer("loser")
    ports = Ports(traits=lambda: traits, environ={}, transport=Losing)
    client = make(ports=ports)
    key, _ = shop.issue()
    Losing.lose = True
    with pytest.raises(ServerUnreachable):
        client.activate(key)
    assert client.activate(key).lease.seq == 1
    Losing.lose = True
    with pytest.raises(ServerUnreachable):
        client.renew()
    assert client.renew().lease.seq == 2
    assert client.renew().lease.seq == 3
    Losing.lose = True
    with pytest.raises(ServerUnreachable):
        client.deactivate()
    assert client.deactivate().seat_free_at is not None


def test_a_lost_denial_is_told_again(shop, make):
    from modelseal.client.transport import HttpTransport

    class Losing(HttpTransport):
        lose = False

        def exchange(self, *args, **more):
            answer = super().exchange(*args, **more)
            if Losing.lose:
                Losing.lose = False
                raise ServerUnreachable("the reply was lost")
            return answer

    traits = computer("loser")
    client = make(ports=Ports(traits=lambda: traits, environ={}, transport=Losing))
    key, license_id = shop.issue()
    client.activate(key)
    shop.server.admin.suspend_license(license_id, "unpaid")
    Losing.lose = True
    with pytest.raises(ServerUnreachable):
        client.renew()
    with pytest.raises(LicenseSuspended):
        client.renew()
    shop.server.admin.resume_license(license_id)
    assert client.renew().state == "ACTIVE"
    assert opens(client, shop.swap)


PROGRAM = """
import json, sys
from tests.client.world import computer
from modelseal.client import Client, Ports
from modelseal.errors import ModelsealError
url, trust, state, what, key = sys.argv[1:]
traits = computer("shared")
client = Client(state=state, server=url, trust=trust, background=False,
                ports=Ports(traits=lambda: traits, environ={}))
print("ready", flush=True)
sys.stdin.readline()
try:
    status = client.activate(key) if what == "activate" else client.renew()
    print(json.dumps([str(status.state), status.lease.seq, status.device_id]))
except ModelsealError as error:
    print(json.dumps([error.code, 0, ""]))
"""


def _at_once(shop, state, what, key, count=3):
    arguments = [shop.server.url, str(shop.server.trust), str(state), what, key]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(count)
    ]  # fmt: skip
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    return [json.loads(child.communicate(timeout=300)[0]) for child in children]


@pytest.mark.parametrize(
    ("plan", "acts"),
    [("trial", ["renew"]), ("online", ["release"]), ("online", ["renew", "release"]),
     ("online", ["release", "renew"]), ("trial", ["return"])],
)  # fmt: skip
def test_a_denial_that_was_lost_and_is_no_longer_true_makes_no_fork(shop, make, plan, acts):
    """Suspended, the refusal lost on the way, resumed: the same question brings the lease."""
    from modelseal.client.transport import HttpTransport

    class Losing(HttpTransport):
        lose = False

        def exchange(self, method, path, **more):
            answer = super().exchange(method, path, **more)
            if Losing.lose and method in ("PUT", "POST"):
                raise ServerUnreachable("the reply was lost")
            return answer

    key, license_id = shop.issue(plan)
    traits = computer("loser")
    client = make(ports=Ports(traits=lambda: traits, environ={}, transport=Losing))
    client.activate(key)
    does = {
        "renew": client.renew,
        "release": lambda: client.keys_for(shop.swap, [0]),
        "return": client.deactivate,
    }
    shop.server.admin.suspend_license(license_id, "unpaid")
    Losing.lose = True
    for act in acts:
        with pytest.raises(ServerUnreachable):
            does[act]()
    Losing.lose = False
    shop.server.admin.resume_license(license_id)
    if acts == ["return"]:
        client.activate(key)
    assert client.renew().state == "ACTIVE"
    assert opens(client, shop.swap)


def test_processes_that_activate_and_renew_at_once_take_turns(shop, make, tmp_path):
    key, license_id = shop.issue()
    activated = _at_once(shop, tmp_path / "shared", "activate", key)
    assert {state for state, _, _ in activated} == {"ACTIVE"}
    assert len({device for _, _, device in activated}) == 1
    renewed = _at_once(shop, tmp_path / "shared", "renew", key)
    assert {state for state, _, _ in renewed} == {"ACTIVE"}
    traits = computer("shared")
    client = make("shared", ports=Ports(traits=lambda: traits, environ={}))
    assert client.renew().state == "ACTIVE"
    assert opens(client, shop.swap)
    devices = shop.server.admin.list_devices(license_id).items
    assert len(devices) == 1
