"""A device whose key is in its TPM: activated there, moved there, and refused elsewhere."""

from __future__ import annotations

import os
import shutil

import pytest
from tests.client.faults import Crash, CrashingFolder, Fuse
from tests.client.real_shop import opens
from tests.client.world import computer
from tests.tpm import emulator, requires_swtpm

from modelseal.client import Client, Ports
from modelseal.client.identity import kind_of
from modelseal.errors import (
    ConfigInvalid,
    Conflict,
    KeyOfAnotherTpm,
    KeyStoreUnavailable,
    ModelsealError,
    NoFreeSeat,
    TpmCleared,
)
from modelseal.tpm2.chip import state

pytestmark = requires_swtpm


@pytest.fixture(scope="module")
def tpm():
    with emulator() as found:
        yield found


@pytest.fixture
def own():
    with emulator() as found:
        yield found


def uri(tpm):
    return f"tpm2://{tpm.address}"


def events(shop, device_id):
    return [each.kind for each in shop.server.admin.list_events(subject=device_id).items]


def holders(shop, license_id):
    return [each.device_id for each in shop.server.admin.list_devices(license_id).items]


def test_a_device_is_activated_with_a_key_in_its_tpm(shop, make, tpm, tmp_path):
    key, _ = shop.issue()
    client = make(device_key=uri(tpm))
    client.activate(key)
    assert client.renew().state == "ACTIVE"
    assert client.status().binding == "bound"
    assert opens(client, shop.swap)
    assert kind_of((tmp_path / "laptop" / "device.key").read_bytes()) == "tpm2"
    assert opens(make(), shop.swap), "the key file says where its TPM is"
    with tpm.connect() as chip:
        assert chip.reap() == 0


def test_a_folder_copied_to_a_computer_with_another_tpm_opens_nothing(
    shop, make, tpm, tmp_path, computers
):
    """Every trait is spoofed: it is the same computer but for the TPM."""
    key, _ = shop.issue()
    make(device_key=uri(tpm)).activate(key)
    shutil.copytree(tmp_path / "laptop", tmp_path / "thief")
    with emulator() as other:
        copy = make("thief", device_key=uri(other))
        with pytest.raises(KeyOfAnotherTpm):
            opens(copy, shop.swap)
        with pytest.raises(KeyOfAnotherTpm):
            copy.renew()
    gone = make("thief", device_key=uri(other))
    with pytest.raises(KeyStoreUnavailable):
        opens(gone, shop.swap)
    with pytest.raises(KeyStoreUnavailable):
        gone.renew()
    assert opens(make(), shop.swap)


def test_a_cleared_tpm_says_so_and_the_license_key_binds_the_device_anew(shop, make, own, tmp_path):
    key, _ = shop.issue()
    client = make(device_key=uri(own))
    client.activate(key)
    device_id = client.status().device_id
    with own.connect() as chip:
        state.clear(chip)
    client = make(device_key=uri(own))
    with pytest.raises(TpmCleared) as told:
        opens(client, shop.swap)
    assert "--replace" in told.value.next_step
    with pytest.raises(NoFreeSeat):
        client.activate(key)
    assert client.activate(key, replace=device_id).state == "ACTIVE"
    assert opens(client, shop.swap)
    assert kind_of((tmp_path / "laptop" / "device.key").read_bytes()) == "tpm2"


def test_device_key_and_lease_open_after_forty_power_cuts(shop, make, own):
    key, _ = shop.issue()
    make(device_key=uri(own)).activate(key)
    for _ in range(40):
        own.kill()
        own.start()
    client = make()
    assert opens(client, shop.swap)
    assert client.renew().state == "ACTIVE"


def test_an_old_lease_put_back_does_not_open_with_the_same_tpm(shop, make, tpm, tmp_path):
    key, _ = shop.issue()
    client = make(device_key=uri(tpm))
    client.activate(key)
    old = (tmp_path / "laptop" / "lease.jwt").read_bytes()
    client.renew()
    (tmp_path / "laptop" / "lease.jwt").write_bytes(old)
    with pytest.raises(ModelsealError):
        make(server="https://127.0.0.1:9").keys_for(shop.swap, [0, 1])


def test_moving_the_key_into_the_tpm_spends_no_seat_and_stands_in_the_log(
    shop, make, tpm, tmp_path
):
    key, _ = shop.issue()
    client = make()
    before = client.activate(key)
    old = (tmp_path / "laptop" / "device.key").read_bytes()
    assert kind_of(old) == "file"
    after = client.move_device(uri(tpm))
    assert (after.device_id, after.state) == (before.device_id, "ACTIVE")
    assert after.lease.seq == before.lease.seq + 1
    assert opens(client, shop.swap) and opens(make(), shop.swap)
    assert client.renew().lease.seq == after.lease.seq + 1
    assert kind_of((tmp_path / "laptop" / "device.key").read_bytes()) == "tpm2"
    assert {p.name for p in (tmp_path / "laptop").iterdir()}.isdisjoint(
        {"successor.key", "device.move"}
    )
    assert events(shop, before.device_id).count("device_rekeyed") == 1
    assert holders(shop, before.license_id) == [before.device_id]


