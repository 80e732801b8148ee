"""Leases made ahead: each under a code that counts from the moment it was read out."""

from __future__ import annotations

import datetime
import shutil

import pytest
from tests.server.world import DAY

from modelseal import errors
from modelseal.admin import LicenseChange
from modelseal.desk import workspace as workspaces
from modelseal.ids import CROCKFORD
from modelseal.license import air_gap, lease_code, lease_keys, tokens
from modelseal.license.claims import LeaseClaims
from modelseal.server.services import LocalAdmin, open_server
from modelseal.server.services.actors import LOCAL


@pytest.fixture
def key(shop):
    """A license key of a plan with one seat."""
    shop.plan()
    return shop.license().license_key


@pytest.fixture
def device(gap, key):
    """A device with a lease and three more ahead."""
    made = gap()
    assert made.round(key, next_count=3).next_count == 3
    return made


def test_a_code_read_out_on_the_phone_goes_on_where_the_lease_ends(device, shop):
    """Three codes, three weeks, no file and no network in between."""
    for week in range(1, 4):
        shop.clock.pass_(days=6)
        found = device.type(device.code())
        assert found.seq == 1 + week and found.next_count == 3 - week
        shop.clock.pass_(days=1)
        assert device.opens()
        assert device.client.status().state == "ACTIVE"
    shop.clock.pass_(days=7)
    assert not device.opens()
    assert device.round(next_count=2).seq == 5
    assert device.opens()


def test_each_lease_begins_where_the_one_before_ends(device, shop):
    """Their times join without a gap, their numbers follow, each names the one before."""
    before = device.client.standing().lease
    for _ in range(3):
        device.type(device.code(further=True))
        lease = device.client.standing().lease
        assert (lease.nbf, lease.seq, lease.prev) == (before.exp, before.seq + 1, before.jti)
        assert lease.exp - lease.nbf == 7 * 86400
        assert lease.keys[0].recipient != before.keys[0].recipient
        before = lease


def test_an_ended_lease_is_brought_back_by_a_code(device, shop):
    """The keys of the ended lease are erased; the code opens the next all the same."""
    shop.clock.pass_(days=9)
    assert not device.opens()
    device.type(device.code())
    assert device.opens()


def test_no_code_for_a_revoked_or_expired_license(device, shop):
    """``decide`` is asked when the code is; the refusal stands in the log and can be explained."""
    license_id = device.client.status().license_id
    shop.admin.suspend_license(license_id, "late")
    with pytest.raises(errors.LicenseSuspended) as caught:
        device.code()
    explained = shop.admin.explain(caught.value.reference)
    assert explained.code == "license_suspended" and explained.replayed
    shop.admin.resume_license(license_id)
    assert device.type(device.code()).seq == 2
    shop.admin.revoke_license(license_id)
    with pytest.raises(errors.LicenseRevoked):
        device.code(further=True)


def test_no_code_for_an_expired_license(gap, shop):
    """The license ended while leases were waiting; none of them outlives it."""
    shop.plan()
    key = shop.license(expires_in_seconds=10 * 86400).license_key
    device = gap()
    assert device.round(key, next_count=5).next_count == 1
    shop.clock.pass_(days=6)
    code = device.code()
    found = device.type(code)
    assert found.expires_at == device.client.status().license_expires_at
    shop.clock.pass_(days=4)
    with pytest.raises(errors.LicenseExpired):
        device.code(further=True)
    assert not device.opens()


def test_codes_of_another_plan_are_void(device, shop):
    """What was sealed for the old plan is not given out under the new one."""
    shop.plan("small", "face.none")
    license_id = device.client.status().license_id
    shop.admin.change_license(license_id, LicenseChange(plan="small"))
    with pytest.raises(errors.NoNextLease):
        device.code()


def test_a_code_is_told_again_until_its_lease_is_due(device, shop):
    """A call that broke off costs nothing; ``further`` asks for more at once."""
    first = shop.admin.lease_code(device.id)
    again = shop.admin.lease_code(device.id)
    assert (first.again, again.again, first.code) == (False, True, again.code)
    assert again.seq == first.seq
    shop.clock.now = first.next_from_at
    later = shop.admin.lease_code(device.id)
    assert later.seq == first.seq + 1 and later.code != first.code
    assert shop.admin.lease_code(device.id, further=True).left == 0
    shop.clock.now = later.expires_at + 8 * DAY
    with pytest.raises(errors.NoNextLease):
        device.code()


def test_every_code_has_its_event_and_no_code_stands_in_the_log(device, shop):
    """Who read out which lease is recorded; the code itself is nowhere in clear."""
    code = device.code()
    events = shop.events("lease_code_given")
    assert [e.params["seq"] for e in events] == [2]
    assert events[0].actor == LOCAL.name
    text = str(shop.events())
    assert code not in text and code.replace("-", "") not in text
    raw = b"".join(
        path.read_bytes() for path in (shop.home / "server").rglob("*") if path.is_file()
    )
    for written in (code, code.replace("-", ""), code.lower()):
        assert written.encode() not in raw


