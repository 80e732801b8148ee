"""Edited, replayed and foreign responses: each refused with its own code, and nothing changed."""

from __future__ import annotations

import os
import random
import shutil

import msgspec
import pytest
from tests.server.world import START, Clock, Shop

from modelseal import errors, strict_json
from modelseal.crypto.signing import SigningKey
from modelseal.desk import workspace as workspaces
from modelseal.license import air_gap, jws, tokens
from modelseal.license.claims import DenialClaims, LeaseClaims
from modelseal.server.services import open_server


@pytest.fixture
def key(shop):
    """A license key of a plan with two seats."""
    shop.plan(seats=2)
    return shop.license().license_key


@pytest.fixture
def device(gap, key):
    """A device with a lease, a lease ahead and a request under way."""
    made = gap()
    made.round(key, next_count=1)
    made.request = made.ask(next_count=1)
    return made


def _refused(device, data: bytes, *kinds: type[errors.ModelsealError]) -> None:
    before = device.snapshot()
    with pytest.raises(kinds) as caught:
        device.take(data)
    assert device.snapshot() == before
    assert type(caught.value).code and caught.value.exit_code == 4


def _resealed(data: bytes, **changes: object) -> bytes:
    """The response with changes, its own checksum made anew: what a person would forge."""
    return air_gap.encode(msgspec.structs.replace(air_gap.decode(data), **changes))


def test_every_changed_byte_is_found(device):
    """A flipped bit anywhere, a byte more, a byte less: one code, nothing stored."""
    data = device.answer(device.request)
    drawn = random.Random(7)
    places = {*range(12), len(data) - 1, *(drawn.randrange(len(data)) for _ in range(60))}
    for at in sorted(places):
        wrong = bytearray(data)
        wrong[at] ^= 1 << drawn.randrange(8)
        _refused(device, bytes(wrong), errors.ResponseMalformed)
    for wrong in (data[:-1], data + b"\0", b"", data[:9], data * 2, b"{}", os.urandom(4000)):
        _refused(device, wrong, errors.ResponseMalformed)
    device.take(data)


def test_a_response_of_another_version_is_refused(device):
    """A later version is named as such, not guessed at."""
    data = bytearray(device.answer(device.request))
    data[8] = 2
    _refused(device, bytes(data), errors.ResponseMalformed)


def test_a_forged_token_is_refused_by_its_signature(device, shop):
    """A lease with another end, signed by somebody, or with its payload edited."""
    data = device.answer(device.request)
    token = air_gap.decode(data).lease
    claims = tokens.read(token, LeaseClaims, shop.trust)
    forged = msgspec.structs.replace(claims, exp=claims.exp + 86400)
    signed = tokens.sign(forged, [SigningKey.generate()])
    _refused(device, _resealed(data, lease=signed), errors.TokenKeyUnknown)
    head, _, rest = token.partition(".")
    _, _, signature = rest.partition(".")
    payload = strict_json.b64u(strict_json.encode(msgspec.to_builtins(forged)))
    edited = f"{head}.{payload}.{signature}"
    _refused(device, _resealed(data, lease=edited), errors.TokenSignature)
    none = strict_json.b64u(strict_json.encode({"alg": "none", "kid": "x", "typ": "lease+jwt"}))
    _refused(device, _resealed(data, lease=f"{none}.{payload}."), errors.InvalidBytes)
    assert jws.parse(token, max_bytes=1 << 16).typ == "lease+jwt"
    device.take(data)


def test_a_response_that_was_used_is_refused(device):
    """The second import changes nothing and says so; also after a later round."""
    data = device.answer(device.request)
    device.take(data)
    _refused(device, data, errors.ResponseReplayed)
    device.round()
    _refused(device, data, errors.ResponseReplayed)


def test_an_old_lease_under_the_new_nonce_is_refused(device, shop):
    """The envelope says what it likes; the token says which question it answers."""
    old = device.answer(device.request)
    device.take(old)
    new = device.answer(device.ask())
    lease = air_gap.decode(old).lease
    _refused(device, _resealed(new, lease=lease, license=None), errors.AnswerInvalid)
    device.take(new)


def test_a_denial_is_not_undone_by_an_older_response(device, shop):
    """The lease of an older response does not come back after a denial was imported."""
    old = device.answer(device.request)
    shop.admin.suspend_license(device.client.status().license_id)
    with pytest.raises(errors.LicenseSuspended):
        device.take(device.answer(device.ask()))
    before = device.snapshot()
    with pytest.raises(errors.ResponseReplayed):
        device.take(old)
    assert device.snapshot() == before and not device.opens()


