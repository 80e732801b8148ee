"""A lost request or reply is never taken for a copy, whatever was asked and what happened between.

``Careful`` asks as ADR 70 and 55 say: from one place in the chain there is one question, under one
nonce and KEM key, until a link of the chain answers it. Everything else is up to the machine: what
is asked, what gets lost, and what the publisher does meanwhile.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.server.careful import Careful
from tests.server.world import Clock, Computer, Shop, denied, run_machine, scaled

from modelseal import admin
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import ModelsealError, RequestReplayed
from modelseal.license import license_key
from modelseal.license.plans import Binding, LeaseTerms
from modelseal.server.services.denials import refusal_of
from modelseal.strict_json import b64u

UNKNOWN = license_key.format_key(bytes(10))
LOST = st.sampled_from(["nothing", "nothing", "request", "reply"])


class Losing(RuleBasedStateMachine):
    """One device, a publisher, and a network that loses things."""

    shop: Shop
    ENFORCEMENT = "software"

    @initialize()
    def open(self) -> None:
        self.shop.clock = Clock(self.shop.clock())
        self.shop.server.context.clock = self.shop.clock
        name = f"losing{id(self)}"
        terms = {
            "enforcement": self.ENFORCEMENT,
            "lease": LeaseTerms(max_seconds=86400),
            "binding": Binding(rebinds_per_90d=1),
        }
        self.plans = [name, f"{name}-pro"]
        self.shop.plan(self.plans[0], **terms)
        self.shop.plan(self.plans[1], "face.swap", "face.restore", **terms)
        issued = self.shop.license(name, seats=1, never=True)
        self.key, self.license_id = issued.license_key, issued.license_id
        self.device = Careful(self.shop)
        self.leases: dict[str, str] = {}

    def _ask(self, op: str, lost: str, *wish: str) -> None:
        self.shop.clock.pass_(minutes=1)
        came = self.device.ask(op, lost, *wish, key=self.key)
        assert came != "forked", f"a lost reply was called a copy: {op} {lost}"
        lease = self.device.lease
        if came == "allowed" and lease is not None:
            known = self.leases.setdefault(lease.request_nonce, lease.jti)
            assert known == lease.jti, "the same question got two leases"

    @rule(lost=LOST, label=st.sampled_from(["edit room", "laptop"]))
    def enter_the_key(self, lost: str, label: str) -> None:
        self._ask("activate", lost, label)

    @rule(lost=LOST)
    def enter_a_wrong_key(self, lost: str) -> None:
        self.shop.clock.pass_(minutes=1)
        assert self.device.ask("activate", lost, key=UNKNOWN) in ("lost", "unknown_license_key")

    @precondition(lambda self: self.device.device_id is not None)
    @rule(lost=LOST, op=st.sampled_from(["renew", "renew", "renew", "release", "return"]))
    def ask(self, lost: str, op: str) -> None:
        self._ask(op, lost)

    @precondition(lambda self: self.device.sent)
    @rule(number=st.integers(0, 60))
    def somebody_sends_an_old_request_again(self, number: int) -> None:
        """It is refused, or answered as before: the device does not notice."""
        op, token = self.device.sent[-1 - number % len(self.device.sent)]
        before = self.shop.admin.list_devices(license_id=self.license_id).items
        try:
            self.device.deliver(op, token)
        except ModelsealError as error:
            assert error.code != "forked", "a replay was called a copy"
        after = self.shop.admin.list_devices(license_id=self.license_id).items
        assert [(d.state, d.lease_expires_at) for d in before] == [
            (d.state, d.lease_expires_at) for d in after
        ]

    @rule(act=st.sampled_from(["suspend", "resume", "renew", "expire", "pro", "basic"]))
    def publisher_acts(self, act: str) -> None:
        api, license_id = self.shop.admin, self.license_id
        if act == "suspend":
            api.suspend_license(license_id, "unpaid")
        elif act == "resume":
            api.resume_license(license_id)
        elif act == "renew":
            api.change_license(license_id, admin.LicenseChange(never=True))
        elif act == "expire":
            api.change_license(license_id, admin.LicenseChange(expires_in_seconds=60))
        else:
            plan = self.plans[act == "pro"]
            api.change_license(license_id, admin.LicenseChange(plan=plan))

    @precondition(lambda self: self.device.license is not None)
    @rule()
    def lose_the_license_token(self) -> None:
        self.device.license = self.device.license_id = None

    @rule(hours=st.sampled_from([1, 25]))
    def wait(self, hours: int) -> None:
        self.shop.clock.pass_(hours=hours)

    def teardown(self) -> None:
        """Once nothing is lost any more, one question brings the device back to work."""
        api = self.shop.admin
        api.resume_license(self.license_id)
        api.change_license(self.license_id, admin.LicenseChange(never=True))
        op = "activate" if self.device.device_id is None or self.device.returned else "renew"
        self._ask(op, "nothing", "laptop")
        if self.device.lease is None:
            self._ask("activate", "nothing", "laptop")
        assert self.device.lease is not None
        assert not [e for e in self.shop.events("fork_found") if self.concerns(e)]

    def concerns(self, event: admin.EventRecord) -> bool:
        return event.subjects.get("license") == self.license_id


@pytest.mark.parametrize("enforcement", ["software", "online"])
def test_no_sequence_of_lost_replies_is_called_a_copy(
    shop: Shop, store: str, enforcement: str
) -> None:
    run_machine(Losing, shop, examples=scaled(store, 25), steps=30, ENFORCEMENT=enforcement)


@pytest.mark.soak
@pytest.mark.parametrize("enforcement", ["software", "online"])
def test_no_long_sequence_of_lost_replies_is_called_a_copy(shop: Shop, enforcement: str) -> None:
    run_machine(Losing, shop, examples=600, steps=80, ENFORCEMENT=enforcement)


@pytest.fixture
def device(shop: Shop) -> Careful:
    """A careful device with a lease, on a license with one seat."""
    shop.plan("basic", "face.swap", binding=Binding(rebinds_per_90d=1))
    made = Careful(shop)
    assert made.ask("activate", "nothing", key=shop.license(seats=1).license_key) == "allowed"
    return made


def test_a_lost_denial_and_then_a_lost_lease_are_answered_with_that_lease(
    shop: Shop, device: Careful
) -> None:
    shop.admin.suspend_license(device.license_id or "")
    device.ask("renew", "reply")
    shop.admin.resume_license(device.license_id or "")
    device.ask("renew", "reply")
    assert device.ask("renew", "nothing") == "allowed" and device.seq == 3
    assert len(shop.events("lease_renewed")) == 1


def test_a_lost_reply_to_a_heal_spends_one_rebind(shop: Shop, device: Careful) -> None:
    copy = device.copy("other computer")
    copy.traits = copy.traits[:2]  # too few to tell it by them alone
    copy.renew()
    copy.renew()
    device.ask("renew", "reply")
    assert device.ask("renew", "nothing") == "allowed"
    assert [e.params["spent"] for e in shop.events("fork_healed")] == ["rebind"]


def test_entering_the_key_after_an_unanswered_renewal_gives_that_renewals_lease(shop: Shop) -> None:
    shop.plan("basic", "face.swap")
    key = shop.license(seats=1).license_key
    device = Careful(shop)
    device.ask("activate", "nothing", key=key)
    device.ask("renew", "reply")
    device.ask("activate", "reply", "new label", key=key)
    assert device.ask("renew", "nothing") == "allowed" and device.seq == 2
    assert shop.admin.show_device(device.device_id or "").label == "new label"


def test_a_client_that_enters_the_key_under_a_nonce_of_its_own_may_lose_that_reply_too(
    shop: Shop,
) -> None:
    shop.plan("basic", "face.swap")
    key = shop.license(seats=1).license_key
    device = Computer(shop)
    device.activate(key)
    before = device.copy()
    before.renew()
    nonce, kem = b64u(os.urandom(32)), KemPrivateKey.generate()
    shop.server.devices.activate(device.activation(key, kem, nonce))
    assert device.renew(nonce=nonce, kem=kem).seq == 3
    assert not shop.events("fork_found")


def test_a_wrong_license_key_does_not_end_an_unanswered_renewal(
    shop: Shop, device: Careful
) -> None:
    device.ask("renew", "reply")
    assert device.ask("activate", "nothing", key=UNKNOWN) == "unknown_license_key"
    assert device.ask("renew", "nothing") == "allowed" and device.seq == 2


def test_a_question_answered_by_a_renewal_and_asked_again_as_activation_has_its_license(
    shop: Shop,
) -> None:
    shop.plan("basic", "face.swap")
    key = shop.license(seats=1).license_key
    device = Careful(shop)
    device.ask("activate", "nothing", "a", key=key)
    device.ask("activate", "request", "b", key=key)
    device.ask("renew", "reply")
    device.license = None
    assert device.ask("activate", "nothing", "b", key=key) == "allowed"
    assert device.license is not None and device.seq == 2


def test_a_seat_given_back_over_an_unanswered_lease_can_be_given_back_again(shop: Shop) -> None:
    shop.plan("basic", "face.swap")
    key = shop.license(seats=1).license_key
    device = Careful(shop)
    device.ask("activate", "nothing", key=key)
    device.ask("activate", "reply", "new label", key=key)
    assert device.ask("return", "nothing") == "allowed"
    assert device.ask("return", "nothing") == "allowed"
    assert len(shop.events("device_returned")) == 1 and not shop.events("fork_found")


def test_a_device_that_lost_its_license_token_gets_one_with_the_answer_it_missed(
    shop: Shop, device: Careful
) -> None:
    device.ask("renew", "reply")
    device.license = device.license_id = None
    assert device.ask("renew", "nothing") == "allowed"
    first = device.license
    assert first is not None
    device.ask("renew", "nothing")
    assert device.license is first


def test_a_recorded_renewal_sent_again_after_two_more_harms_nobody(
    shop: Shop, device: Careful
) -> None:
    """Nothing is denied, nothing is held, nothing is written; the device renews as if nothing
    had come."""
    for _ in range(3):
        device.ask("renew", "nothing")
    known, events = shop.admin.show_device(device.device_id or ""), len(shop.events())
    for op, token in device.sent[:-1]:
        with pytest.raises(RequestReplayed) as found:
            device.deliver(op, token)
        assert refusal_of(found.value) is None
    assert shop.admin.show_device(device.device_id or "") == known
    assert len(shop.events()) == events
    assert device.ask("renew", "nothing") == "allowed" and device.seq == 5


def test_the_newest_request_sent_again_is_answered_as_before(shop: Shop, device: Careful) -> None:
    device.ask("renew", "nothing")
    first = device.deliver(*device.sent[-1])
    assert device.deliver(*device.sent[-1]).event_id == first.event_id
    assert device.ask("renew", "nothing") == "allowed" and device.seq == 3


def test_a_denied_renewal_sent_again_once_the_license_is_resumed_takes_no_lease(
    shop: Shop, device: Careful
) -> None:
    shop.admin.suspend_license(device.license_id or "")
    device.ask("renew", "nothing")
    shop.admin.resume_license(device.license_id or "")
    with pytest.raises(RequestReplayed):
        device.deliver(*device.sent[-1])
    assert device.ask("renew", "nothing") == "allowed"


def test_a_recorded_return_does_not_take_the_seat_of_who_came_back(shop: Shop) -> None:
    shop.plan("basic", "face.swap")
    key = shop.license(seats=1).license_key
    device = Careful(shop)
    device.ask("activate", "nothing", key=key)
    device.ask("return", "nothing")
    device.ask("return", "nothing")
    device.ask("activate", "nothing", key=key)
    for op, token in device.sent[1:3]:
        with pytest.raises(RequestReplayed):
            device.deliver(op, token)
    assert shop.admin.show_device(device.device_id or "").state == "active"


def test_a_refused_activation_sent_again_when_a_seat_is_free_takes_it_for_nobody(
    shop: Shop,
) -> None:
    shop.plan("basic", "face.swap")
    key = shop.license(seats=1).license_key
    first, second, third = (Careful(shop, seed) for seed in "abc")
    first.ask("activate", "nothing", key=key)
    assert second.ask("activate", "nothing", key=key) == "no_free_seat"
    first.ask("return", "nothing")
    with pytest.raises(RequestReplayed):
        second.deliver(*second.sent[-1])
    assert third.ask("activate", "nothing", key=key) == "allowed"


def test_a_request_that_was_overtaken_on_its_way_is_no_copy(shop: Shop, device: Careful) -> None:
    """It never arrived, was asked again, answered, and comes when the chain has gone on."""
    question = device._question("renew", ())
    late = device.sign(device.request("renew", nonce=question.nonce, kem=device.kem(question.kem)))
    for _ in range(2):
        shop.clock.pass_(minutes=1)
        device.ask("renew", "nothing")
    with pytest.raises(RequestReplayed):
        device.deliver("renew", late)
    assert device.ask("renew", "nothing") == "allowed" and device.seq == 4


def test_a_copy_made_while_a_question_was_pending_is_found_all_the_same(
    shop: Shop, device: Careful
) -> None:
    """It asks the same question, but in a request of its own."""
    question = device._question("renew", ())
    copy = device.copy()
    for _ in range(2):
        shop.clock.pass_(minutes=1)
        device.ask("renew", "nothing")
    shop.clock.pass_(minutes=1)
    error, _ = denied(lambda: copy.renew(nonce=question.nonce, kem=question.kem), shop)
    assert error.code == "forked"
