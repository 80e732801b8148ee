"""A device gets another signing key: the old one hands over, the new one asks."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from tests.server.handing_over import move, successor, token
from tests.server.world import Computer, Shop, denied, hardware
from tests.store.snapshots import keep

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    Conflict,
    Forked,
    InvalidBytes,
    LicenseRevoked,
    NotFound,
    StoreBehind,
    TokenClaims,
    TokenKeyUnknown,
    TokenSignature,
)
from modelseal.server.store import tokens as token_store
from modelseal.strict_json import b64u


@pytest.fixture
def active(shop: Shop, computer: Computer) -> Computer:
    """A device with a fresh lease on a license with one seat."""
    shop.plan("basic", "face.swap")
    computer.activate(shop.license(seats=1).license_key)
    return computer


def test_the_device_goes_on_under_its_new_key(shop: Shop, active: Computer) -> None:
    new = successor(active)
    lease = move(active, new)
    assert (lease.sub, lease.seq, lease.cnf.jkt) == (active.device_id, 2, new.key.kid)
    assert new.license is not None and new.license.cnf.jkt == new.key.kid
    assert new.renew().seq == 3
    told = shop.events("device_rekeyed")
    assert len(told) == 1 and told[0].params == {"followed": active.key.kid}
    assert told[0].subjects["device"] == active.device_id
    listed = shop.admin.list_devices(active.license_id).items
    assert [each.device_id for each in listed] == [active.device_id]


def test_the_old_key_asks_nothing_any_more(shop: Shop, active: Computer) -> None:
    new = successor(active)
    move(active, new)
    for act in (active.renew, active.give_back, active.release):
        with pytest.raises(NotFound):
            act()
    again = successor(active)
    with pytest.raises(TokenKeyUnknown):
        move(active, again)
    assert new.renew().seq == 3


def test_a_lost_reply_is_answered_again_with_the_same_lease(shop: Shop, active: Computer) -> None:
    new, nonce, kem = successor(active), b64u(os.urandom(32)), KemPrivateKey.generate()
    twin = replace(new.copy(), traits=new.traits)
    one = twin.renew(nonce=nonce, kem=kem, handover=token(active, twin, nonce))
    two = new.renew(nonce=nonce, kem=kem, handover=token(active, new, nonce))
    assert one.jti == two.jti and new.license is not None
    assert len(shop.events("device_rekeyed")) == 1
    assert new.renew().seq == 3


@pytest.mark.parametrize(
    "lie",
    [
        {"nonce": "n" * 43},
        {"sub": "dev_01890a5d-ac96-774b-bcce-b302099a8057"},
        {"aud": "srv_other"},
        {"product": "other"},
        {"jkt": "j" * 43},
        {"iss": "i" * 43},
    ],
)
def test_a_handover_is_for_one_question_device_and_key(
    shop: Shop, active: Computer, lie: dict[str, str]
) -> None:
    new, nonce = successor(active), b64u(os.urandom(32))
    with pytest.raises(TokenClaims):
        new.renew(nonce=nonce, handover=token(active, new, nonce, **lie))
    assert active.renew().seq == 2, "the old key is still the device's"


def test_nobody_else_hands_a_device_over(shop: Shop, active: Computer) -> None:
    new, nonce, stranger = successor(active), b64u(os.urandom(32)), SigningKey.generate()
    with pytest.raises(TokenKeyUnknown):
        new.renew(nonce=nonce, handover=token(active, new, nonce, by=stranger))
    forged = token(active, new, nonce)
    broken = forged[:-6] + ("A" if forged[-6] != "A" else "B") + forged[-5:]
    with pytest.raises((TokenSignature, InvalidBytes)):
        new.renew(nonce=nonce, handover=broken)
    with pytest.raises(NotFound):
        new.renew()
    for garbage in ("x", "a.b.c", "{}", "a" * 4096):
        with pytest.raises(InvalidBytes):
            new.renew(nonce=b64u(os.urandom(32)), handover=garbage)
    assert active.renew().seq == 2


def test_only_a_renewal_hands_over(shop: Shop, active: Computer) -> None:
    new, nonce = successor(active), b64u(os.urandom(32))
    handed = token(active, new, nonce)
    for act in (new.give_back, new.release):
        with pytest.raises(NotFound):
            act(nonce=nonce, handover=handed)
    assert active.renew().seq == 2


def test_a_question_that_was_answered_to_the_old_key_hands_nothing_over(
    shop: Shop, active: Computer
) -> None:
    nonce, kem, before = b64u(os.urandom(32)), KemPrivateKey.generate(), active.copy()
    active.renew(nonce=nonce, kem=kem)
    new = successor(before)
    with pytest.raises(TokenClaims):
        new.renew(nonce=nonce, kem=kem, handover=token(before, new, nonce))
    assert active.renew().seq == 3


def test_a_copy_on_another_computer_hands_nothing_over(shop: Shop, active: Computer) -> None:
    thief = active.copy("other")
    thief.traits = hardware("other")
    new = replace(successor(thief), traits=thief.traits)
    error, _ = denied(lambda: move(thief, new), shop)
    assert isinstance(error, Forked)
    assert not shop.events("device_rekeyed")
    assert active.renew().seq > 1


def test_a_key_of_another_device_is_not_taken_over(shop: Shop, active: Computer) -> None:
    made = shop.license(seats=2)
    one, two = Computer(shop, "one"), Computer(shop, "two")
    one.activate(made.license_key)
    two.activate(made.license_key)
    new = replace(one.copy(), key=two.key, traits=one.traits)
    with pytest.raises(Conflict):
        move(one, new)


def test_a_refused_renewal_moves_nothing(shop: Shop, active: Computer) -> None:
    shop.admin.revoke_license(active.license_id or "")
    new = successor(active)
    error, denial = denied(lambda: move(active, new), shop)
    assert isinstance(error, LicenseRevoked) and denial.cnf.jkt == new.key.kid
    assert not shop.events("device_rekeyed")


def test_a_store_restored_from_before_knows_the_new_key_by_its_lease(
    shop: Shop, active: Computer
) -> None:
    snapshot_at = shop.clock()
    shop.server.close()
    put_back = keep(shop.home)
    later = shop.reopen()
    shop.clock.pass_(days=1)
    active.shop = later
    new, nonce, kem = successor(active), b64u(os.urandom(32)), KemPrivateKey.generate()
    asked = new.request("renew", nonce=nonce, kem=new.kem(kem), handover=token(active, new, nonce))
    answer = later.server.devices.renew(new.device_id or "", new.sign(asked))
    new._accept(answer.lease, answer.license, kem)
    later.server.close()
    put_back()
    restored = shop.reopen()
    new.shop = active.shop = restored
    with restored.server:
        with pytest.raises(StoreBehind):
            new.renew()
        with pytest.raises(StoreBehind):
            new.renew(lease_token=answer.lease)
        stranger = replace(new.copy(), key=SigningKey.generate(), traits=new.traits)
        with pytest.raises(NotFound):
            stranger.renew(lease_token=answer.lease)
        shop.clock.pass_(days=1)
        restored.server.context.store.write(
            token_store.add_restore, "evt_restore", snapshot_at, shop.clock()
        )
        assert new.renew(lease_token=answer.lease).seq == 3
        with pytest.raises(NotFound):
            active.renew()
        assert new.renew().seq == 4
