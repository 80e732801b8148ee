"""Meters: what was counted is told with each request, and a used-up meter stops the next lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.server.world import DAY, START, Computer, Shop, denied

from modelseal.errors import ConfigInvalid
from modelseal.license import metering, plans
from modelseal.license.claims import Usage
from modelseal.license.plans import LeaseTerms, Meter

SWAPS = Meter(name="swaps", limit=100, per="day")
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)


def used(count: int, meter: str = "swaps") -> list[Usage]:
    return [Usage(meter=meter, count=count)]


def counted(shop: Shop, device: Computer) -> list[tuple[str, int, int]]:
    shown = shop.admin.show_license(device.license_id or "")
    return [(meter.name, meter.used, meter.limit) for meter in shown.meters]


@pytest.fixture
def device(shop: Shop) -> Computer:
    """A device on a plan that allows 100 swaps a day, on two seats."""
    shop.plan("metered", meters=[SWAPS], seats=2)
    made = Computer(shop)
    made.activate(shop.license("metered").license_key)
    return made


def test_a_used_up_meter_stops_the_next_lease_until_its_period_ends(
    shop: Shop, device: Computer
) -> None:
    device.renew(usage=used(99))
    assert counted(shop, device) == [("swaps", 99, 100)]
    error, denial = denied(lambda: device.renew(usage=used(100)), shop)
    assert error.code == "meter_exceeded" and denial.state == "EXPIRED"
    assert error.params["resets_at"] == "2026-03-02T00:00:00Z"
    shop.clock.now = MIDNIGHT - timedelta(seconds=1)
    assert denied(lambda: device.renew(usage=used(100)), shop)[0].code == "meter_exceeded"
    shop.clock.now = MIDNIGHT
    device.renew(usage=used(100))
    assert counted(shop, device) == [("swaps", 0, 100)]
    device.renew(usage=used(150))
    assert counted(shop, device) == [("swaps", 50, 100)]


def test_what_is_told_twice_counts_once(shop: Shop, device: Computer) -> None:
    """A lost reply, a smaller total and a meter that the plan does not name add nothing."""
    for told in (40, 40, 10):
        device.renew(usage=[*used(told), *used(told), *used(9, "unknown")])
    assert counted(shop, device) == [("swaps", 40, 100)]
    device.renew(usage=used(50))
    assert counted(shop, device) == [("swaps", 50, 100)]


def test_the_devices_of_a_license_count_together(shop: Shop) -> None:
    shop.plan("metered", meters=[SWAPS], seats=2)
    issued = shop.license("metered")
    first, second = Computer(shop, "a"), Computer(shop, "b")
    first.activate(issued.license_key)
    second.activate(issued.license_key)
    first.renew(usage=used(60))
    assert denied(lambda: second.renew(usage=used(40)), shop)[0].code == "meter_exceeded"
    assert denied(first.renew, shop)[0].code == "meter_exceeded"
    assert denied(lambda: first.activate(issued.license_key), shop)[0].code == "meter_exceeded"


def test_what_was_counted_before_a_seat_is_given_back_is_told(shop: Shop, device: Computer) -> None:
    device.give_back(usage=used(30))
    assert counted(shop, device) == [("swaps", 30, 100)]


def test_each_run_of_an_online_lease_is_stopped_by_a_used_up_meter(shop: Shop) -> None:
    shop.plan(
        "online", enforcement="online", lease=LeaseTerms(max_seconds=3600),
        meters=[Meter(name="swaps", limit=10, per="total")],
    )  # fmt: skip
    device = Computer(shop)
    device.activate(shop.license("online").license_key)
    device.release(usage=used(9))
    error, _ = denied(lambda: device.release(usage=used(10)), shop)
    assert error.code == "meter_exceeded" and "resets_at" not in error.params
    shop.clock.pass_(days=300)
    assert denied(device.renew, shop)[0].code == "meter_exceeded"


def test_the_answer_tells_how_much_is_left(shop: Shop, device: Computer) -> None:
    from modelseal.crypto.hpke import KemPrivateKey

    kem = KemPrivateKey.generate()
    token = device.sign(device.request("renew", kem=device.kem(kem), usage=used(7)))
    answer = shop.server.devices.renew(device.device_id or "", token)
    (left,) = answer.meters
    assert (left.used, left.limit, left.per, left.resets_at) == (7, 100, "day", MIDNIGHT)


def test_the_recorded_decision_can_be_judged_again(shop: Shop, device: Computer) -> None:
    error, _ = denied(lambda: device.renew(usage=used(500)), shop)
    told = shop.admin.explain(error.reference or "")
    assert (told.code, told.replayed) == ("meter_exceeded", True)


@pytest.mark.parametrize(
    ("per", "now", "begins", "ends"),
    [
        ("day", datetime(2028, 2, 29, 23, 59, 59), datetime(2028, 2, 29), datetime(2028, 3, 1)),
        ("week", datetime(2026, 3, 1), datetime(2026, 2, 23), datetime(2026, 3, 2)),
        ("week", datetime(2026, 3, 2), datetime(2026, 3, 2), datetime(2026, 3, 9)),
        ("month", datetime(2028, 2, 29), datetime(2028, 2, 1), datetime(2028, 3, 1)),
        ("month", datetime(2037, 12, 31, 23), datetime(2037, 12, 1), datetime(2038, 1, 1)),
        ("period", datetime(2026, 3, 15, 12), datetime(2026, 3, 15, 12), datetime(2026, 3, 22, 12)),
        ("period", datetime(2026, 3, 15, 11), datetime(2026, 3, 8, 12), datetime(2026, 3, 15, 12)),
        ("total", datetime(2038, 1, 19, 3, 14, 8), datetime(1970, 1, 1), None),
    ],
)
def test_a_period_begins_and_ends_at_its_second(
    per: str, now: datetime, begins: datetime, ends: datetime | None
) -> None:
    meter = Meter(name="m", limit=1, per=per)  # type: ignore[arg-type]
    found = metering.period(
        meter, now.replace(tzinfo=UTC), starts_at=START, period_seconds=7 * 86400
    )
    wanted = [None if at is None else at.replace(tzinfo=UTC) for at in (begins, ends)]
    assert list(found) == wanted


def test_a_meter_per_period_needs_a_period() -> None:
    terms = {"entitlements": [{"id": "a"}], "meters": [{"name": "m", "limit": 1, "per": "period"}]}
    with pytest.raises(ConfigInvalid):
        plans.parse(terms)
    assert plans.parse(terms | {"period_seconds": DAY.days * 86400}).meters[0].per == "period"