def test_a_response_for_another_device_is_refused(device, gap, key):
    """The other device's request was answered; this one is told so."""
    other = gap("other")
    data = other.answer(other.ask(key))
    _refused(device, data, errors.ResponseForeign)
    lied = _resealed(data, jkt=air_gap.decode(device.answer(device.request)).jkt)
    _refused(device, lied, errors.ResponseReplayed)
    nonce = air_gap.decode(device.answer(device.request)).nonce
    _refused(device, _resealed(lied, nonce=nonce, op="renew"), errors.AnswerInvalid)


def test_a_response_of_another_server_or_product_is_refused(device, gap, tmp_path):
    """Each has a code of its own, and a lie about it does not help."""
    for name, product, kind in (
        ("one", "facefusion", errors.TokenIssuer),
        ("two", "voicefusion", errors.TokenIssuer),
    ):
        home = tmp_path / name
        workspaces.init(home, product, now=START, random=os.urandom)
        clock = Clock(device.shop.clock())
        with open_server(home, now=clock) as server:
            shop = Shop(home, clock, server)
            shop.plan()
            stranger = type(device)(shop, tmp_path / f"state-{name}", device.model)
            data = stranger.answer(stranger.ask(shop.license().license_key))
            stranger.close()
        _refused(device, data, kind)
        mine = air_gap.decode(device.answer(device.request))
        lied = _resealed(
            data, server=mine.server, product=mine.product, jkt=mine.jkt, nonce=mine.nonce,
            op="renew",
        )  # fmt: skip
        _refused(device, lied, errors.TokenKeyUnknown)
    data = device.answer(device.request)
    _refused(device, _resealed(data, product="voicefusion"), errors.TokenAudience)


def test_a_request_for_another_server_is_refused_there(device, tmp_path):
    """The publisher's side names what is wrong too."""
    home = tmp_path / "elsewhere"
    workspaces.init(home, "facefusion", now=START, random=os.urandom)
    with (
        open_server(home, now=Clock()) as server,
        pytest.raises(errors.TokenAudience),
    ):
        Shop(home, Clock(), server).admin.respond(device.request.token)


def test_an_edited_request_is_refused(device, shop):
    """Every signed byte counts; the device in it is the one that signed."""
    token = device.request.token
    for at in (5, len(token) // 2, len(token) - 3):
        wrong = bytearray(token)
        wrong[at] = ord("A") if wrong[at] != ord("A") else ord("B")
        with pytest.raises(errors.InvalidBytes):
            shop.admin.respond(bytes(wrong))
    assert len(shop.events("lease_renewed")) == 0


def test_a_denial_of_another_operation_is_not_taken_for_this_one(device, shop):
    """An edited operation would soften a denial of the chain into one of an activation."""
    shop.admin.revoke_license(device.client.status().license_id)
    data = device.answer(device.request)
    _refused(device, _resealed(data, op="activate"), errors.ResponseReplayed)
    _refused(device, _resealed(data, op="return"), errors.ResponseReplayed)
    denial = tokens.read(air_gap.decode(data).denial, DenialClaims, shop.trust)
    assert denial.erase
    with pytest.raises(errors.LicenseRevoked):
        device.take(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"lease": None},
        {"seat_free_at": 5},
        {"denial": "x"},
        {"op": "lookup"},
        {"lease": None, "seat_free_at": 5},
        {"bundle": b"x"},
    ],
    ids=str,
)
def test_a_response_that_is_not_one_answer_is_refused(device, changes):
    """Exactly one of lease, denial and seat; nothing that belongs to another."""
    _refused(device, _resealed(device.answer(device.request), **changes), errors.ResponseMalformed)


def test_a_copied_folder_on_another_computer_takes_no_response(device, gap):
    """The device key does not open there, so that nothing can be asked or imported."""
    data = device.answer(device.request)
    shutil.copytree(device.state, device.state.with_name("thief"))
    thief = gap("thief")
    with pytest.raises(errors.DeviceChanged):
        thief.take(data)


def test_whoever_may_only_read_answers_no_request(device, shop):
    """Responding and reading codes out need the right to change devices."""
    from modelseal.admin import Role
    from modelseal.server.services import LocalAdmin
    from modelseal.server.services.actors import Actor

    for role in (Role.AUDITOR, Role.AUTOMATION):
        api = LocalAdmin(shop.server, Actor("tok", role))
        with pytest.raises(errors.AccessDenied):
            api.respond(device.request.token)
        with pytest.raises(errors.AccessDenied):
            api.lease_code(device.id)
    assert LocalAdmin(shop.server, Actor("tok", Role.SUPPORT)).lease_code(device.id).seq == 2
