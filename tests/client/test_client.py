"""What an app, a user and a thief see of the client, against a server that speaks the protocol."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time

import pytest
from tests.client.world import START, Clock, FakeServer, World, computer, foundation, seal, serve

from modelseal import errors
from modelseal.client.transport import Answer
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import (
    AnswerUnsigned,
    ClockSetBack,
    ConfigInvalid,
    DeviceChanged,
    DeviceReturned,
    EulaNotAccepted,
    Forked,
    KeyNotInLease,
    LeaseExpired,
    LicenseKeyMistyped,
    LicenseRevoked,
    LicenseSuspended,
    Misuse,
    ModelsealError,
    NoFreeSeat,
    NotActivated,
    NotEntitled,
    ServerUnreachable,
    StateBusy,
    StateDamaged,
    UnknownLicenseKey,
    WrongDevice,
)
from modelseal.license import license_key

MODEL = seal()
DAY = 86400


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(MODEL)
    return made


@pytest.fixture
def key(world):
    return world.server.issue("face.swap")


@pytest.fixture
def client(world):
    with world.client() as made:
        yield made


@pytest.fixture
def active(client, key):
    client.activate(key, label="workshop")
    return client


def _keys(client, model=MODEL):
    with contextlib.ExitStack() as stack:
        found = client.keys_for(model.file_id, sorted(model.keys))
        for secret in found.values():
            stack.enter_context(secret)
        return {n: secret.reveal() for n, secret in found.items()}


# -- the daily path


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
    assert _keys(active) == MODEL.keys
    with pytest.raises(NotEntitled) as caught:
        _keys(active, other)
    assert caught.value.params["entitlement"] == "face.restore"
    with pytest.raises(KeyNotInLease):
        active.keys_for(b"\0" * 32, [0])
    with pytest.raises(KeyNotInLease):
        active.keys_for(MODEL.file_id, [0, 7])


def test_a_file_published_later_needs_one_renewal_that_happens_by_itself(active, world):
    later = seal("enhance.onnx")
    world.server.publish(later)
    assert _keys(active, later) == later.keys
    assert active.status().lease.seq == 2


def test_a_key_missing_offline_says_so_and_changes_nothing(active, world):
    world.server.down = True
    with pytest.raises(KeyNotInLease):
        active.keys_for(seal("x.onnx").file_id, [0])
    assert _keys(active) == MODEL.keys


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
        _keys(active)
    assert caught.value.params["path"].endswith("lease.jwt")
    world.server.down = False
    active.renew()
    assert _keys(active) == MODEL.keys


def test_a_changed_plan_comes_with_the_next_renewal(active, world, key):
    other = seal("restore.onnx", entitlement="face.restore")
    world.server.publish(other)
    world.server.license_of(key).entitlements.append("face.restore")
    active.renew()
    assert active.status().entitlements == ["face.restore", "face.swap"]
    assert _keys(active, other) == other.keys


def test_many_keys_come_in_a_bundle(world, key):
    world.server.bundled = True
    with world.client() as client:
        client.activate(key)
        assert _keys(client) == MODEL.keys
        assert (world.state / "lease.bundle").exists()
        world.server.down = True
        assert _keys(client) == MODEL.keys
        (world.state / "lease.bundle").write_bytes(b"altered")
        with pytest.raises(ServerUnreachable):
            _keys(client)


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


# -- seats


def test_a_second_state_folder_finds_no_free_seat_and_may_replace(world, active, key, tmp_path):
    """The old folder then learns that its seat is gone, and opens nothing more."""
    with world.client(tmp_path / "second") as second:
        with pytest.raises(NoFreeSeat) as caught:
            second.activate(key)
        holder = caught.value.params["devices"][0]
        assert "workshop" in caught.value.message
        assert holder["label"] == "workshop"
        assert second.status().state == "NOT_ACTIVATED"
        second.activate(key, replace=holder["device_id"])
        assert second.status().state == "ACTIVE"
        assert _keys(second) == MODEL.keys
    with pytest.raises(DeviceReturned):
        active.renew()
    assert active.status().state == "RETURNED"
    with pytest.raises(DeviceReturned):
        _keys(active)


def test_the_same_key_again_on_the_same_device_keeps_its_seat(active, world, key):
    active.activate(key)
    assert active.status().state == "ACTIVE"
    assert len(world.server.devices) == 1


def test_another_license_on_the_same_device_takes_its_place(active, world):
    other = seal("restore.onnx", entitlement="face.restore")
    world.server.publish(other)
    active.activate(world.server.issue("face.restore"))
    assert active.status().entitlements == ["face.restore"]
    assert _keys(active, other) == other.keys


def test_a_refused_second_license_leaves_the_first_in_force(active, world):
    taken = world.server.issue("face.restore")
    world.server.license_of(taken).state = "revoked"
    with pytest.raises(LicenseRevoked):
        active.activate(taken)
    assert active.status().state == "ACTIVE"
    assert _keys(active) == MODEL.keys


# -- giving the seat back


def test_given_back_the_seat_is_free_and_nothing_opens(active, world, key, tmp_path):
    returned = active.deactivate()
    assert returned.seat_free_at == START
    left = {p.name for p in world.state.iterdir()}
    assert not left & {"lease.jwt", "lease.key", "license.jwt", "lease.bundle"}
    assert active.status().state == "RETURNED"
    with pytest.raises(DeviceReturned):
        _keys(active)
    with world.client(tmp_path / "second") as second:
        second.activate(key)


def test_offline_the_seat_is_kept_and_the_lease_goes_on(active, world):
    world.server.down = True
    with pytest.raises(ServerUnreachable):
        active.deactivate()
    assert _keys(active) == MODEL.keys
    world.server.down = False
    active.deactivate()


def test_forgotten_nothing_is_left_even_offline(active, world):
    world.server.down = True
    assert active.deactivate(forget=True).seat_free_at is None
    assert {p.name for p in world.state.iterdir()} <= {"journal", "lock", "trust.json", "catalog"}
    assert active.status().state == "NOT_ACTIVATED"


def test_without_an_activation_there_is_nothing_to_renew_or_give_back(client):
    for act in (client.renew, client.deactivate):
        with pytest.raises(NotActivated):
            act()
    with pytest.raises(NotActivated):
        client.keys_for(MODEL.file_id, [0])


# -- refusals, and what is none


@pytest.mark.parametrize(
    ("state", "error", "shown"),
    [
        ("revoked", LicenseRevoked, "REVOKED"),
        ("suspended", LicenseSuspended, "SUSPENDED"),
        ("expired", errors.LicenseExpired, "EXPIRED"),
    ],
)
def test_a_signed_denial_ends_the_lease_and_erases_its_keys(
    active, world, key, state, error, shown
):
    world.server.license_of(key).state = state
    with pytest.raises(error) as caught:
        active.renew()
    assert active.status().state == shown
    assert active.status().last_refusal.reference == caught.value.reference
    left = {p.name for p in world.state.iterdir()}
    assert "denial.jwt" in left
    assert not left & {"lease.jwt", "lease.bundle"}
    with pytest.raises(error):
        _keys(active)


def test_a_resumed_license_works_again_with_the_next_renewal(active, world, key):
    world.server.license_of(key).state = "suspended"
    with pytest.raises(LicenseSuspended):
        active.renew()
    world.server.license_of(key).state = "active"
    active.renew()
    assert active.status().state == "ACTIVE"
    assert _keys(active) == MODEL.keys
    assert not (world.state / "denial.jwt").exists()


def _portal(method, path):
    return Answer(200, {"content-type": "text/html"}, b"<title>Hotel</title>")


@pytest.mark.parametrize(
    "instead",
    [
        _portal,
        lambda m, p: Answer(403, {"content-type": "text/plain"}, b"blocked"),
        lambda m, p: Answer(401, {"content-type": "application/problem+json"},
                            b'{"code":"license_revoked"}'),
        lambda m, p: Answer(302, {"location": "https://evil.example/"}, b""),
        lambda m, p: Answer(500, {}, b""),
        lambda m, p: Answer(200, {"content-type": "application/json"}, b"{}"),
        lambda m, p: Answer(403, {"content-type": "application/problem+json"},
                            b'{"code":"license_revoked","denial":"a.b.c"}'),
    ],
)  # fmt: skip
def test_whatever_is_not_signed_changes_nothing(active, world, instead):
    before = {p.name: p.read_bytes() for p in world.state.iterdir() if p.suffix in (".jwt",)}
    world.server.instead = instead
    with pytest.raises(ModelsealError) as caught:
        active.renew()
    assert not isinstance(caught.value, errors.Refused)
    assert {n: (world.state / n).read_bytes() for n in before} == before
    assert _keys(active) == MODEL.keys
    world.server.instead = None
    active.renew()
    assert active.status().lease.seq == 2


def test_a_captive_portal_is_named_as_what_it_is(active, world):
    world.server.instead = _portal
    with pytest.raises(AnswerUnsigned) as caught:
        active.renew()
    assert "Hotel" in caught.value.params["saw"]
    with pytest.raises(AnswerUnsigned):
        active.pull()


def test_a_denial_to_another_question_is_not_believed(active, world, key, tmp_path):
    """An old denial replayed on the network locks no payer out."""
    world.server.license_of(key).state = "suspended"
    recorded = []
    original = world.server._answer

    def record(method, path, body):
        answer = original(method, path, body)
        recorded.append(answer)
        return answer

    world.server._answer = record
    with pytest.raises(LicenseSuspended):
        active.renew()
    world.server.license_of(key).state = "active"
    active.renew()
    world.server.instead = lambda method, path: recorded[0]
    with pytest.raises(errors.AnswerInvalid):
        active.renew()
    assert active.status().state == "ACTIVE"
    assert _keys(active) == MODEL.keys


def test_an_old_lease_replayed_by_the_network_is_not_believed(active, world):
    recorded = []
    original = world.server._answer

    def record(method, path, body):
        recorded.append(original(method, path, body))
        return recorded[-1]

    world.server._answer = record
    active.renew()
    world.server.instead = lambda method, path: recorded[0]
    with pytest.raises(errors.AnswerInvalid):
        active.renew()
    assert active.status().lease.seq == 2


# -- time


def test_the_state_follows_the_lease_through_its_life(world, active):
    third = 7 * DAY // 3
    seen = []
    for seconds in (0, third + 1, third + 1, third):
        world.clock.pass_(seconds)
        seen.append(active.status().state)
    assert seen == ["ACTIVE", "RENEW_DUE", "OVERDUE", "EXPIRED"]


def test_an_ended_lease_is_renewed_once_at_a_load(world, active):
    world.clock.pass_(8 * DAY)
    assert _keys(active) == MODEL.keys
    assert active.status().lease.seq == 2


def test_many_loads_of_an_ended_lease_ask_the_server_once(world, active, key):
    world.server.license_of(key).state = "expired"
    world.clock.pass_(8 * DAY)
    before = len(world.server.asked)
    for _ in range(20):
        with pytest.raises(errors.LicenseExpired):
            _keys(active)
    assert len(world.server.asked) == before + 1


def test_an_ended_lease_offline_is_refused_and_its_keys_are_erased(world, active):
    world.clock.pass_(8 * DAY)
    world.server.down = True
    with pytest.raises(LeaseExpired):
        _keys(active)
    world.clock.set(-8 * DAY)
    with pytest.raises(ModelsealError):
        world.client().keys_for(MODEL.file_id, [0])
    world.clock.set(8 * DAY)
    world.server.down = False
    assert _keys(world.client()) == MODEL.keys


def test_a_clock_set_back_is_refused_and_recovers_by_itself(world, active):
    world.clock.set(-3600)
    with world.client() as client:
        with pytest.raises(ClockSetBack):
            _keys(client)
        found = client.status().clock
        assert (found.set_back, found.behind_seconds) == (True, 3600)
        world.clock.set(3600)
        assert _keys(client) == MODEL.keys


def test_a_clock_behind_the_trusted_keys_is_named_at_the_first_activation(world, client):
    key = world.server.issue("face.swap")
    world.clock.set(-20 * DAY)
    for ask in (client.activate, client.lookup):
        with pytest.raises(ClockSetBack) as raised:
            ask(key)
        assert raised.value.params["floor"] > raised.value.params["now"]
    world.clock.set(20 * DAY - 200)
    client.activate(key)


def test_five_minutes_behind_are_forgiven(world, active):
    world.clock.set(-299)
    with world.client() as client:
        assert _keys(client) == MODEL.keys


def test_within_a_run_the_clock_cannot_be_set_back(world, active):
    world.clock.pass_(6 * DAY)
    world.clock.set(-6 * DAY)
    assert active.status().state == "OVERDUE"


def test_a_clock_far_ahead_bricks_nothing(world, active):
    world.clock.set(400 * DAY)
    with world.client() as client:
        assert client.status().state == "EXPIRED"
    world.clock.set(-400 * DAY)
    with world.client() as client:
        client.renew()
        assert _keys(client) == MODEL.keys


# -- copies, edits, other computers


def test_a_copied_folder_on_another_computer_does_not_unlock(world, active, tmp_path):
    shutil.copytree(world.state, tmp_path / "copy")
    world.traits = computer("another")
    with world.client(tmp_path / "copy") as thief:
        assert thief.status().state == "ACTIVE"
        with pytest.raises(DeviceChanged) as caught:
            _keys(thief)
        assert set(caught.value.params["traits"]) >= {"smbios_uuid", "machine_id"}
        with pytest.raises(DeviceChanged):
            thief.renew()


def test_a_refused_activation_on_another_computer_puts_the_old_state_back(
    world, active, key, tmp_path
):
    home = world.traits
    world.traits = computer("another")
    with world.client() as moved, pytest.raises(NoFreeSeat):
        moved.activate(key)
    world.traits = home
    with world.client() as back:
        assert _keys(back) == MODEL.keys


def test_the_second_of_two_copies_is_told_that_it_is_one(world, active, key, tmp_path):
    """Found at the copy's first renewal; the key entered again heals it."""
    shutil.copytree(world.state, tmp_path / "copy")
    active.renew()
    with world.client(tmp_path / "copy") as copy:
        with pytest.raises(Forked):
            copy.renew()
        assert copy.status().state == "FORKED"
        with pytest.raises(Forked):
            _keys(copy)
    with pytest.raises(Forked):
        active.renew()
    active.activate(key)
    assert _keys(active) == MODEL.keys


