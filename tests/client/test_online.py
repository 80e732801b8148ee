"""Online leases: one contact brings a run its keys, memory alone holds them, and they end."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.world import World, seal

from modelseal.client.runkeys import RunKeys
from modelseal.errors import (
    ClientClosed,
    KeyNotInLease,
    LeaseExpired,
    LicenseRevoked,
    LicenseSuspended,
    ModelsealError,
    NotEntitled,
    ServerUnreachable,
)

MODELS = [seal("swap.onnx"), seal("detect.onnx"), seal("mesh.onnx")]
SWAP = MODELS[0]
LIFE = 6 * 3600


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(*MODELS)
    made.server.enforcement = "online"
    made.server.lease_seconds = LIFE
    return made


@pytest.fixture
def key(world):
    return world.server.issue("face.swap")


@pytest.fixture
def client(world, key):
    with world.client() as made:
        made.activate(key)
        yield made


def _keys(client, model=SWAP):
    secrets = client.keys_for(model.file_id, sorted(model.keys))
    found = {number: secret.reveal() for number, secret in secrets.items()}
    for secret in secrets.values():
        secret.close()
    return found


def _releases(world):
    return sum(path.endswith("/key-releases") for _, path in world.server.asked)


def _beats(client, world, seconds):
    until = world.clock.ticks + seconds
    while world.clock.ticks < until:
        wait = client._keeper.beat()
        world.clock.pass_(max(min(wait, until - world.clock.ticks), 0.5))


# -- one contact


def test_after_its_first_contact_a_run_loads_as_often_as_it_likes_without_network(world, client):
    assert _keys(client) == SWAP.keys
    asked = len(world.server.asked)
    world.server.down = True
    for _ in range(20):
        assert _keys(client) == SWAP.keys
        assert client.keys_for(SWAP.file_id, [0])[0].reveal() == SWAP.keys[0]
    assert len(world.server.asked) == asked
    assert _releases(world) == 1


def test_with_a_catalog_the_first_load_brings_the_keys_of_every_granted_model(
    world, client, tmp_path
):
    client.pull(tmp_path / "models")
    assert _keys(client) == SWAP.keys
    world.server.down = True
    for model in MODELS:
        assert _keys(client, model) == model.keys
    assert _releases(world) == 1


def test_without_a_catalog_each_model_is_asked_for_once(world, client):
    for model in MODELS * 3:
        assert _keys(client, model) == model.keys
    assert _releases(world) == len(MODELS)


def test_many_threads_loading_at_once_ask_once(world, client):
    ready = threading.Barrier(12)
    found = []

    def load():
        ready.wait()
        found.append(_keys(client))

    threads = [threading.Thread(target=load) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SWAP.keys] * 12
    assert _releases(world) == 1


def test_what_the_license_does_not_grant_is_not_delivered(world, client):
    other = seal("restore.onnx", entitlement="face.restore")
    world.server.publish(other)
    assert _keys(client) == SWAP.keys
    with pytest.raises(NotEntitled):
        _keys(client, other)
    assert client._core.run_keys.pick(client._core.held().lease.jti, other.file_id, [1]) is None


def test_each_run_asks_for_itself(world, client):
    _keys(client)
    with world.client() as another:
        assert _keys(another) == SWAP.keys
    assert _releases(world) == 2


# -- nothing is stored


@pytest.mark.parametrize("bundled", [False, True])
def test_no_file_of_the_state_folder_changes_by_a_release(world, client, bundled):
    world.server.bundled = bundled
    before = {p.name: p.read_bytes() for p in world.state.iterdir() if p.is_file()}
    assert _keys(client) == SWAP.keys
    after = {p.name: p.read_bytes() for p in world.state.iterdir() if p.is_file()}
    assert after == before
    assert "lease.bundle" not in after


# -- they end


def test_the_keys_follow_the_lease_as_it_is_renewed_and_no_load_waits_for_it(world, client):
    """Each renewal by the background is followed by one key release, for the new lease."""
    _keys(client)
    seq = client.status().lease.seq
    _beats(client, world, 3 * LIFE)
    renewed = client.status().lease.seq - seq
    assert renewed >= 3
    assert _releases(world) == 1 + renewed
    world.server.down = True
    assert _keys(client) == SWAP.keys


def test_a_renewal_by_another_process_is_followed_too(world, client):
    _keys(client)
    with world.client() as another:
        another.renew()
    client._keeper.beat()
    world.server.down = True
    assert _keys(client) == SWAP.keys


def test_a_plan_that_grants_less_takes_the_keys_with_its_next_lease(world, client, key):
    _keys(client)
    world.server.license_of(key).entitlements = ["face.restore"]
    client.renew()
    assert client._core.run_keys.pick(client._core.held().lease.jti, SWAP.file_id, [1]) is None


def test_a_revoked_license_takes_the_keys_of_a_running_client_within_five_minutes(
    world, client, key
):
    _keys(client)
    _beats(client, world, 1000)
    assert _keys(client) == SWAP.keys
    world.server.license_of(key).state = "revoked"
    _beats(client, world, 301)
    assert client._core.run_keys.lease is None
    with pytest.raises(LicenseRevoked):
        _keys(client)


def test_a_suspended_license_takes_the_keys_and_resumed_it_brings_them_back(world, client, key):
    _keys(client)
    world.server.license_of(key).state = "suspended"
    with pytest.raises(LicenseSuspended):
        client.renew()
    assert client._core.run_keys.lease is None
    world.server.license_of(key).state = "active"
    client.renew()
    world.server.down = True
    assert _keys(client) == SWAP.keys


def test_when_the_lease_ends_the_keys_are_wiped_also_offline(world, client):
    _keys(client)
    world.server.down = True
    _beats(client, world, LIFE - 60)
    assert _keys(client) == SWAP.keys
    _beats(client, world, 120)
    assert client._core.run_keys.lease is None
    with pytest.raises(LeaseExpired):
        _keys(client)


def test_a_clock_set_back_within_a_run_prolongs_nothing(world, client):
    _keys(client)
    world.server.down = True
    world.clock.pass_(LIFE - 60)
    world.clock.set(-LIFE)
    assert _keys(client) == SWAP.keys
    world.clock.pass_(120)
    with pytest.raises(LeaseExpired):
        _keys(client)
    assert client._core.run_keys.lease is None


def test_a_renewal_whose_keys_cannot_be_fetched_is_made_good_by_the_next_beat(world, client):
    _keys(client)

    def cut(when, method, path):
        if path.endswith("/key-releases") and when == "before":
            raise ServerUnreachable("cut")

    world.server.hooks.append(cut)
    client.renew()
    assert client._core.run_keys.lease is None
    world.server.hooks.clear()
    client._keeper.beat()
    world.server.down = True
    assert _keys(client) == SWAP.keys


@pytest.mark.parametrize("act", ["deactivate", "close"])
def test_given_back_or_closed_no_key_is_left(world, client, act):
    _keys(client)
    getattr(client, act)()
    assert client._core.run_keys.lease is None
    with pytest.raises(ModelsealError) as caught:
        _keys(client)
    assert caught.value.code == {"deactivate": "device_returned", "close": "client_closed"}[act]


def test_keys_that_arrive_after_close_are_not_kept(world, client):
    world.server.hooks.append(
        lambda when, method, path: client.close() if when == "after" else None
    )
    with pytest.raises(KeyNotInLease):
        _keys(client)
    assert client._core.run_keys.lease is None


# -- processes


def test_a_renewal_by_another_process_cannot_make_a_release_an_old_question(world, key):
    """The release waits for the renewal and then names the new lease: no refusal, no fork."""
    entered, go = threading.Event(), threading.Event()

    def hold(when, method, path):
        if when == "before" and method == "PUT":
            entered.set()
            go.wait(60)

    world.server.hooks.append(hold)
    world.clock.sleep = lambda _seconds: go.wait(0.01)
    found = []
    with world.client() as client, world.client() as another:
        client.activate(key)
        renewing = threading.Thread(target=another.renew)
        renewing.start()
        assert entered.wait(60)
        loading = threading.Thread(target=lambda: found.append(_keys(client)))
        loading.start()
        loading.join(0.2)
        go.set()
        renewing.join(60)
        loading.join(60)
        assert found == [SWAP.keys]
        assert client.renew().state == "ACTIVE"


def test_a_denial_is_told_where_the_folder_cannot_be_written(world, client, key):
    _keys(client)
    world.server.license_of(key).state = "revoked"
    with world.client() as another:
        (world.state / "lock").unlink()
        (world.state / "lock").mkdir()
        with pytest.raises(LicenseRevoked):
            _keys(another)
        assert another._core.run_keys.lease is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_no_key_of_its_parent_and_leaves_the_parents_alone(world, client):
    _keys(client)
    pid = os.fork()
    if pid == 0:
        empty = client._core.run_keys.lease is None and _releases(world) == 1
        fetched = empty and _keys(client) == SWAP.keys and _releases(world) == 2
        client._core.run_keys.wipe()
        os._exit(0 if fetched else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    world.server.down = True
    assert _keys(client) == SWAP.keys


# -- the memory


_places = st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 9))
_some = st.dictionaries(_places, st.binary(min_size=32, max_size=32), max_size=8)


@given(st.lists(st.tuples(st.sampled_from("ab"), _some), max_size=5))
def test_only_what_was_kept_for_a_lease_is_given_for_it(steps):
    run, lease, expected = RunKeys(), None, {}
    for name, keys in steps:
        run.keep(name, keys, [file for file, _ in keys])
        expected = {**expected, **keys} if name == lease else dict(keys)
        lease = name
    for (file, section), value in expected.items():
        got = run.pick(lease, file, [section])
        assert got is not None
        assert got[section].reveal() == value
        assert run.pick("another", file, [section]) is None
        assert run.pick(lease, file, [section, 99]) is None
    run.wipe()
    assert all(run.pick(lease, file, [section]) is None for file, section in expected)


def test_a_key_that_was_given_stays_valid_when_the_run_is_wiped():
    """A load in progress ends well; what it holds is its own copy."""
    run = RunKeys()
    run.keep("a", {(bytes(32), 0): b"k" * 32}, [bytes(32)])
    given_ = run.pick("a", bytes(32), [0])
    run.wipe()
    assert given_[0].reveal() == b"k" * 32


def test_closed_means_closed(client):
    client.close()
    client.close()
    assert client.status().state == "ACTIVE"
    for act in (client.renew, client.standing, client.pull, client.deactivate):
        with pytest.raises(ClientClosed) as caught:
            act()
        assert caught.value.next_step
