"""The heartbeat: the next lease, the same lease again, a denial; the chain and its forks."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from tests.server.world import DAY, KINDS, START, Computer, Shop, denied, hardware
from tests.store.snapshots import keep

from modelseal import admin
from modelseal.admin import LicenseState
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import (
    DeviceReturned,
    DeviceRevoked,
    Forked,
    IdempotencyMismatch,
    LeaseSuperseded,
    LicenseExpired,
    LicenseRevoked,
    LicenseSuspended,
    NotFound,
    StoreBehind,
    TokenClaims,
)
from modelseal.license import status
from modelseal.license.plans import Binding, LeaseTerms
from modelseal.server.http import problems
from modelseal.server.services.denials import refusal_of
from modelseal.server.store import tokens as token_store
from modelseal.strict_json import b64u


@pytest.fixture
def active(shop: Shop, computer: Computer) -> Computer:
    """A device with a fresh lease on a license with one seat."""
    shop.plan("basic", "face.swap")
    computer.activate(shop.license(seats=1).license_key)
    return computer


def test_each_renewal_is_the_next_of_its_chain(shop: Shop, active: Computer) -> None:
    first = active.lease
    shop.clock.pass_(days=3)
    second = active.renew()
    third = active.renew()
    assert first is not None
    assert [first.seq, second.seq, third.seq] == [1, 2, 3]
    assert (second.prev, third.prev) == (first.jti, second.jti)
    assert second.iat == first.iat + 3 * 86400


def test_a_license_token_comes_again_only_when_it_changed_or_is_missing(
    shop: Shop, active: Computer
) -> None:
    before = active.license
    active.renew()
    assert active.license is before
    shop.plan("pro", "face.swap", "face.restore")
    shop.admin.change_license(active.license_id or "", admin.LicenseChange(plan="pro"))
    lease = active.renew()
    assert sorted(e.id for e in lease.ent) == ["face.restore", "face.swap"]
    assert active.license is not before and active.license is not None
    assert active.license.plan == "pro"
    changed = active.license
    active.renew()
    assert active.license is changed
    lost = active.license_id
    active.license_id = None
    active.renew()
    assert active.license is not changed and active.license_id == lost


def test_a_lost_reply_is_answered_with_the_same_lease_to_the_same_key(
    shop: Shop, active: Computer, tmp_path: Path
) -> None:
    shop.publish(tmp_path, "swap.onnx", "face.swap")
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    asked = active.copy()
    first = active.renew(nonce=nonce, kem=kem)
    keys = active.keys
    shop.clock.pass_(hours=1)
    second = asked.renew(nonce=nonce, kem=kem)
    assert msgspec.structs.replace(first, keys=[]) == msgspec.structs.replace(second, keys=[])
    assert asked.keys == keys and len(keys) == 2
    assert len(shop.events("lease_renewed")) == 1
    asked.seq, asked.prev = 1, first.prev
    with pytest.raises(IdempotencyMismatch):
        asked.renew(nonce=nonce)


def test_a_lost_reply_after_a_revocation_is_a_denial(shop: Shop, active: Computer) -> None:
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    asked = active.copy()
    active.renew(nonce=nonce, kem=kem)
    shop.admin.revoke_license(active.license_id or "", "chargeback")
    error, denial = denied(lambda: asked.renew(nonce=nonce, kem=kem), shop)
    assert isinstance(error, LicenseRevoked) and denial.seq == 3


def test_leases_and_denials_share_one_number(shop: Shop, active: Computer) -> None:
    shop.admin.suspend_license(active.license_id or "", "unpaid")
    error, denial = denied(active.renew, shop)
    assert isinstance(error, LicenseSuspended)
    assert (denial.seq, denial.state, denial.erase) == (2, "SUSPENDED", True)
    assert denial.sub == active.device_id and denial.params["why"] == "unpaid"
    _, third = denied(active.renew, shop)
    assert third.seq == 3
    shop.admin.resume_license(active.license_id or "")
    active.seq, active.prev = third.seq, third.jti
    assert active.renew().seq == 4


def test_a_denial_that_was_lost_is_no_fork(shop: Shop, active: Computer) -> None:
    shop.admin.suspend_license(active.license_id or "")
    denied(active.renew, shop)
    denied(active.renew, shop)
    shop.admin.resume_license(active.license_id or "")
    assert active.renew().seq == 4


@pytest.mark.parametrize(
    ("how", "expected", "state"),
    [
        ("revoke", LicenseRevoked, "REVOKED"),
        ("expire", LicenseExpired, "EXPIRED"),
        ("device", DeviceRevoked, "REVOKED"),
        ("return", DeviceReturned, "RETURNED"),
    ],
)
def test_what_has_ended_is_denied_with_the_state_it_leads_to(
    shop: Shop, active: Computer, how: str, expected: type[Exception], state: str
) -> None:
    if how == "revoke":
        shop.admin.revoke_license(active.license_id or "", "chargeback")
    elif how == "device":
        shop.admin.revoke_device(active.device_id or "", "stolen")
    elif how == "return":
        active.give_back()
    else:
        shop.clock.pass_(days=366)
    error, denial = denied(active.renew, shop)
    assert type(error) is expected and denial.state == state and denial.erase


def test_a_late_payment_is_waited_for(shop: Shop, computer: Computer) -> None:
    shop.plan("weekly", period_seconds=7 * 86400, late_payment_seconds=2 * 86400)
    issued = shop.admin.issue_license(admin.IssueLicense(plan="weekly", customer="li"))
    computer.activate(issued.license_key)
    shop.clock.pass_(days=8)
    lease = computer.renew()
    assert lease.exp == int((START + 9 * DAY).timestamp())
    shop.clock.pass_(days=1)
    assert isinstance(denied(computer.renew, shop)[0], LicenseExpired)
    shop.admin.renew_license(issued.license_id)
    assert computer.renew().exp == int((shop.clock() + 7 * DAY).timestamp())


def test_a_copy_is_found_at_its_first_renewal_and_neither_goes_on_when_both_match(
    shop: Shop, active: Computer
) -> None:
    copy = active.copy()
    active.renew()
    error, denial = denied(copy.renew, shop)
    assert isinstance(error, Forked) and denial.state == "FORKED"
    assert isinstance(denied(active.renew, shop)[0], Forked)
    assert shop.admin.show_device(active.device_id or "").state == "forked"
    assert len(shop.events("fork_found")) == 1
    assert status_of(shop, active) == 3


def status_of(shop: Shop, device: Computer) -> int:
    assert device.lease is not None
    number = int(device.lease.status.uri.rpartition("/")[2])
    listed = status.parse(
        shop.server.statuses.token(number), shop.trust, uri=device.lease.status.uri
    )
    found = listed.get(device.lease.status.idx)
    assert found is not None
    return int(found)


def test_a_copy_on_another_computer_is_refused_and_the_enrolled_one_goes_on(
    shop: Shop, active: Computer
) -> None:
    copy = active.copy("other computer")
    active.renew()
    error, denial = denied(copy.renew, shop)
    assert isinstance(error, Forked)
    traits = denial.params["traits"]
    assert isinstance(traits, list) and "machine_id" in traits and "mac" in traits
    assert active.renew().seq == 4
    assert shop.admin.show_device(active.device_id or "").state == "active"


def test_the_enrolled_computer_takes_the_chain_back_from_a_copy_for_one_rebind(
    shop: Shop, computer: Computer
) -> None:
    shop.plan("basic", binding=Binding(rebinds_per_90d=1))
    computer.activate(shop.license(seats=1).license_key)
    copy = computer.copy("other computer")
    copy.traits = copy.traits[:2]  # too few to tell it by them alone
    copy.renew()
    assert computer.renew().seq == 3
    assert len(shop.events("fork_healed")) == 1
    assert isinstance(denied(copy.renew, shop)[0], Forked)
    second = computer.copy("other computer")
    second.traits = second.traits[:2]
    second.renew()
    assert isinstance(denied(computer.renew, shop)[0], Forked)
    assert shop.admin.show_device(computer.device_id or "").state == "forked"


def test_entering_the_license_key_heals_a_fork_as_often_as_rebinds_allow(
    shop: Shop, computer: Computer
) -> None:
    shop.plan("basic", binding=Binding(rebinds_per_90d=1))
    issued = shop.license(seats=1)
    computer.activate(issued.license_key)
    copy = computer.copy()
    computer.renew()
    denied(copy.renew, shop)
    lease = computer.activate(issued.license_key)
    assert lease.seq == 4 and status_of(shop, computer) == 0
    assert computer.renew().seq == 5
    assert isinstance(denied(copy.renew, shop)[0], Forked)
    error, denial = denied(lambda: computer.activate(issued.license_key), shop)
    assert error.code == "rebinds_used_up" and denial.params["limit"] == 1
    shop.clock.pass_(days=91)
    assert computer.activate(issued.license_key).seq > lease.seq


def test_a_plan_may_suspend_the_license_for_a_fork(shop: Shop, computer: Computer) -> None:
    shop.plan("basic", on_fork="suspend")
    issued = shop.license(seats=2)
    computer.activate(issued.license_key)
    copy = computer.copy()
    computer.renew()
    denied(copy.renew, shop)
    assert shop.admin.show_license(issued.license_id).state is LicenseState.SUSPENDED
    assert isinstance(denied(computer.renew, shop)[0], LicenseSuspended)


def test_alternating_copies_never_both_hold_a_lease(shop: Shop, active: Computer) -> None:
    copy = active.copy()
    for turn in (copy, active, copy, active):
        try:
            turn.renew()
        except Forked:
            break
    else:
        pytest.fail("the fork was not found")
    assert isinstance(denied(active.renew, shop)[0], Forked)
    assert isinstance(denied(copy.renew, shop)[0], Forked)


def test_accepted_drift_becomes_the_enrolment_and_is_counted(shop: Shop, active: Computer) -> None:
    new = hardware("new disk", "disk_serial")
    active.traits = [*new, *[t for t in active.traits if t.kind != "disk_serial"]]
    active.renew()
    event = shop.events("lease_renewed")[-1]
    assert event.params["facts"]["device"]["moved"] == ["disk_serial"]
    active.renew()
    last = shop.events("lease_renewed")[-1]
    assert "moved" not in last.params["facts"]["device"]


def test_changes_are_counted_over_contacts_in_a_row_and_refused_at_none(
    shop: Shop, active: Computer
) -> None:
    def drift() -> int:
        return shop.admin.show_device(active.device_id or "").drift

    for turn, kind in enumerate(("disk_serial", "mac", "machine_id", "cpu_class"), start=1):
        fresh = hardware(f"new {turn}", kind)
        active.traits = [*fresh, *[t for t in active.traits if t.kind != kind]]
        active.renew()
        assert drift() == turn == shop.events("lease_renewed")[-1].params["drift"]
    active.renew()
    assert drift() == 0


def test_copies_that_share_one_folder_are_seen_when_the_other_computer_asks(
    shop: Shop, active: Computer
) -> None:
    """The chain is whole, for the folder is synced; the enrolled computer goes on alone."""
    copy = active.copy("another computer")
    active.renew()
    for _ in range(3):
        copy.seq, copy.prev, copy.lease = active.seq, active.prev, active.lease
        error, denial = denied(copy.renew, shop)
        assert isinstance(error, Forked)
        assert set(denial.params["traits"]) == set(KINDS)
        active.seq, active.prev = denial.seq, denial.jti  # the folder comes back with the denial
        active.renew()
    assert shop.admin.show_device(active.device_id or "").state == "active"


@pytest.mark.parametrize("live", [0, 2])
def test_a_device_with_too_few_traits_is_not_told_from_its_copy_by_them(
    shop: Shop, computer: Computer, live: int
) -> None:
    shop.plan()
    issued = shop.license()
    computer.traits = hardware("a", *KINDS[:live]) if live else []
    computer.activate(issued.license_key)
    computer.traits = hardware("b", *KINDS[:live]) if live else []
    computer.renew()


def test_a_renewal_is_signed_by_the_enrolled_key_and_for_its_own_device(
    shop: Shop, active: Computer
) -> None:
    thief = active.copy()
    from modelseal.crypto.signing import SigningKey

    thief.key = SigningKey.generate()
    with pytest.raises(NotFound):
        thief.renew()
    other = Computer(shop, "b")
    other.activate(shop.license().license_key)
    token = active.sign(active.request("renew", kem=active.kem(KemPrivateKey.generate())))
    with pytest.raises(NotFound):
        shop.server.devices.renew(other.device_id or "", token)
    with pytest.raises(TokenClaims):
        active.renew(lic=other.license_id)
    assert active.renew().seq == 2


def test_a_device_nobody_knows_is_asked_for_its_lease_before_it_is_not_found(
    shop: Shop, active: Computer
) -> None:
    ghost = Computer(shop, "ghost")
    ghost.device_id, ghost.seq = "dev_01890a5d-ac96-774b-bcce-b302099a8057", 3
    with pytest.raises(StoreBehind):
        ghost.renew()
    with pytest.raises(NotFound):
        ghost.renew(lease_token="aaaa.bbbb.cccc")


def test_a_restored_store_adopts_what_it_gave_out_since_and_nothing_else(
    shop: Shop, active: Computer
) -> None:
    from modelseal.license import tokens as license_tokens

    shop.server.close()
    put_back = keep(shop.home)
    snapshot_at = shop.clock()
    later = shop.reopen()
    active.shop = later
    shop.clock.pass_(days=1)
    kem = KemPrivateKey.generate()
    token = active.sign(active.request("renew", kem=active.kem(kem)))
    answer = later.server.devices.renew(active.device_id or "", token)
    lease = license_tokens.read(answer.lease, type(active.lease), shop.trust)  # type: ignore[type-var]
    active.seq, active.prev = lease.seq, lease.jti  # type: ignore[union-attr]
    later.server.close()
    put_back()
    restored = shop.reopen()
    active.shop = restored
    with pytest.raises(StoreBehind):
        active.renew()
    with pytest.raises(StoreBehind):
        active.renew(lease_token=answer.lease)
    assert restored.events("store_behind")
    shop.clock.pass_(days=1)
    restored.server.context.store.write(
        token_store.add_restore, "evt_restore", snapshot_at, shop.clock()
    )
    assert active.renew(lease_token=answer.lease).seq == 3
    assert active.renew().seq == 4
    assert len(restored.events("lease_adopted")) == 1
    restored.server.close()


def test_no_device_chooses_its_number_when_it_is_adopted(shop: Shop, active: Computer) -> None:
    """A number that no answer can have had is not taken over, restore or not."""
    snapshot_at = shop.clock()
    shop.clock.pass_(days=1)
    restored, lease = forgetful(shop, active)
    with restored.server:
        restored.server.context.store.write(
            token_store.add_restore, "evt_restore", snapshot_at, shop.clock()
        )
        for seq in (2**53 - 1, active.seq + 100_001):
            with pytest.raises(StoreBehind):
                active.renew(lease_token=lease, seq=seq)
        assert active.renew(lease_token=lease, seq=active.seq + 100_000).seq == 100_003


def test_an_online_lease_carries_no_key_and_each_run_fetches_them(
    shop: Shop, computer: Computer, tmp_path: Path
) -> None:
    shop.plan("online", "face.swap", enforcement="online", lease=LeaseTerms(max_seconds=3600))
    model = shop.publish(tmp_path, "swap.onnx", "face.swap")
    lease = computer.activate(shop.license("online").license_key)
    assert lease.keys == [] and lease.enforcement == "online"
    claims, keys = computer.release()
    assert (claims.lease, claims.seq, claims.exp) == (lease.jti, lease.seq, lease.exp)
    assert {b64u(file) for file, _section in keys} == {model.file_id}
    _, again = computer.release()
    assert again == keys
    from modelseal.license.claims import KeyWish

    _, none = computer.release(want=[KeyWish(file=b64u(os.urandom(32)), sections=[])])
    assert none == {}
    _, one = computer.release(want=[KeyWish(file=model.file_id, sections=[1])])
    assert [section for _file, section in one] == [1]
    old = computer.copy()
    computer.renew()
    assert isinstance(denied(old.release, shop)[0], LeaseSuperseded)
    shop.admin.revoke_license(computer.license_id or "")
    error, denial = denied(computer.release, shop)
    assert isinstance(error, LicenseRevoked) and denial.seq > computer.seq
    assert denial.erase


def test_a_key_release_ends_with_its_lease(shop: Shop, computer: Computer) -> None:
    shop.plan("online", enforcement="online", lease=LeaseTerms(max_seconds=3600))
    computer.activate(shop.license("online").license_key)
    shop.clock.pass_(seconds=3600)
    error, _ = denied(computer.release, shop)
    assert error.code == "lease_expired"
    assert computer.renew().seq > 1
    computer.release()


def forgetful(shop: Shop, device: Computer) -> tuple[Shop, str]:
    """The shop as it was before the device's newest lease, and that lease."""
    shop.server.close()
    put_back = keep(shop.home)
    later = shop.reopen()
    kem = KemPrivateKey.generate()
    token = device.sign(device.request("renew", kem=device.kem(kem)))
    answer = later.server.devices.renew(device.device_id or "", token)
    device._accept(answer.lease, answer.license, kem)
    later.server.close()
    put_back()
    device.shop = shop.reopen()
    return device.shop, answer.lease


