"""What a license says is carried out to the second: ends, starts, periods, what is granted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.server.world import DAY, START, Computer, Shop, denied

from modelseal import admin
from modelseal.license.plans import Eula, LeaseTerms, Plan, PlanEntitlement
from modelseal.strict_json import b64u
from modelseal.types import to_numeric

SECOND = timedelta(seconds=1)
ENDS = (
    datetime(2028, 2, 29, tzinfo=UTC),
    datetime(2028, 3, 1, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime(2100, 2, 28, 23, 59, 59, tzinfo=UTC),
)


def at(shop: Shop, moment: datetime) -> None:
    shop.clock.now = moment


def numeric(moment: datetime) -> int:
    return to_numeric(moment)


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_a_license_runs_up_to_its_last_second_and_not_at_its_end(shop: Shop, end: datetime) -> None:
    shop.plan()
    at(shop, end - DAY)
    key = shop.license(expires_at=end, seats=3).license_key
    device = Computer(shop, "a")
    assert device.activate(key).exp == numeric(end)
    at(shop, end - SECOND)
    assert device.renew().exp == numeric(end)
    assert device.license is not None and device.license.exp == numeric(end)
    Computer(shop, "b").activate(key)
    for moment in (end, end + SECOND):
        at(shop, moment)
        assert denied(device.renew, shop)[0].code == "license_expired"
        assert denied(lambda: Computer(shop, "c").activate(key), shop)[0].code == "license_expired"


def test_a_weekly_subscription_goes_on_by_itself_as_long_as_it_is_paid(shop: Shop) -> None:
    """Who pays within the days of grace gets the week that follows, no more; a device does
    nothing but renew."""
    shop.plan("weekly", period_seconds=7 * 86400, late_payment_seconds=2 * 86400)
    issued = shop.admin.issue_license(admin.IssueLicense(plan="weekly", customer="li"))
    device = Computer(shop)
    device.activate(issued.license_key)
    for week in range(1, 6):
        due = START + week * 7 * DAY
        at(shop, due + 2 * DAY - SECOND if week % 2 else due - DAY)
        device.renew()
        shown = shop.admin.renew_license(issued.license_id)
        assert shown.expires_at == due + 7 * DAY, week
        assert device.renew().exp <= numeric(due + 9 * DAY)
        assert device.license is not None and device.license.exp == numeric(due + 9 * DAY)
    over = START + 6 * 7 * DAY + 2 * DAY
    at(shop, over)
    assert denied(device.renew, shop)[0].code == "license_expired"
    assert shop.admin.renew_license(issued.license_id).expires_at == over + 7 * DAY
    device.renew()


def test_a_period_that_starts_with_the_first_activation_is_not_started_by_the_second(
    shop: Shop,
) -> None:
    shop.plan("month", starts="first_activation", period_seconds=30 * 86400, seats=2)
    issued = shop.admin.issue_license(admin.IssueLicense(plan="month", customer="li"))
    assert shop.admin.show_license(issued.license_id).starts_at is None
    shop.clock.pass_(days=500)
    begun = shop.clock()
    Computer(shop, "a").activate(issued.license_key)
    shop.clock.pass_(days=29)
    Computer(shop, "b").activate(issued.license_key)
    shown = shop.admin.show_license(issued.license_id)
    assert (shown.starts_at, shown.expires_at) == (begun, begun + 30 * DAY)


def test_one_entitlement_ends_before_its_license_and_its_keys_with_it(shop: Shop, tmp_path) -> None:
    """The token names the end; after it the lease neither names nor carries it."""
    ends = START + 3 * DAY
    shop.publish(tmp_path, "swap.onnx", "face.swap")
    shop.publish(tmp_path, "restore.onnx", "face.restore")
    plan = Plan(
        entitlements=[
            PlanEntitlement(id="face.swap"),
            PlanEntitlement(id="face.restore", exp=numeric(ends)),
        ]
    )
    shop.admin.create_plan(admin.PlanDraft(name="taste", terms=plan))
    device = Computer(shop)
    device.activate(shop.license("taste").license_key)
    assert len(device.keys) == 4
    for moment, names in ((ends - SECOND, 2), (ends, 1), (ends + SECOND, 1)):
        at(shop, moment)
        lease = device.renew(lic=None)
        assert len(lease.ent) == names and len(device.keys) == 2 * names
        assert device.license is not None and len(device.license.ent) == names


def test_another_plan_reaches_a_device_with_one_renewal(shop: Shop, tmp_path) -> None:
    shop.publish(tmp_path, "restore.onnx", "face.restore")
    shop.plan("trial", "face.swap")
    shop.plan("pro", "face.swap", "face.restore", lease=LeaseTerms(max_seconds=86400))
    issued = shop.license("trial")
    device = Computer(shop)
    device.activate(issued.license_key)
    assert device.keys == {}
    shop.admin.change_license(issued.license_id, admin.LicenseChange(plan="pro"))
    lease = device.renew()
    assert lease.exp - lease.iat == 86400 and len(device.keys) == 2
    assert device.license is not None and device.license.plan == "pro"


def test_a_suspended_license_goes_on_where_it_stood(shop: Shop) -> None:
    """Nothing is activated and nothing renewed meanwhile; the time goes on running."""
    shop.plan()
    issued = shop.license(seats=2)
    device = Computer(shop)
    device.activate(issued.license_key)
    shop.admin.suspend_license(issued.license_id, "unpaid")
    for ask in (device.renew, lambda: Computer(shop, "b").activate(issued.license_key)):
        assert denied(ask, shop)[0].code == "license_suspended"
    ends = shop.admin.show_license(issued.license_id).expires_at
    shop.clock.pass_(days=10)
    assert shop.admin.resume_license(issued.license_id).expires_at == ends
    device.renew(seq=2, prev=None)
    Computer(shop, "b").activate(issued.license_key)


def test_the_accepted_agreement_is_in_the_license_and_in_the_log(shop: Shop) -> None:
    """A plan whose agreement changed asks who activates next, not who renews."""
    first, second = b64u(b"1" * 32), b64u(b"2" * 32)
    uri = "https://example.com/eula"
    shop.plan("basic", eula=Eula(digest=first, uri=uri))
    shop.plan("next", eula=Eula(digest=second, uri=uri))
    issued = shop.license(seats=2)
    device = Computer(shop)
    device.activate(issued.license_key, eula=first)
    assert device.license is not None and device.license.eula == Eula(digest=first, uri=uri)
    assert [event.params["eula"] for event in shop.events("device_activated")] == [first]
    shop.admin.change_license(issued.license_id, admin.LicenseChange(plan="next"))
    device.renew()
    error, _ = denied(lambda: Computer(shop, "b").activate(issued.license_key, eula=first), shop)
    assert (error.code, error.params["digest"]) == ("eula_not_accepted", second)
    Computer(shop, "b").activate(issued.license_key, eula=second)