def test_a_backup_restored_in_the_middle_of_a_question_is_no_fork(world, active, tmp_path):
    """The pending question lies in the backup, and the server gives its answer again."""
    world.server.hooks.append(_once("before", "PUT", ServerUnreachable("down")))
    with pytest.raises(ServerUnreachable):
        active.renew()
    shutil.copytree(world.state, tmp_path / "backup")
    active.renew()
    shutil.rmtree(world.state)
    shutil.copytree(tmp_path / "backup", world.state)
    with world.client() as restored:
        restored.renew()
        assert restored.status().lease.seq == 2
        assert _keys(restored) == MODEL.keys


def _once(when, method, error):
    left = [error]

    def hook(moment, verb, path):
        if (moment, verb) == (when, method) and left:
            raise left.pop()

    return hook


FILES = ["license.jwt", "lease.jwt", "lease.key", "device.key", "state.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "huge", "noise"])
def test_an_edited_file_is_named_and_the_way_out_works(world, active, key, name, damage):
    place = world.state / name
    data = place.read_bytes()
    middle = len(data) // 2
    place.write_bytes({
        "empty": b"",
        "cut": data[:middle],
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "huge": data * 1 + b" " * (5 << 20),
        "noise": b"\xff\xfe\x00" * 50,
    }[damage])  # fmt: skip
    world.server.down = True
    with world.client() as client:
        with pytest.raises(errors.InvalidBytes) as caught:
            client.status()
            _keys(client)
        assert caught.value.code == "state_damaged"
        assert name in caught.value.params["path"]
        assert caught.value.next_step
        world.server.down = False
        world.server.license_of(key).seats = 2
        client.activate(key)
        assert _keys(client) == MODEL.keys


@pytest.mark.parametrize("damage", [b"", b"noise" * 30])
def test_keys_that_are_gone_are_fetched_by_the_load_that_needs_them(world, active, damage):
    """Erased while the clock was wrong, or damaged: one renewal, and a note in the journal."""
    (world.state / "lease.key").write_bytes(damage)
    with world.client() as client:
        assert _keys(client) == MODEL.keys
        assert client.status().lease.seq == 2
        kinds = [(entry["kind"], entry.get("file")) for entry in client.journal.read()]
        assert ("state_damaged", "lease.key") in kinds


@pytest.mark.parametrize("name", ["license.jwt", "lease.jwt", "lease.key", "state.json"])
def test_a_deleted_file_comes_back_with_a_renewal(world, active, name):
    (world.state / name).unlink()
    with world.client() as client:
        client.renew()
        assert client.status().state == "ACTIVE"
        assert _keys(client) == MODEL.keys


def test_a_lease_of_another_device_is_not_taken(world, active, key, tmp_path):
    world.server.license_of(key).seats = 2
    with world.client(tmp_path / "second") as second:
        second.activate(key)
    (world.state / "lease.jwt").write_bytes((tmp_path / "second" / "lease.jwt").read_bytes())
    with pytest.raises(WrongDevice):
        _keys(active)


def test_a_trust_of_another_publisher_in_the_folder_is_not_believed(world, active):
    stranger = foundation.__wrapped__()
    (world.state / "trust.json").write_bytes(stranger.trust.raw)
    with world.client() as client:
        assert client.trust.raw == foundation().trust.raw
        assert _keys(client) == MODEL.keys


def test_a_state_folder_of_another_product_is_refused(world, active):
    other = foundation("another").trust.raw
    from modelseal.client import Client

    with (
        Client(state=world.state, trust=other, ports=world.ports(), background=False) as client,
        pytest.raises(ConfigInvalid),
    ):
        client.status()


def test_the_state_remembers_server_and_trust(world, active):
    from modelseal.client import Client

    with Client(state=world.state, ports=world.ports(), background=False) as client:
        assert client.status().product == "facefusion"
        client.renew()
        assert _keys(client) == MODEL.keys


# -- secrets


def test_no_key_lies_in_clear_on_the_disk(world, active, key):
    """Neither data keys, nor the KEM keys made on the way, nor the license key."""
    made = []
    original = KemPrivateKey.generate

    def generate():
        made.append(original())
        return made[-1]

    KemPrivateKey.generate = generate
    try:
        active.renew()
        active.renew()
    finally:
        KemPrivateKey.generate = original
    active.pull()
    content = b"".join(p.read_bytes() for p in world.state.rglob("*") if p.is_file())
    secrets = [*MODEL.keys.values(), *(k.to_bytes() for k in made), key.encode()]
    secrets += [k.to_bytes()[64:] for k in made] + [license_key.parse(key)]
    assert made
    assert all(secret not in content for secret in secrets)


def test_the_journal_tells_what_happened_without_secrets(world, active, key):
    world.server.license_of(key).state = "revoked"
    with pytest.raises(LicenseRevoked) as caught:
        active.renew()
    entries = active.journal.read()
    assert [e["kind"] for e in entries][:1] == ["activated"]
    refused = [e for e in entries if e["kind"] == "refused"]
    assert len(refused) == 1
    assert refused[0]["reference"] == caught.value.reference
    text = (world.state / "journal").read_text()
    assert key not in text
    for reading in world.traits.readings:
        assert reading.value.reveal().decode() not in text


def test_the_printed_client_shows_no_secret(active, key):
    assert key not in repr(active)
    assert "kem" not in repr(active.standing().held)


# -- two at once


def test_two_activating_at_once_end_with_one_seat(world, key):
    """The second waits for the lock, sees what the first got and takes it."""
    results = []
    world.clock.sleep = lambda seconds: time.sleep(0.01)
    with world.client() as one, world.client() as two:

        def enter(client):
            results.append(client.activate(key).state)

        gate = threading.Barrier(2)
        threads = [threading.Thread(target=lambda c=c: (gate.wait(), enter(c))) for c in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == ["ACTIVE", "ACTIVE"]
        assert _keys(one) == _keys(two) == MODEL.keys
    assert len(world.server.devices) == 1


def test_two_renewing_at_once_ask_once_and_never_fork(world, active):
    entered, go = threading.Event(), threading.Event()

    def slow(when, method, path):
        if (when, method) == ("before", "PUT"):
            entered.set()
            go.wait(5)

    world.server.hooks.append(slow)
    world.clock.sleep = lambda seconds: go.wait(0.01)
    with world.client() as other:
        first = threading.Thread(target=active.renew)
        first.start()
        entered.wait(5)
        second = threading.Thread(target=other.renew)
        second.start()
        go.set()
        first.join()
        second.join()
        assert active.status().lease.seq in (2, 3)
        assert _keys(active) == _keys(other) == MODEL.keys
    assert [d.state for d in world.server.devices.values()] == ["active"]


def test_a_lock_held_for_too_long_is_busy(world, active):
    code = (
        "import sys, time; from pathlib import Path; from modelseal.client import lock\n"
        "with lock.exclusive(Path(sys.argv[1]), timeout_seconds=1, monotonic=time.monotonic,"
        " sleep=time.sleep):\n"
        "    print('in', flush=True); sys.stdin.readline()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(world.state)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "in\n"
        with pytest.raises(StateBusy):
            active.renew()
        assert _keys(active) == MODEL.keys
    finally:
        child.communicate("\n")


# -- folders that refuse


def test_a_folder_that_cannot_be_written_is_named(world, key, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with world.client(tmp_path / "file" / "state") as client:
        assert client.status().state == "NOT_ACTIVATED"
        with pytest.raises(errors.StateNotWritable) as caught:
            client.activate(key)
    assert str(tmp_path / "file") in caught.value.params["path"]


def test_a_full_disk_leaves_the_old_lease_in_force(world, active):
    from modelseal.client.folder import Folder

    class Full(Folder):
        full = True

        def _write_through(self, path, data):
            if Full.full:
                raise OSError(28, "No space left on device")
            super()._write_through(path, data)

    world.make_folder = Full
    with world.client() as client:
        with pytest.raises(errors.DiskFull):
            client.renew()
        assert client.status().lease.seq == 1
        assert _keys(client) == MODEL.keys
        Full.full = False
        client.renew()
        assert client.status().lease.seq == 2


# -- pull


def test_pull_fetches_all_that_is_granted_under_its_name(world, active, tmp_path):
    world.server.publish(seal("restore.onnx", entitlement="face.restore"))
    told = []
    pulled = active.pull(tmp_path / "m", on_progress=lambda *step: told.append(step))
    assert [(m.name, m.outcome) for m in pulled.models] == [("swap.onnx", "downloaded")]
    assert pulled.not_granted == ("restore.onnx",)
    assert (tmp_path / "m" / "swap.onnx").read_bytes() == MODEL.data
    assert told[-1] == (len(MODEL.data), len(MODEL.data), "swap.onnx")
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["swap.onnx"]


def test_what_is_there_is_not_fetched_again(world, active, tmp_path):
    active.pull(tmp_path)
    before = len(world.server.asked)
    assert active.pull(tmp_path).models[0].outcome == "present"
    assert not [p for _, p in world.server.asked[before:] if "/blobs/" in p]


def test_a_damaged_file_is_fetched_again(world, active, tmp_path):
    active.pull(tmp_path)
    place = tmp_path / "swap.onnx"
    data = bytearray(place.read_bytes())
    data[-100] ^= 1
    place.write_bytes(data)
    assert active.pull(tmp_path).models[0].outcome == "downloaded"
    assert place.read_bytes() == MODEL.data


def test_a_newer_release_replaces_the_older(world, active, tmp_path):
    active.pull(tmp_path)
    newer = seal(release=2, min_release=2)
    world.server.publish(newer)
    pulled = active.pull(tmp_path)
    assert (pulled.models[0].release, pulled.renewed) == (2, True)
    assert (tmp_path / "swap.onnx").read_bytes() == newer.data
    assert active.min_release("swap") == 2
    assert _keys(active, newer) == newer.keys


def test_a_plain_file_in_the_way_is_never_overwritten(world, active, tmp_path):
    (tmp_path / "swap.onnx").write_bytes(b"my own work")
    with pytest.raises(errors.OutputExists):
        active.pull(tmp_path)
    assert (tmp_path / "swap.onnx").read_bytes() == b"my own work"


def test_a_catalog_that_goes_back_is_refused(world, active, tmp_path):
    world.server.publish(seal("b.onnx"))
    active.pull(tmp_path)
    world.server.version -= 1
    with pytest.raises(errors.InvalidBytes):
        active.pull(tmp_path)


def test_a_catalog_signed_by_somebody_else_is_refused(world, active, tmp_path):
    world.server = FakeServer(world.clock, founded=foundation.__wrapped__())
    world.server.publish(MODEL)
    active._core._transport = world.server
    with pytest.raises(errors.CatalogInvalid):
        active.pull(tmp_path)
    assert list(tmp_path.glob("*.onnx")) == []


def test_pull_without_a_license_is_refused(client):
    with pytest.raises(NotActivated):
        client.pull()


@pytest.mark.parametrize("name", ["../evil.onnx", "/etc/evil", "a/../../b", "C:\\x", ".hidden", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(name):
    from modelseal.client.pull import safe_name

    with pytest.raises(errors.CatalogInvalid):
        safe_name(name)


def test_the_status_is_json_for_a_program(active):
    import msgspec

    told = json.loads(msgspec.json.encode(active.status()))
    assert told["state"] == "ACTIVE"
    assert told["lease"]["expires_at"].endswith("Z")


def test_only_errors_of_the_tree_leave(world, active):
    world.server.instead = lambda method, path: 1 / 0
    with pytest.raises(errors.InternalError) as caught:
        active.renew()
    assert caught.value.exit_code == 1


__all__ = ["Clock", "serve"]