def test_a_lease_counts_from_the_moment_its_code_was_given_out(device, shop):
    """Until then the device's seat is held to the end of its lease, then to that of the next."""
    ends = shop.admin.show_device(device.id).lease_expires_at
    assert ends == shop.clock() + 7 * DAY
    device.code()
    assert shop.admin.show_device(device.id).lease_expires_at == ends + 7 * DAY
    assert shop.admin.show_device(device.id).seq == 2


def test_a_floating_seat_is_held_for_a_code_and_refused_when_another_has_it(gap, shop):
    """A seat that was let go is taken anew at the moment of the code, or there is no code."""
    shop.plan("float", floating=True)
    key = shop.license("float").license_key
    first, second = gap("first"), gap("second")
    first.round(key, next_count=2)
    shop.clock.pass_(days=7)
    second.round(key)
    with pytest.raises(errors.NoFreeSeat):
        first.code()
    shop.clock.pass_(days=7)
    with pytest.raises(errors.NoNextLease):
        first.code()
    first.round(next_count=1)
    first.code()
    shop.clock.pass_(days=8)
    with pytest.raises(errors.NoFreeSeat):
        second.round()


def test_a_device_that_renewed_meanwhile_gets_no_old_code(device, shop):
    """A new answer ends what was made with the one before, at the server and on the device."""
    old = device.code()
    shop.clock.pass_(days=1)
    assert device.round().seq == 3
    with pytest.raises(errors.NoNextLease):
        device.code()
    with pytest.raises(errors.CodeUnknown):
        device.type(old)
    assert device.seq == 3 and shop.events("fork_found") == []


def test_a_code_that_was_read_out_and_never_typed_is_no_fork(device, shop):
    """The device asks from the lease it has; the server knows that it may."""
    device.code()
    device.code(further=True)
    shop.clock.pass_(days=6)
    assert device.round(next_count=1).seq == 4
    assert shop.events("fork_found") == [] and device.opens()


def test_a_question_under_way_survives_a_code(device, shop):
    """A request lies on a stick, a code comes by phone, then the response to the request."""
    request = device.ask(next_count=2)
    shop.clock.pass_(days=5)
    device.type(device.code())
    again = device.ask(next_count=2)
    assert again.again and again.seq == request.seq == 1
    response = device.answer(request)
    found = device.take(response)
    assert found.seq == 3 and found.next_count == 2
    assert device.round().seq == 4
    assert shop.events("fork_found") == []


def test_a_lost_answer_under_way_survives_a_code_and_a_cable(device, shop):
    """The request was answered after the code and its response lost: online it is given again."""
    request = device.ask()
    device.type(device.code())
    device.answer(request)
    with device.wired():
        device.client.renew()
    assert device.seq == 3 and shop.events("fork_found") == []


def test_a_copy_that_has_not_the_code_is_found_at_the_second_renewal(device, shop, gap):
    """Two branches go on from one lease: whoever renews second is the fork."""
    shutil.copytree(device.state, device.state.with_name("copied") / "laptop")
    twin = gap("copied/laptop")
    device.type(device.code())
    twin.round()
    made = shop.admin.respond(device.ask().token)
    assert made.code == "forked"


def test_a_mistyped_code_names_its_group_and_asks_nobody(device):
    """Every single wrong symbol and every swap of neighbours is located."""
    code = device.code()
    groups = code.split("-")
    for place, group in enumerate(groups):
        for at in range(4):
            for symbol in CROCKFORD:
                if symbol == group[at]:
                    continue
                wrong = group[:at] + symbol + group[at + 1 :]
                typed = "-".join([*groups[:place], wrong, *groups[place + 1 :]])
                with pytest.raises(errors.CodeMistyped) as caught:
                    lease_code.normal(typed)
                assert caught.value.params["group"] == place + 1
    with pytest.raises(errors.CodeMistyped):
        device.type("x" * 200)
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert device.type(typed).seq == 2


def test_a_code_of_another_device_opens_nothing(gap, shop, device):
    """It is well typed and refused with a code of its own; nothing changes."""
    shop.plan("other")
    other = gap("other")
    other.round(shop.license("other").license_key, next_count=1)
    before = device.snapshot()
    with pytest.raises(errors.CodeUnknown):
        device.type(other.code())
    assert device.snapshot() == before
    with pytest.raises(errors.CodeUnknown):
        device.type(lease_code.generate(lambda n: bytes(range(n))))


def test_a_code_that_was_typed_is_not_taken_twice(device):
    """The second time it opens nothing, and nothing changes."""
    code = device.code()
    device.type(code)
    before = device.snapshot()
    with pytest.raises(errors.CodeUnknown):
        device.type(code)
    assert device.snapshot() == before


