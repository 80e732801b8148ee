"""Anomaly rules of a plan: counted, flagged once in their time, suspended where it says so."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.world import Computer, Shop, denied, hardware

from modelseal.license.claims import ClockReading
from modelseal.license.plans import Anomaly, Binding
from modelseal.types import to_numeric

HOUR = 3600


def sold(shop: Shop, *rules: Anomaly, **terms: Any) -> tuple[str, str]:
    """Key and id of a license whose plan has these rules."""
    shop.plan("watched", anomalies=list(rules), seats=10, **terms)
    issued = shop.license("watched")
    return issued.license_key, issued.license_id


def fired(shop: Shop) -> list[tuple[str, int]]:
    return [(e.params["rule"], e.params["count"]) for e in shop.events("anomaly")]


def behind(shop: Shop, seconds: int) -> ClockReading:
    now = to_numeric(shop.clock())
    return ClockReading(wall=now, monotonic_seconds=1, last_seen=now + seconds)


def test_more_activations_than_the_rule_allows_are_flagged_once_in_its_time(shop: Shop) -> None:
    """At the limit nothing happens; above it one event, and the license shows the flag."""
    key, license_id = sold(shop, Anomaly(rule="activation_farming", limit=2, per_seconds=HOUR))
    device = Computer(shop)
    for _ in range(2):
        device.activate(key)
    assert fired(shop) == [] and shop.admin.show_license(license_id).flags == []
    for _ in range(3):
        device.activate(key)
    assert fired(shop) == [("activation_farming", 3)]
    assert shop.admin.show_license(license_id).flags == ["activation_farming"]
    assert shop.admin.show_license(license_id).state == "active"
    device.renew()
    shop.clock.pass_(seconds=HOUR)
    for _ in range(3):
        device.activate(key)
    assert fired(shop) == [("activation_farming", 3)] * 2
    shop.clock.pass_(days=91)
    assert shop.admin.show_license(license_id).flags == []


def test_what_lies_before_the_rules_time_is_not_counted(shop: Shop) -> None:
    key, _ = sold(shop, Anomaly(rule="activation_farming", limit=1, per_seconds=HOUR))
    device = Computer(shop)
    for _ in range(5):
        device.activate(key)
        shop.clock.pass_(seconds=HOUR)
    assert fired(shop) == []


def test_too_many_devices_counts_devices_and_not_activations(shop: Shop) -> None:
    key, _ = sold(shop, Anomaly(rule="too_many_devices", limit=2, per_seconds=HOUR))
    first = Computer(shop, "a")
    for _ in range(4):
        first.activate(key)
    Computer(shop, "b").activate(key)
    assert fired(shop) == []
    Computer(shop, "c").activate(key)
    assert fired(shop) == [("too_many_devices", 3)]


def test_a_rule_that_suspends_does_so_after_the_answer_it_fired_in(shop: Shop) -> None:
    """The publisher resumes; the rule fires no second time for what it has seen."""
    rule = Anomaly(rule="too_many_devices", limit=1, per_seconds=HOUR, action="suspend")
    key, license_id = sold(shop, rule)
    first, second = Computer(shop, "a"), Computer(shop, "b")
    first.activate(key)
    second.activate(key)
    shown = shop.admin.show_license(license_id)
    assert (shown.state, shown.flags) == ("suspended", ["too_many_devices"])
    assert [e.actor for e in shop.events("license_suspended")] == ["system"]
    for device in (first, second):
        error, denial = denied(device.renew, shop)
        assert (error.code, denial.state) == ("license_suspended", "SUSPENDED")
    shop.admin.resume_license(license_id)
    first.renew()
    assert shop.admin.show_license(license_id).state == "active"
    assert len(fired(shop)) == 1


def test_a_flag_and_a_suspension_of_one_rule_have_limits_of_their_own(shop: Shop) -> None:
    key, license_id = sold(
        shop,
        Anomaly(rule="too_many_devices", limit=1, per_seconds=HOUR),
        Anomaly(rule="too_many_devices", limit=2, per_seconds=HOUR, action="suspend"),
    )
    for seed in "ab":
        Computer(shop, seed).activate(key)
    assert shop.admin.show_license(license_id).state == "active" and len(fired(shop)) == 1
    Computer(shop, "c").activate(key)
    assert shop.admin.show_license(license_id).state == "suspended" and len(fired(shop)) == 2


def test_forks_are_counted_when_they_are_found_and_not_when_they_are_repeated(shop: Shop) -> None:
    key, _ = sold(
        shop, Anomaly(rule="fork", limit=1, per_seconds=HOUR), binding=Binding(rebinds_per_90d=5)
    )
    device = Computer(shop)
    device.activate(key)
    for forks in (1, 2):
        copy = device.copy()
        device.renew()
        for _ in range(3):
            denied(copy.renew, shop)
        assert fired(shop) == ([] if forks == 1 else [("fork", 2)])
        device.activate(key)


def test_a_clock_set_back_is_seen_by_what_the_device_remembers(shop: Shop) -> None:
    key, _ = sold(shop, Anomaly(rule="clock_rollback", limit=1, per_seconds=HOUR))
    device = Computer(shop)
    device.activate(key)
    for seconds in (0, 300, 301):
        device.renew(clock=behind(shop, seconds))
    assert fired(shop) == []
    device.renew(clock=behind(shop, 86400))
    assert fired(shop) == [("clock_rollback", 2)]


def test_traits_that_change_again_and_again_are_churn(shop: Shop) -> None:
    key, _ = sold(shop, Anomaly(rule="trait_churn", limit=2, per_seconds=HOUR))
    device = Computer(shop, "a")
    device.activate(key)
    for number in range(3):
        device.renew()
        device.traits = [
            *[trait for trait in device.traits if trait.kind != "mac"],
            *hardware(f"new-{number}", "mac"),
        ]
        device.renew()
    assert fired(shop) == [("trait_churn", 3)]


def test_many_networks_in_the_rules_time_are_address_spread(shop: Shop) -> None:
    """Neighbours are one network, the same network counts once, and none is stored readably."""
    key, _ = sold(shop, Anomaly(rule="address_spread", limit=2, per_seconds=HOUR))
    device = Computer(shop)
    device.activate(key)
    asked_from = ["198.51.100.7", "198.51.100.8", "2001:db8:1::/56", "2001:db8:1:ff00::/56"]
    for network in asked_from * 2:
        device.renew(network=network)
        shop.clock.pass_(seconds=60)
    assert fired(shop) == [("address_spread", 3)]  # with the activation's own
    shop.clock.pass_(seconds=HOUR)
    for network in ("203.0.113.1", "192.0.2.1"):
        device.renew(network=network)
    assert len(fired(shop)) == 1
    device.renew(network="198.51.100.7")
    assert fired(shop) == [("address_spread", 3)] * 2
    stored = b"".join(part.read_bytes() for part in (shop.home / "server").glob("modelseal.db*"))
    assert b"198.51" not in stored and b"2001:db8" not in stored


@pytest.mark.parametrize("watched", [True, False])
def test_a_plan_without_rules_counts_nothing(shop: Shop, watched: bool) -> None:
    rules = [Anomaly(rule="fork", limit=1, per_seconds=HOUR)] if watched else []
    key, license_id = sold(shop, *rules)
    device = Computer(shop)
    for _ in range(5):
        device.activate(key)
    assert shop.admin.show_license(license_id).flags == [] and fired(shop) == []