def test_the_old_key_is_retired(shop, make, tpm, tmp_path):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    shutil.copytree(tmp_path / "laptop", tmp_path / "kept")
    client.move_device(uri(tpm))
    with pytest.raises(ModelsealError) as refused:
        make("kept").renew()
    assert refused.value.code == "not_found"  # as for any device that is another's
    assert client.renew().state == "ACTIVE"


def test_a_move_is_asked_for_once_and_of_a_tpm(shop, make, tpm):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    with pytest.raises(ConfigInvalid):
        client.move_device("file:device.key")
    with pytest.raises(KeyStoreUnavailable):
        client.move_device("tpm2:///dev/no-such-tpm")
    assert client.renew().state == "ACTIVE", "what failed has changed nothing"
    client.move_device(uri(tpm))
    with pytest.raises(Conflict):
        client.move_device(uri(tpm))


def test_an_activated_device_is_not_quietly_given_another_key(shop, make, tpm):
    key, _ = shop.issue()
    make().activate(key)
    with pytest.raises(Conflict) as told:
        make(device_key=uri(tpm)).activate(key)
    assert "keys move device" in told.value.detail


def test_a_move_that_is_cut_off_goes_on(shop, make, tpm, tmp_path):
    """A crash at each of some steps; the rest of them in the long run."""
    _cut_off_at(range(0, 200, 9), shop, make, tpm, tmp_path)


@pytest.mark.soak
def test_a_move_that_is_cut_off_anywhere_goes_on(shop, make, tpm, tmp_path):
    _cut_off_at(range(200), shop, make, tpm, tmp_path)


def _cut_off_at(steps, shop, make, tpm, tmp_path):
    """Afterwards one renewal leaves the device with one key that opens, and no other seat."""
    traits = computer(os.urandom(4).hex())
    for number in steps:
        key, license_id = shop.issue()
        place = f"crash{number}"
        client = make(place, ports=Ports(traits=lambda: traits, environ={}))
        device_id = client.activate(key).device_id
        fuse = Fuse(number)
        ports = Ports(
            traits=lambda: traits,
            environ={},
            folder=lambda path, fuse=fuse: CrashingFolder(path, fuse),
        )
        try:
            make(place, ports=ports).move_device(uri(tpm))
        except Crash:
            again = make(place, ports=Ports(traits=lambda: traits, environ={}))
            assert again.renew().state == "ACTIVE", fuse.named[-1]
            assert opens(again, shop.swap), fuse.named[-1]
            assert holders(shop, license_id) == [device_id]
            left = {path.name for path in (tmp_path / place).iterdir()}
            assert left.isdisjoint({"successor.key", "device.move"}), fuse.named[-1]
            continue
        assert number > 20, "the move has hardly any steps"
        return
    raise AssertionError


def test_a_lost_reply_to_a_move_is_answered_again(shop, make, tpm, tmp_path):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    deaf = make()
    real = deaf._core.transport.exchange

    def lose(*args, **more):
        real(*args, **more)
        raise KeyStoreUnavailable("lost")

    deaf._core.transport.exchange = lose
    with pytest.raises(KeyStoreUnavailable):
        deaf.move_device(uri(tpm))
    status = make().renew()
    assert status.state == "ACTIVE" and status.lease.seq == 2
    assert kind_of((tmp_path / "laptop" / "device.key").read_bytes()) == "tpm2"
    assert opens(make(), shop.swap)


def test_the_seat_goes_back_from_a_tpm_too(shop, make, tpm):
    key, _ = shop.issue()
    client = make(device_key=uri(tpm))
    client.activate(key)
    client.deactivate()
    assert client.activate(key).state == "ACTIVE"


def test_settings_name_the_tpm(shop, make, tpm, tmp_path):
    key, _ = shop.issue()
    traits = computer(os.urandom(4).hex())
    ports = Ports(traits=lambda: traits, environ={"MODELSEAL_DEVICE_KEY": uri(tpm)})
    client = make(ports=ports)
    client.activate(key)
    assert kind_of((tmp_path / "laptop" / "device.key").read_bytes()) == "tpm2"
    with pytest.raises(ConfigInvalid):
        Client(state=tmp_path / "x", trust=shop.server.trust, device_key="tpm2:?file=elsewhere")


def test_a_damaged_key_file_of_a_tpm_is_replaced_by_one_in_a_tpm(shop, make, tpm, tmp_path):
    """Never by one in a file, which would be a lower level in silence."""
    key, _ = shop.issue("three")
    make(device_key=uri(tpm)).activate(key)
    path = tmp_path / "laptop" / "device.key"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(KeyStoreUnavailable):
        make().activate(key)  # nobody says which TPM; the computer's own is not there
    assert make(device_key=uri(tpm)).activate(key).state == "ACTIVE"
    assert kind_of(path.read_bytes()) == "tpm2"
