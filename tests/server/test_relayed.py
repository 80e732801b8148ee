"""Leases ahead for relays, at the server: made, numbered, told, ended, compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.server.world import DAY, Computer, Shop, denied

from modelseal.admin import AskRelayed, HeldLeases, LicenseChange, Relayed, RelayReport, Role
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import AccessDenied, CodeUnknown, ConfigInvalid, Forked, NoNextLease
from modelseal.license import lease_code, tokens
from modelseal.license.air_gap import NextLease
from modelseal.license.claims import LeaseClaims
from modelseal.license.lease_code import CodeBinding
from modelseal.license.plans import LeaseTerms
from modelseal.server.services import LocalAdmin
from modelseal.server.services.actors import Actor
from modelseal.strict_json import b64u
from modelseal.types import from_numeric, to_numeric

LEASE = LeaseTerms(max_seconds=6 * 86400, renew_after_seconds=2 * 86400, ahead=3)
RELAY = "rly_019ca945-0a00-713e-aa37-c7c879c30fc9"
OTHER = "rly_019ca945-0a00-713e-aa37-c7c879c30fc0"


class Inside(Computer):
    """A device that asks through a relay, and keeps what came ahead."""

    def ask(self, count: int, nonce: str | None = None) -> list[NextLease]:
        """The leases ahead of a renewal."""
        self.nonce = nonce or b64u(os.urandom(32))
        if nonce is None:
            self.kems = [KemPrivateKey.generate() for _ in range(count + 1)]
            self.asked = (self.seq, self.prev)
        kem = [key for each in self.kems for key in self.kem(each)]
        seq, prev = self.asked
        token = self.sign(
            self.request(
                "renew", nonce=self.nonce, kem=kem, next_count=count, seq=seq, prev=prev,
                **self.tells(),
            )
        )  # fmt: skip
        answer = self.shop.server.devices.renew(self.device_id or "", token)
        self.base = self._accept(answer.lease, answer.license, self.kems[0])
        self.ahead = answer.next
        return answer.next

    taken: str | None = None

    def tells(self) -> dict[str, Any]:
        return {} if self.taken is None else {"next_lease": self.taken}

    def take(self, place: int, code: str) -> LeaseClaims:
        """The lease that ``code`` opens is in force; its keys are checked."""
        known, keys = self.shop.trust, self.keys
        lease = self.ahead[place - 1]
        nonce = lease_code.next_nonce(self.nonce, place)
        binding = CodeBinding(
            known.server_id, known.product, self.device_id or "", lease.seq, nonce
        )
        claims = tokens.read(lease_code.open_(code, lease.sealed, binding), LeaseClaims, known)
        self.seq, self.prev, self.lease, self.taken = claims.seq, claims.jti, claims, claims.jti
        self.keys = self.opened(claims, self.kems[place])
        assert self.keys == keys
        return claims


def told(shop: Shop, *held: HeldLeases, relay: str = RELAY) -> Relayed:
    """What the server says to a relay."""
    return LocalAdmin(shop.server, Actor("token:r", Role.RELAY)).relayed_leases(
        AskRelayed(relay=relay, held=list(held))
    )


def holds(device: Inside, **more: Any) -> HeldLeases:
    return HeldLeases(device=device.device_id or "", base=device.base.jti, **more)


def synced(shop: Shop, name: str, after: str | None = None, relay: str = RELAY) -> str:
    """The event of a report, a second later."""
    shop.clock.pass_(seconds=1)
    api = LocalAdmin(shop.server, Actor("token:r", Role.RELAY))
    return api.sync_relay(RelayReport(relay=relay, sync=name, after=after)).event_id


def findings(shop: Shop) -> list[str]:
    return [event.params["finding"] for event in shop.events("relay_overdrew")]


@pytest.fixture
def device(shop: Shop, tmp_path) -> Inside:
    """Activated, and one renewal later with three leases ahead."""
    shop.publish(tmp_path, "swap.onnx", "face.swap")
    shop.plan(lease=LEASE)
    made = Inside(shop)
    made.activate(shop.license().license_key)
    assert len(made.ask(9)) == 3
    return made


def test_each_lease_begins_when_the_one_before_is_due_and_opens_for_its_code(shop, device):
    [given] = told(shop, holds(device)).given
    assert [place.place for place in given.places] == [1, 2, 3]
    assert len({place.code for place in given.places}) == 3
    begins = from_numeric(device.base.renew_after_at)
    for place in given.places:
        lease = device.take(place.place, place.code)
        assert (from_numeric(lease.nbf), from_numeric(lease.exp)) == (begins, begins + 6 * DAY)
        assert (place.starts_at, place.ends_at) == (begins, begins + 6 * DAY)
        assert lease.seq == device.base.seq + place.place
        begins = from_numeric(lease.renew_after_at)
        assert begins == place.starts_at + 2 * DAY
    with pytest.raises(CodeUnknown):
        device.take(1, given.places[1].code)
    [event] = shop.events("leases_made_ahead")
    assert (event.params["ahead"], event.params["base"]) == (3, device.base.jti)


def test_leases_ahead_end_with_the_license(shop, tmp_path):
    shop.plan(lease=LEASE)
    device = Inside(shop)
    device.activate(shop.license(expires_in_seconds=7 * 86400).license_key)
    ends = [each.ends_at for each in device.ask(3)]
    assert len(ends) == 1 and ends[0] == to_numeric(shop.clock() + 7 * DAY)


def test_none_are_made_where_the_plan_allows_none(shop):
    shop.plan()
    device = Inside(shop)
    device.activate(shop.license().license_key)
    assert device.ask(3) == []
    assert told(shop).ahead == 0
    with pytest.raises(ConfigInvalid):
        shop.plan("wrong", lease=LEASE, enforcement="online")
    shop.plan("right", lease=LEASE)
    assert told(shop).ahead == 3


def test_the_same_question_and_the_same_call_are_answered_alike(shop, device):
    first, base = device.ahead, device.base
    again = device.ask(9, nonce=device.nonce)
    assert (again, device.base.jti) == (first, base.jti)
    assert told(shop, holds(device)) == told(shop, holds(device))
    assert told(shop, holds(device, known=True)).given == []
    assert len(shop.events("leases_made_ahead")) == 1


@pytest.mark.parametrize("place", [0, 1, 3])
def test_from_the_answer_or_any_lease_ahead_the_next_request_is_the_next_one(shop, device, place):
    given = told(shop, holds(device)).given[0].places
    copy = device.copy()
    if place:
        shop.clock.now = given[place - 1].starts_at
        device.take(place, given[place - 1].code)
    base = device.base
    device.ask(3)
    assert device.seq == base.seq + 4
    assert told(shop, HeldLeases(device=device.device_id, base=base.jti)).ended
    error, denial = denied(copy.renew, shop)
    assert isinstance(error, Forked) and denial.seq > device.seq
    assert findings(shop) == []


ENDS: dict[str, Callable[[Shop, Inside], object]] = {
    "revoked": lambda shop, d: shop.admin.revoke_license(d.license_id, reason="x"),
    "suspended": lambda shop, d: shop.admin.suspend_license(d.license_id, reason="x"),
    "device revoked": lambda shop, d: shop.admin.revoke_device(d.device_id, reason="x"),
    "returned": lambda _shop, d: d.give_back(),
    "other plan": lambda shop, d: shop.admin.change_license(
        d.license_id, LicenseChange(plan="other")
    ),
    "another answer": lambda _shop, d: d.renew(),
    "ended": lambda shop, _d: shop.clock.pass_(days=30),
}


@pytest.mark.parametrize("how", ENDS)
def test_what_ends_a_lease_ends_those_ahead_for_the_relay(shop, device, how):
    shop.plan("other")
    assert not told(shop, holds(device)).ended
    ENDS[how](shop, device)
    found = told(shop, holds(device, known=True, released=1))
    assert [(each.base, each.released) for each in found.ended] == [(device.base.jti, 1)]
    assert told(shop, holds(device)).given == []


def test_what_the_server_does_not_know_is_ended(shop, device):
    for held in (
        HeldLeases(device="dev_019ca945-0a00-713e-aa37-c7c879c30fc9", base=device.base.jti),
        HeldLeases(device=device.device_id, base="lea_019ca945-0a00-713e-aa37-c7c879c30fc9"),
        HeldLeases(device="x", base="y", released=2),
    ):
        assert [each.base for each in told(shop, held).ended] == [held.base]


def test_a_seat_is_held_until_the_last_lease_ahead_ends(shop, device):
    assert device.give_back().seat_free_at == shop.clock()  # an instant return, as ever
    shop.plan("slow", lease=LEASE, binding={"instant_returns_per_90d": 0})
    slow = Inside(shop, "slow")
    slow.activate(shop.license("slow").license_key)
    slow.ask(3)
    assert slow.give_back().seat_free_at == from_numeric(slow.ahead[-1].ends_at)


def test_a_floating_seat_is_held_as_long(shop):
    shop.plan(lease=LEASE, floating=True, seats=1)
    key = shop.license().license_key
    first, second = Inside(shop, "a"), Inside(shop, "b")
    first.activate(key)
    first.ask(3)
    shop.clock.now = from_numeric(first.ahead[-1].ends_at) - timedelta(seconds=1)
    denied(lambda: second.activate(key), shop)
    shop.clock.pass_(seconds=2)
    second.activate(key)


def test_only_relays_and_owners_ask(shop, device):
    for role in (Role.SUPPORT, Role.AUDITOR, Role.AUTOMATION):
        with pytest.raises(AccessDenied):
            LocalAdmin(shop.server, Actor("token:x", role)).relayed_leases(
                AskRelayed(relay=RELAY, held=[holds(device)])
            )


def test_a_code_can_be_read_out_when_the_relay_is_lost(shop, device):
    given = told(shop, holds(device)).given[0].places
    shop.clock.now = given[0].starts_at
    code = shop.admin.lease_code(device.device_id)
    assert code.code == given[0].code
    device.take(1, code.code)
    device.renew()
    assert device.seq == device.base.seq + 4
    with pytest.raises(NoNextLease):
        shop.admin.lease_code(device.device_id)
    assert findings(shop) == []


def test_of_two_relays_that_hold_the_same_leases_none_is_blamed_before_both_told(shop, device):
    """A device may ask one question at two relays; who gave a lease out need not be who syncs."""
    one, other = synced(shop, "syn_1"), synced(shop, "syn_1", relay=OTHER)
    first = told(shop, holds(device))
    assert told(shop, holds(device), relay=OTHER) == first
    place = first.given[0].places[0]
    shop.clock.now = place.starts_at
    device.take(1, place.code)
    device.renew(**device.tells())
    for number in range(2, 5):
        one = synced(shop, f"syn_{number}", one)
    assert findings(shop) == []
    other = synced(shop, "syn_2", other, relay=OTHER)
    assert findings(shop) == []
    synced(shop, "syn_3", other, relay=OTHER)
    assert findings(shop) == ["silent", "silent"]
    assert {event.subjects["relay"] for event in shop.events("relay_overdrew")} == {RELAY, OTHER}
    assert {event.params["holders"] for event in shop.events("relay_overdrew")} == {2}


def test_of_two_relays_one_that_tells_clears_both(shop, device):
    one, other = synced(shop, "syn_1"), synced(shop, "syn_1", relay=OTHER)
    place = told(shop, holds(device)).given[0].places[0]
    told(shop, holds(device), relay=OTHER)
    shop.clock.now = place.starts_at
    device.take(1, place.code)
    device.renew(**device.tells())
    told(shop, holds(device, known=True, released=1, released_at=shop.clock()), relay=OTHER)
    for number in range(2, 5):
        one = synced(shop, f"syn_{number}", one)
        other = synced(shop, f"syn_{number}", other, relay=OTHER)
    assert findings(shop) == []


def test_silence_is_found_by_the_report_after_the_next(shop, device):
    one = synced(shop, "syn_1")
    place = told(shop, holds(device)).given[0].places[0]
    two = synced(shop, "syn_2", one)
    shop.clock.now = place.starts_at
    device.take(1, place.code)
    device.renew(**device.tells())
    three = synced(shop, "syn_3", two)
    assert findings(shop) == []
    synced(shop, "syn_4", three)
    assert findings(shop) == ["silent"]


def test_a_release_that_is_told_in_time_is_no_finding(shop, device):
    one = synced(shop, "syn_1")
    place = told(shop, holds(device)).given[0].places[0]
    shop.clock.now = place.starts_at
    device.take(1, place.code)
    device.renew(**device.tells())
    two = synced(shop, "syn_2", one)
    told(shop, holds(device, known=True, released=1, released_at=place.starts_at))
    three = synced(shop, "syn_3", two)
    synced(shop, "syn_4", three)
    assert findings(shop) == []


def test_what_is_given_out_after_the_end_was_told_is_found(shop, device):
    one = synced(shop, "syn_1")
    place = told(shop, holds(device)).given[0].places[0]
    shop.admin.revoke_license(device.license_id, reason="x")
    assert told(shop, holds(device, known=True)).ended
    two = synced(shop, "syn_2", one)
    shop.clock.now = place.starts_at
    told(shop, holds(device, known=True))
    synced(shop, "syn_3", two)
    device.take(1, place.code)
    denied(lambda: device.renew(**device.tells()), shop)
    assert findings(shop) == ["after_end"]


@pytest.mark.parametrize("shows", [True, False])
def test_an_early_lease_is_found_by_the_report_or_by_the_device(shop, device, shows):
    place = told(shop, holds(device)).given[0].places[1]
    if shows:
        device.take(2, place.code)
        device.renew(**device.tells())
    else:
        told(shop, holds(device, known=True, released=2, released_at=place.starts_at))
    assert findings(shop) == ["early"]
    told(shop, holds(device, known=True, released=2, released_at=shop.clock()))
    assert findings(shop) == ["early"]


def test_a_clock_a_few_minutes_off_accuses_nobody(shop, device):
    place = told(shop, holds(device)).given[0].places[0]
    shop.clock.now = place.starts_at - timedelta(seconds=290)
    told(shop, holds(device, known=True, released=1, released_at=shop.clock()))
    device.take(1, place.code)
    device.renew(**device.tells())
    assert findings(shop) == []


def test_nobody_shows_a_lease_whose_code_he_never_had(shop, device):
    told(shop, holds(device))
    for guess in (device.base.jti, "lea_019ca945-0a00-713e-aa37-c7c879c30fc9"):
        copy = device.copy()
        copy.renew(next_lease=guess)
        device.seq, device.prev = copy.seq, copy.prev
    assert findings(shop) == []


def test_calls_at_once_make_one_row_and_have_one_answer(shop, device):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _n: told(shop, holds(device)), range(8)))
    assert all(each == answers[0] for each in answers)
    assert answers[0].given and findings(shop) == []


def test_a_revocation_and_a_relay_that_asks_meet_in_one_order(shop, device):
    """Whoever asks after the revocation was acknowledged gets no code."""
    ended: list[datetime] = []

    def revoke(_n: int) -> None:
        shop.admin.revoke_license(device.license_id, reason="x")
        ended.append(shop.clock())

    with ThreadPoolExecutor(4) as pool:
        done = pool.submit(revoke, 0)
        seen = []
        while not done.done():
            seen.append(bool(told(shop, holds(device)).given))
        done.result()
    assert not told(shop, holds(device)).given
    assert seen == sorted(seen, reverse=True)


def test_leases_made_for_a_file_are_no_relays(shop, tmp_path):
    """Their codes are read out by people; a relay that names them gets none."""
    shop.plan(lease=LEASE)
    device = Inside(shop)
    device.activate(shop.license().license_key)
    device.nonce, device.asked = b64u(os.urandom(32)), (device.seq, device.prev)
    device.kems = [KemPrivateKey.generate() for _ in range(3)]
    kem = [key for each in device.kems for key in device.kem(each)]
    token = device.sign(device.request("renew", nonce=device.nonce, kem=kem, next_count=2))
    assert shop.admin.respond(token).next_count == 2
    assert device.ask(2, nonce=device.nonce) == []
    found = told(shop, holds(device))
    assert not found.given and found.ended
    assert shop.admin.lease_code(device.device_id).left == 1


def test_relays_are_listed_by_their_newest_report(shop, device):
    """With how much lies there, and what was found; each once, in pages."""
    assert shop.admin.list_relays().items == []
    one = synced(shop, "syn_1")
    synced(shop, "syn_1", relay=OTHER)
    told(shop, holds(device, released=1, released_at=shop.clock()))
    newest = synced(shop, "syn_2", one)
    found = shop.admin.list_relays()
    assert [each.relay for each in found.items] == sorted([RELAY, OTHER])
    by_id = {each.relay: each for each in found.items}
    shown = by_id[RELAY]
    assert (shown.event_id, shown.state, shown.ahead, shown.found) == (newest, "follows", 1, 1)
    assert (by_id[OTHER].state, by_id[OTHER].ahead) == ("first", 0)
    assert found.next_cursor is None


def test_a_code_that_support_told_on_the_telephone_accuses_no_relay(shop, device):
    one = synced(shop, "syn_1")
    place = told(shop, holds(device)).given[0].places[0]
    two = synced(shop, "syn_2", one)
    shop.clock.now = place.starts_at
    code = shop.admin.lease_code(device.device_id).code
    device.take(1, code)
    device.renew(**device.tells())
    three = synced(shop, "syn_3", two)
    synced(shop, "syn_4", three)
    assert findings(shop) == []


def test_one_told_on_the_telephone_before_its_time_accuses_no_relay(shop, device):
    synced(shop, "syn_1")
    told(shop, holds(device))
    device.take(1, shop.admin.lease_code(device.device_id).code)
    device.renew(**device.tells())
    assert findings(shop) == []


def test_one_told_on_the_telephone_after_the_relay_was_told_to_end_accuses_no_relay(shop, device):
    one = synced(shop, "syn_1")
    place = told(shop, holds(device)).given[0].places[0]
    shop.admin.suspend_license(device.license_id)
    assert told(shop, holds(device, known=True)).ended
    two = synced(shop, "syn_2", one)
    told(shop, holds(device, known=True))
    synced(shop, "syn_3", two)
    shop.admin.resume_license(device.license_id)
    shop.clock.now = place.starts_at
    device.take(1, shop.admin.lease_code(device.device_id).code)
    device.renew(**device.tells())
    assert findings(shop) == []


def test_one_told_before_the_relay_asked_for_the_codes_accuses_it_no_more_than_it_clears(
    shop, device
):
    one = synced(shop, "syn_1")
    device.take(1, shop.admin.lease_code(device.device_id).code)
    places = told(shop, holds(device)).given[0].places
    device.take(2, places[1].code)  # early, and not told by anybody
    two = synced(shop, "syn_2", one)
    device.renew(**device.tells())
    three = synced(shop, "syn_3", two)
    synced(shop, "syn_4", three)
    assert findings(shop) == ["early", "silent"]
    assert {event.params["place"] for event in shop.events("relay_overdrew")} == {2}