@pytest.mark.parametrize("op", ["renew", "release", "give_back"])
def test_a_store_that_is_behind_denies_nothing_and_raises_an_alarm(
    shop: Shop, active: Computer, tmp_path: Path, op: str
) -> None:
    restored, lease = forgetful(shop, active)
    with restored.server:
        before = restored.admin.show_device(active.device_id or "")
        for shown in ({}, {"lease_token": lease}):
            with pytest.raises(StoreBehind) as caught:
                getattr(active, op)(**shown)
            assert refusal_of(caught.value) is None
            answer = problems.render(caught.value)
            assert answer.status_code == 503 and b"denial" not in answer.content
        alarms = restored.events("store_behind")
        assert [alarm.params["adopted"] for alarm in alarms] == [False]
        assert restored.admin.show_device(active.device_id or "") == before


@pytest.mark.parametrize(
    ("how", "code"), [("replace", "device_returned"), ("erase", "license_revoked")]
)
def test_a_device_that_is_over_is_denied_by_its_tombstone_as_long_as_its_lease_lives(
    shop: Shop, computer: Computer, how: str, code: str
) -> None:
    shop.plan("basic")
    issued = shop.license(seats=1)
    lease = computer.activate(issued.license_key, label="her laptop")
    if how == "replace":
        Computer(shop, "b").activate(issued.license_key, replace=computer.device_id)
    else:
        shop.admin.erase_customer("li@example.com")
    while shop.clock().timestamp() < lease.exp:
        error, denial = denied(computer.renew, shop)
        assert error.code == code and denial.erase and denial.sub == computer.device_id
        computer.seq, computer.prev = denial.seq, denial.jti
        shop.clock.pass_(days=2)