def test_a_code_is_of_no_use_after_a_denial(device, shop):
    """A code given out before the denial was imported opens nothing after it."""
    code = device.code()
    request = device.ask()
    shop.admin.revoke_device(device.id, "stolen")
    with pytest.raises(errors.DeviceRevoked):
        device.take(device.answer(request))
    with pytest.raises(errors.CodeUnknown):
        device.type(code)
    assert not device.opens()
    with pytest.raises(errors.DeviceRevoked):
        device.code()


def test_a_code_that_came_too_late_is_refused(device, shop):
    """Its lease has ended; nothing is stored."""
    code = device.code()
    shop.clock.pass_(days=15)
    before = device.snapshot()
    with pytest.raises(errors.LeaseExpired):
        device.type(code)
    assert device.snapshot() == before


def test_the_lease_under_a_code_needs_the_code_and_the_device_key(device, shop):
    """What lies in the response is sealed twice; without the code not even its claims show."""
    shop.clock.pass_(days=1)
    response = air_gap.decode(device.answer(device.ask(next_count=2)))
    assert [n.place for n in response.next] == [1, 2]
    for item in response.next:
        assert b"lease+jwt" not in item.sealed and b"eyJ" not in item.sealed[:8]
    code = device.take(air_gap.encode(response)) and device.code()
    binding = lease_code.CodeBinding(
        shop.trust.server_id,
        shop.trust.product,
        device.id,
        response.next[0].seq,
        lease_code.next_nonce(response.nonce, 1),
    )
    token = lease_code.open_(code, response.next[0].sealed, binding)
    lease = tokens.read(token, LeaseClaims, shop.trust)
    with pytest.raises(errors.CodeUnknown):
        lease_code.open_(code, response.next[1].sealed, binding)
    assert lease.seq == response.next[0].seq and lease.keys


def test_codes_survive_another_key_encryption_key(device, shop):
    """Rewrapping touches the wrapped code as it does every data key."""
    before = device.code()
    with workspaces.open(shop.home):
        shop.server.rekeying.rotate(LOCAL, None)
    assert LocalAdmin(shop.server).lease_code(device.id).code == before


def test_a_key_list_keeps_the_signing_key_as_long_as_leases_ahead_run(device, shop):
    """The last lease made ahead decides when the key that signed it may go."""
    ends = shop.server.keeping.show(LOCAL).leases_end_at
    assert ends == shop.clock() + 4 * 7 * DAY
    assert ends.tzinfo is datetime.UTC


def test_a_server_that_forgot_that_it_told_a_code_knows_its_own_lease(device, shop, tmp_path):
    """A snapshot from before the call is put back: the lease was made by it, so it is adopted."""
    before = tmp_path / "before"
    shutil.copytree(shop.home / "server", before)
    device.type(device.code())
    shop.server.close()
    shutil.rmtree(shop.home / "server")
    shutil.copytree(before, shop.home / "server")
    with open_server(shop.home, now=shop.clock) as server:
        shop.server = server
        with pytest.raises(errors.StoreBehind):
            shop.admin.respond(device.ask().token)
        device.take(device.answer(device.ask(show_lease=True)))
        assert device.seq == 3 and len(shop.events("lease_adopted")) == 1
    assert device.opens()


def test_no_more_leases_ahead_than_400_days(gap, shop):
    """A lease lives at most 400 days from the day it was signed, so that many are made."""
    shop.plan("long", lease={"max_seconds": 100 * 86400})
    device = gap()
    found = device.round(shop.license("long", never=True).license_key, next_count=10)
    assert found.next_count == 3


def test_more_keys_than_a_lease_holds_travel_in_one_bundle(gap, shop, tmp_path):
    """The bundle comes in the response, serves the leases ahead, and survives the lease's end."""
    for number in range(lease_keys.MAX_KEYS // 2):
        shop.publish(tmp_path, f"more-{number}.onnx", "face.swap")
    shop.plan()
    device = gap()
    response = device.answer(device.ask(shop.license().license_key, next_count=2))
    found = air_gap.decode(response)
    assert found.bundle is not None
    device.take(response)
    assert device.opens()
    for _ in range(2):
        shop.clock.pass_(days=8)
        assert not device.opens()
        assert device.client.status().state == "EXPIRED"
        device.type(device.code())
        assert device.opens()
        shop.clock.pass_(days=-1)


def test_an_old_question_is_answered_again_without_leases_that_would_be_over(gap, shop):
    """The same lease once more; what could not be prepared at first is not prepared too late."""
    shop.plan()
    issued = shop.license(expires_in_seconds=7 * 86400)
    device = gap()
    asked = device.ask(issued.license_key, next_count=1)
    assert device.take(device.answer(asked)).next_count == 0
    shop.clock.pass_(days=6)
    later = shop.clock() + 400 * DAY
    shop.admin.renew_license(issued.license_id, LicenseChange(expires_at=later))
    shop.clock.pass_(days=20)
    again = shop.admin.respond(asked.token)
    assert (again.code, again.next_count) == (None, 0)
