"""The daily path of an app, and license keys that are entered wrongly."""

from __future__ import annotations

import pytest
from tests.client.activated import MODEL, keys_of
from tests.client.world import seal

from modelseal.errors import (
    EulaNotAccepted,
    KeyNotInLease,
    LicenseKeyMistyped,
    Misuse,
    NotEntitled,
    ServerUnreachable,
    StateDamaged,
    UnknownLicenseKey,
)
from modelseal.license import license_key


def test_activated_the_status_says_everything(active):
    found = active.status()
    assert found.state == "ACTIVE"
    assert (found.product, found.plan, found.label) == ("facefusion", "trial", "workshop")
    assert found.entitlements == ["face.swap"]
    assert (found.lease.seq, found.lease.enforcement, found.days_left) == (1, "software", 7)
    assert (found.binding, found.level, found.level_missing) == ("bound", 0, [])
    assert found.device_id.startswith("dev_")
    assert found.license_id.startswith("lic_")
    assert not found.clock.set_back


def test_the_status_holds_the_members_of_the_design():
    from modelseal.client import Status

    assert list(Status.__struct_fields__)[:13] == [
        "state", "product", "plan", "license_id", "device_id", "label", "entitlements",
        "license_expires_at", "lease", "level", "level_missing", "memory", "last_refusal",
    ]  # fmt: skip


def test_the_keys_of_a_granted_file_are_given_and_only_those(active, world):
    other = seal("restore.onnx", entitlement="face.restore")
    world.server.publish(other)
    assert keys_of(active) == MODEL.keys
    with pytest.raises(NotEntitled) as caught:
        keys_of(active, other)
    assert caught.value.params["entitlement"] == "face.restore"
    with pytest.raises(KeyNotInLease):
        active.keys_for(b"\0" * 32, [0])
    with pytest.raises(KeyNotInLease):
        active.keys_for(MODEL.file_id, [0, 7])


def test_a_file_published_later_needs_one_renewal_that_happens_by_itself(active, world):
    later = seal("enhance.onnx")
    world.server.publish(later)
    assert keys_of(active, later) == later.keys
    assert active.status().lease.seq == 2


def test_a_key_missing_offline_says_so_and_changes_nothing(active, world):
    world.server.down = True
    with pytest.raises(KeyNotInLease):
        active.keys_for(seal("x.onnx").file_id, [0])
    assert keys_of(active) == MODEL.keys


def test_every_renewal_has_a_fresh_nonce_and_a_fresh_key(active, world):
    for _ in range(3):
        active.renew()
    asked = world.server.requests
    assert len({r.nonce for r in asked}) == len(asked) == 4
    assert len({r.kem[0].pub for r in asked}) == 4


def test_an_old_lease_put_back_opens_nothing(active, world):
    old = (world.state / "lease.jwt").read_bytes()
    active.renew()
    (world.state / "lease.jwt").write_bytes(old)
    world.server.down = True
    with pytest.raises(StateDamaged) as caught:
        keys_of(active)
    assert caught.value.params["path"].endswith("lease.jwt")
    world.server.down = False
    active.renew()
    assert keys_of(active) == MODEL.keys


def test_a_changed_plan_comes_with_the_next_renewal(active, world, key):
    other = seal("restore.onnx", entitlement="face.restore")
    world.server.publish(other)
    world.server.license_of(key).entitlements.append("face.restore")
    active.renew()
    assert active.status().entitlements == ["face.restore", "face.swap"]
    assert keys_of(active, other) == other.keys


def test_many_keys_come_in_a_bundle(world, key):
    world.server.bundled = True
    with world.client() as client:
        client.activate(key)
        assert keys_of(client) == MODEL.keys
        assert (world.state / "lease.bundle").exists()
        world.server.down = True
        assert keys_of(client) == MODEL.keys
        (world.state / "lease.bundle").write_bytes(b"altered")
        assert keys_of(client) == MODEL.keys  # opened once for the run
    with world.client() as client, pytest.raises(ServerUnreachable):
        keys_of(client)


@pytest.mark.parametrize("trial", [False, True])
def test_many_keys_need_no_network_after_the_activation(world, key, trial):
    """The bundle comes with it: whoever activates and takes the train can work."""
    world.server.bundled = True
    with world.client() as client:
        client.start_trial("trial") if trial else client.activate(key)
    world.server.down = True
    with world.client() as client:
        assert keys_of(client) == MODEL.keys


def test_a_trial_gives_a_license_key_and_a_lease(client):
    key = client.start_trial("trial", label="me")
    license_key.parse(key)
    assert client.status().state == "ACTIVE"


def test_lookup_takes_no_seat_and_stores_nothing(world, client, key):
    found = client.lookup(key)
    assert (found.plan, found.seats, found.holders) == ("trial", 1, [])
    assert world.server.devices == {}
    assert not (world.state / "device.key").exists()


def test_progress_is_told_at_every_step(client, key):
    told = []
    client.activate(key, on_progress=lambda done, total, name: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


# -- entering a license key wrongly


@pytest.mark.parametrize("text", ["", "MS-", "nonsense", "MS-AAAAA-AAAAA-AAAAA-AAAAA", "x" * 9999])
def test_a_mistyped_key_is_found_offline(world, client, text):
    world.server.down = True
    with pytest.raises(LicenseKeyMistyped) as caught:
        client.activate(text)
    assert caught.value.exit_code == 2
    assert world.server.asked == []


def test_a_wrong_symbol_names_its_group(client, key):
    wrong = key[:9] + ("0" if key[9] != "0" else "1") + key[10:]
    with pytest.raises(LicenseKeyMistyped) as caught:
        client.activate(wrong)
    assert caught.value.params["group"] == 2


def test_a_key_typed_carelessly_is_understood(client, key):
    client.activate(key.lower().replace("-", " ").replace("0", "o"))
    assert client.status().state == "ACTIVE"


def test_an_unknown_key_is_refused_and_the_next_try_works(client, key):
    with pytest.raises(UnknownLicenseKey) as caught:
        client.activate(license_key.generate(lambda n: b"\7" * n))
    assert caught.value.reference
    assert client.status().state == "NOT_ACTIVATED"
    assert client.status().last_refusal.code == "unknown_license_key"
    assert client.status().last_refusal.reference == caught.value.reference
    client.activate(key)
    assert client.status().last_refusal is None


def test_an_agreement_must_be_accepted_by_its_digest(world, client, key):
    world.server.eula = "e" * 43
    with pytest.raises(EulaNotAccepted) as caught:
        client.activate(key)
    assert caught.value.params["digest"] == world.server.eula
    assert client.lookup(key).eula.digest == world.server.eula
    client.activate(key, eula=world.server.eula)
    assert client.status().state == "ACTIVE"


@pytest.mark.parametrize(
    "more", [{"eula": "x"}, {"label": "x" * 65}, {"label": ""}, {"replace": ""}]
)
def test_a_wish_that_makes_no_sense_is_refused_before_anything_is_sent(world, client, key, more):
    with pytest.raises(Misuse):
        client.activate(key, **more)
    assert world.server.asked == []
