"""Activation, renewal and return by files, between a real server half and a real state folder."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta

import pytest
from tests.airgap.world import Gap
from tests.server.world import DAY, START, Clock, Shop

from modelseal import errors
from modelseal.desk import workspace as workspaces
from modelseal.license import air_gap, license_key, parts, tokens
from modelseal.license.claims import Eula, LeaseClaims
from modelseal.server.services import open_server
from modelseal.types import to_numeric


@pytest.fixture
def key(shop):
    """A license key of a plan with one seat."""
    shop.plan()
    return shop.license().license_key


def test_a_device_that_never_saw_a_network_is_activated_and_opens_a_model(gap, key):
    """The whole way: license key, request, response, model from a USB stick."""
    device = gap()
    assert not device.opens()
    found = device.round(key, label="lab")
    assert found.op == "activate" and found.seq == 1
    status = device.client.status()
    assert (status.state, status.label, status.plan) == ("ACTIVE", "lab", "basic")
    assert device.opens()
    device.restart()
    assert device.opens()


def test_a_renewal_by_file_replaces_the_lease(gap, key, shop):
    """The second lease runs from the day the request was answered."""
    device = gap()
    device.round(key)
    shop.clock.pass_(days=6)
    found = device.round()
    assert (found.op, found.seq) == ("renew", 2)
    assert found.expires_at == shop.clock() + 7 * DAY
    shop.clock.pass_(days=5)
    assert device.opens()


def test_the_lease_that_a_file_brought_ends_as_any_other(gap, key, shop):
    """After its last second nothing opens, and the next file brings it back."""
    device = gap()
    device.round(key)
    shop.clock.pass_(days=7)
    assert not device.opens()
    assert device.client.status().state == "EXPIRED"
    device.round()
    assert device.opens()


def test_a_question_that_is_not_answered_is_asked_again_as_it_was(gap, key, shop):
    """Nonce, place and KEM keys are the same; more leases ahead add keys and change none."""
    device = gap()
    first = device.ask(key, next_count=1)
    device.restart()
    shop.clock.pass_(days=1)
    second = device.ask(key, next_count=3)
    one, two = (
        tokens.read_request(f.token, server_id=shop.trust.server_id, max_bytes=1 << 18)
        for f in (first, second)
    )
    assert (one.nonce, one.seq, one.prev) == (two.nonce, two.seq, two.prev)
    assert one.kem == two.kem[:2] and len(two.kem) == 4
    assert (first.again, second.again) == (False, True)


def test_the_same_request_answered_twice_gives_the_same_answer(gap, key, shop):
    """One seat, one event, one lease, the same leases ahead; either response can be imported."""
    device = gap()
    request = device.ask(key, next_count=2)
    one = air_gap.decode(device.answer(request))
    shop.clock.pass_(days=2)
    late = device.answer(request)
    two = air_gap.decode(late)
    leases = [tokens.read(r.lease, LeaseClaims, shop.trust) for r in (one, two)]
    assert leases[0].jti == leases[1].jti and leases[0].exp == leases[1].exp
    assert one.next == two.next and one.event_id == two.event_id
    assert len(shop.events("device_activated")) == 1
    assert len(shop.events("lease_responded")) == 2
    device.take(late)
    assert device.opens()


def test_answer_by_cable_and_answer_by_file_are_one_answer(gap, key, shop):
    """A request that lies on a stick is answered online meanwhile: the file comes too late."""
    device = gap()
    device.round(key)
    shop.clock.pass_(days=3)
    response = device.answer(device.ask())
    with device.wired():
        device.client.renew()
    assert device.seq == 2
    with pytest.raises(errors.ResponseReplayed):
        device.take(response)
    shop.clock.pass_(days=1)
    assert device.round().seq == 3
    assert shop.events("fork_found") == []


def test_a_request_file_that_was_answered_and_left_behind_harms_nobody(gap, key, shop):
    """Who hands it in again is told to make a new one; the device goes on as before."""
    device = gap()
    device.round(key)
    old = device.ask()
    device.take(device.answer(old))
    shop.clock.pass_(days=3)
    device.round()
    with pytest.raises(errors.RequestReplayed):
        shop.admin.respond(old.token)
    assert not shop.events("fork_found")
    device.round()


def test_a_request_file_older_than_the_chain_that_was_never_answered_is_a_fork(gap, key, shop):
    """It is what a copy would send."""
    device = gap()
    device.round(key)
    shutil.copytree(device.state, device.state.with_name("copied") / "laptop")
    old = gap("copied/laptop").ask()
    device.round()
    shop.clock.pass_(days=3)
    device.round()
    made = shop.admin.respond(old.token)
    assert made.code == "forked" and len(shop.events("fork_found")) == 1


def test_a_denial_in_a_response_is_carried_out(gap, key, shop):
    """Keys and lease are gone, the state says why, and the support reference is there."""
    device = gap()
    device.round(key, next_count=2)
    request = device.ask()
    shop.admin.revoke_license(device.client.status().license_id, "chargeback")
    made = shop.admin.respond(request.token)
    assert made.code == "license_revoked"
    with pytest.raises(errors.LicenseRevoked) as caught:
        device.take(made.response)
    assert caught.value.reference == made.reference
    assert device.client.status().state == "REVOKED"
    assert not device.opens()
    assert {"lease.jwt", "next.key"} & set(device.snapshot()) == set()


def test_a_refused_activation_changes_nothing_but_the_question(gap, key, shop):
    """No seat is left: the holder is named, and the same device may take it over by file."""
    first, second = gap("first"), gap("second")
    first.round(key, label="first one")
    made = shop.admin.respond(second.ask(key).token)
    with pytest.raises(errors.NoFreeSeat) as caught:
        second.take(made.response)
    assert "first one" in str(caught.value.params["holders"])
    assert second.client.status().state == "NOT_ACTIVATED"
    second.round(key, replace=first.id)
    assert second.opens()


def test_a_wrong_license_key_is_refused_with_its_code(gap, shop):
    """The denial of an unknown key travels as any other; a typing error never leaves."""
    device = gap()
    with pytest.raises(errors.LicenseKeyMistyped):
        device.ask("MS-AAAAA-AAAAA-AAAAA-AAAAA")
    with pytest.raises(errors.UnknownLicenseKey):
        device.round(license_key.format_key(bytes(10)))


def test_the_agreement_is_accepted_in_the_request(gap, shop):
    """Without it the answer is a denial that names it; with it a license that binds it."""
    digest = "e" * 43
    shop.plan("careful", eula=Eula(digest=digest, uri="https://example.com/eula"))
    key = shop.license("careful").license_key
    device = gap()
    with pytest.raises(errors.EulaNotAccepted):
        device.round(key)
    device.round(key, eula=digest)
    assert device.client.standing().license.eula.digest == digest


def test_giving_the_seat_back_closes_everything_before_the_file_leaves(gap, key, shop):
    """Nothing opens at once; the seat is free when the file is read; a lost file is made again."""
    device = gap()
    device.round(key, next_count=1)
    lost = device.client.air_gap.give_back()
    assert lost.op == "return" and not device.opens()
    assert device.client.status().state == "RETURNED"
    assert {"lease.jwt", "license.jwt", "next.key"} & set(device.snapshot()) == set()
    device.restart()
    again = device.client.air_gap.give_back()
    assert again.again and again.seq == lost.seq
    with pytest.raises(errors.DeviceReturned):
        device.ask()
    found = device.take(device.answer(again))
    assert found.seat_free_at == shop.clock()
    assert device.take(device.answer(lost)).seat_free_at == found.seat_free_at
    other = gap("other")
    assert other.round(key).op == "activate"


def test_a_seat_that_was_given_back_by_file_is_taken_again_by_the_license_key(gap, key):
    """The same computer is no new device, whether its file was read or lost."""
    device = gap()
    device.round(key)
    before = device.id
    device.client.air_gap.give_back()
    device.round(key)
    assert device.id == before and device.opens()
    device.answer(device.client.air_gap.give_back())
    device.round(key)
    assert device.id == before and device.opens()


def test_an_unanswered_renewal_before_the_return_is_no_fork(gap, key, shop):
    """The renewal was answered, its response lost, and the seat is given back all the same."""
    device = gap()
    device.round(key)
    device.answer(device.ask())
    made = shop.admin.respond(device.client.air_gap.give_back().token)
    assert made.code is None and made.seat_free_at is not None
    assert shop.events("fork_found") == []


def test_online_plans_get_a_lease_without_keys_and_none_ahead(gap, shop):
    """Keys of an online plan are fetched at each run, which needs a network."""
    shop.plan("wired", enforcement="online")
    device = gap()
    found = device.round(shop.license("wired").license_key, next_count=2)
    assert found.next_count == 0


def test_a_restored_server_is_shown_the_lease(gap, key, shop):
    """Without it nothing is decided; with ``show_lease`` the request carries it."""
    device = gap()
    device.round(key)
    asked = tokens.read_request(
        device.ask(show_lease=True).token,
        server_id=shop.trust.server_id,
        jwk=None,
        any_operation=True,
    )
    assert tokens.read(asked.lease_token, LeaseClaims, shop.trust).seq == 1


def test_what_a_person_wrongly_asks_for_is_told_before_anything_is_stored(gap, key):
    """Nothing is activated: no renewal, no return; a label needs a license key."""
    device = gap()
    for ask in (device.ask, device.client.air_gap.give_back):
        with pytest.raises(errors.NotActivated):
            ask()
    with pytest.raises(errors.Misuse):
        device.ask(label="x")
    for count in (-1, 65):
        with pytest.raises(errors.Misuse):
            device.ask(key, next_count=count)
    assert not device.state.exists() or "lease.key" not in device.snapshot()


def test_requests_of_other_kinds_are_answered_online_only(gap, key, shop):
    """A key release or a lookup in a file is refused as misuse, a lease as no request."""
    device = gap()
    device.round(key)
    with pytest.raises(errors.TokenType):
        shop.admin.respond((device.state / "lease.jwt").read_bytes())
    with pytest.raises(errors.TokenMalformed):
        shop.admin.respond(b"\x00" * 100)
    with pytest.raises(errors.TokenTooLarge):
        shop.admin.respond(b"a" * (256 * 1024 + 1))


def test_the_status_list_in_a_response_is_noted(gap, key, shop):
    """What was heard is newer than the lease, and raises the earliest time it can be."""
    device = gap()
    device.round(key)
    record = device.client._core.store.read().record
    assert record.status is not None and record.status.value == 0
    assert record.heard_at == to_numeric(shop.clock())


def test_a_device_on_the_shelf_gets_the_newest_answer_late(gap, key, shop):
    """A response that was carried for longer than its lease is taken in and says so."""
    device = gap()
    device.round(key)
    response = device.answer(device.ask())
    shop.clock.pass_(days=30)
    device.take(response)
    assert device.client.status().state == "EXPIRED"
    device.round()
    assert device.client.status().lease.expires_at - shop.clock() == timedelta(days=7)


@pytest.mark.parametrize("alg", ["hybrid", "RS256"])
def test_tokens_of_every_kind_travel_by_file_code_and_paper(alg, tmp_path, made):
    """Hybrid signatures make the files longer, and nothing else changes."""
    home = tmp_path / "shop"
    workspaces.init(home, "facefusion", token_alg=alg, now=START, random=os.urandom)
    clock = Clock()
    with open_server(home, now=clock) as server:
        shop = Shop(home, clock, server)
        shop.publish(tmp_path, "swap.onnx", "face.swap")
        shop.plan()
        device = Gap(shop, tmp_path / "laptop", tmp_path / "swap.onnx.sealed")
        response = device.answer(device.ask(shop.license().license_key, next_count=1))
        lines = parts.split(response)
        assert len(lines) < 100
        device.take(parts.join("\n".join(lines).encode(), max_bytes=air_gap.MAX_BYTES))
        assert device.opens()
        clock.pass_(days=8)
        assert device.type(device.code()).seq == 2 and device.opens()
        device.close()
