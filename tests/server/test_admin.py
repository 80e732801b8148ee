"""One suite over both ways to the publisher's calls: in process, and over HTTPS."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.server.world import DAY, START, Clock, Computer, Shop, denied

from modelseal import audit
from modelseal.admin import AdminApi, IssueLicense, LicenseChange, LicenseState, PlanDraft, Role
from modelseal.audit import EventKind
from modelseal.crypto.signing import VerifyKey
from modelseal.desk.remote import RemoteAdmin
from modelseal.errors import (
    ConfigInvalid,
    Conflict,
    CredentialInvalid,
    IdempotencyMismatch,
    Misuse,
    NotFound,
)
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.services import recorder
from modelseal.testing.server import RunningServer


@dataclass
class Both:
    """The calls under test, and the shop behind them."""

    api: AdminApi
    shop: Shop
    url: str | None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Clock]]:
    """One HTTPS server for all remote tests of this module."""
    clock = Clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(tmp_path_factory.mktemp("remote"), now=clock)
    with server:
        yield server, clock


@pytest.fixture(params=["local", "remote"])
def both(request: pytest.FixtureRequest, shop: Shop) -> Iterator[Both]:
    """Each implementation of ``AdminApi``."""
    if request.param == "local":
        yield Both(shop.admin, shop, None)
        return
    server, clock = request.getfixturevalue("running")
    clock.now = max(clock.now, START)
    far = Shop(server.home, clock, server.services)
    token = far.admin.create_token(Role.OWNER, 10 * 365 * 86400 // 6, "owner")
    with RemoteAdmin(server.url, token.token, trust=far.trust.raw) as api:
        yield Both(api, far, server.url)


def draft(name: str, *entitlements: str, **terms: object) -> PlanDraft:
    granted = [PlanEntitlement(id=e) for e in entitlements or ("face.swap",)]
    return PlanDraft(name=name, terms=Plan(entitlements=granted, **terms))  # type: ignore[arg-type]


def unique(both: Both, name: str) -> str:
    """A plan name of its own: the remote server lives through the module."""
    return f"{name}-{len(both.shop.events())}"


def test_plans_are_made_once_and_changed_by_version(both: Both) -> None:
    name = unique(both, "pro")
    first = both.api.create_plan(draft(name))
    assert both.api.create_plan(draft(name)) == first
    with pytest.raises(Conflict):
        both.api.create_plan(draft(name, "other.thing"))
    second = both.api.update_plan(name, draft(name, "face.swap", "face.restore", seats=3))
    assert (second.version, second.plan_id, second.terms.seats) == (2, first.plan_id, 3)
    assert both.api.show_plan(name) == both.api.show_plan(first.plan_id) == second
    assert second in both.api.list_plans().items
    with pytest.raises(NotFound):
        both.api.show_plan("nothing")
    with pytest.raises(Misuse):
        both.api.update_plan(name, draft("renamed"))


def test_a_plan_that_makes_no_sense_is_refused(both: Both) -> None:
    with pytest.raises(ConfigInvalid):
        both.api.create_plan(draft(unique(both, "odd"), "UPPER CASE"))


def test_a_license_keeps_its_plan_version_until_it_is_changed(both: Both) -> None:
    name = unique(both, "pro")
    both.api.create_plan(draft(name))
    issued = both.api.issue_license(IssueLicense(plan=name, customer="a@example.com", never=True))
    both.api.update_plan(name, draft(name, "face.swap", "face.restore", seats=5))
    before = both.api.show_license(issued.license_id)
    assert (before.plan_version, before.seats, before.expires_at) == (1, 1, None)
    after = both.api.change_license(issued.license_id, LicenseChange(plan=name))
    assert (after.plan_version, after.seats) == (2, 5)
    assert after.entitlements == ["face.swap", "face.restore"]
    with pytest.raises(Conflict):
        both.api.change_license(issued.license_id, LicenseChange(seats=7, version=before.version))
    changed = both.api.change_license(
        issued.license_id, LicenseChange(seats=7, label="x", metadata={"order": "17"})
    )
    assert (changed.seats, changed.label, changed.metadata) == (7, "x", {"order": "17"})


def test_a_license_has_one_end_and_it_lies_ahead(both: Both) -> None:
    name = unique(both, "pro")
    both.api.create_plan(draft(name))
    now = both.shop.clock()
    for wish in (
        {"never": True, "expires_in_seconds": 5},
        {"expires_at": now + DAY, "never": True},
        {"expires_at": now - DAY},
        {"expires_at": now},
    ):
        with pytest.raises(Misuse):
            both.api.issue_license(IssueLicense(plan=name, customer="a", **wish))  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        both.api.issue_license(IssueLicense(plan="nothing", customer="a"))


def test_a_license_ends_within_a_hundred_years_however_that_is_said(both: Both) -> None:
    """Beyond them the calendar ends, and every sum of a time and a span of the plan with it."""
    name, now = unique(both, "pro"), both.shop.clock()
    century = 100 * 366 * 86400
    both.api.create_plan(draft(name, period_seconds=century, late_payment_seconds=30 * 86400))
    for text in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"):
        far = datetime.fromisoformat(text)
        with pytest.raises(Misuse):
            both.api.issue_license(IssueLicense(plan=name, customer="a", expires_at=far))
    last = now + timedelta(seconds=century)
    issued = both.api.issue_license(IssueLicense(plan=name, customer="a", expires_at=last))
    for change in (None, LicenseChange(expires_at=last + timedelta(days=1))):
        with pytest.raises(Misuse):
            both.api.renew_license(issued.license_id, change)
    assert both.api.show_license(issued.license_id).expires_at == last
    assert Computer(both.shop, "a").activate(issued.license_key).seq == 1


def test_suspending_resuming_and_revoking(both: Both) -> None:
    name = unique(both, "pro")
    both.api.create_plan(draft(name))
    license_id = both.api.issue_license(IssueLicense(plan=name, customer="a")).license_id
    assert both.api.suspend_license(license_id, "unpaid").state is LicenseState.SUSPENDED
    assert both.api.show_license(license_id).reason == "unpaid"
    assert both.api.resume_license(license_id).state is LicenseState.ACTIVE
    assert both.api.revoke_license(license_id, "chargeback").state is LicenseState.REVOKED
    assert both.api.revoke_license(license_id, "again").reason == "chargeback"
    for act in (both.api.resume_license, both.api.suspend_license, both.api.rekey_license):
        with pytest.raises(Conflict):
            act(license_id)
    for act in (both.api.show_license, both.api.revoke_license):
        with pytest.raises(NotFound):
            act("lic_nothing")


def test_renewing_adds_the_plans_period(both: Both) -> None:
    name = unique(both, "weekly")
    both.api.create_plan(draft(name, period_seconds=7 * 86400))
    issued = both.api.issue_license(IssueLicense(plan=name, customer="a"))
    assert issued.expires_at == both.shop.clock() + 7 * DAY
    assert both.api.renew_license(issued.license_id).expires_at == both.shop.clock() + 14 * DAY
    until = both.shop.clock() + timedelta(days=100)
    record = both.api.renew_license(issued.license_id, LicenseChange(expires_at=until))
    assert record.expires_at == until
    plain = unique(both, "plain")
    both.api.create_plan(draft(plain))
    endless = both.api.issue_license(IssueLicense(plan=plain, customer="a"))
    with pytest.raises(Misuse):
        both.api.renew_license(endless.license_id)


def test_a_new_license_key_replaces_the_old_one(both: Both) -> None:
    name = unique(both, "pro")
    both.api.create_plan(draft(name, seats=5))
    issued = both.api.issue_license(IssueLicense(plan=name, customer="a"))
    first = Computer(both.shop, "a")
    first.activate(issued.license_key)
    fresh = both.api.rekey_license(issued.license_id)
    assert fresh.license_key != issued.license_key
    error, _ = denied(lambda: Computer(both.shop, "b").activate(issued.license_key), both.shop)
    assert error.code == "unknown_license_key"
    Computer(both.shop, "b").activate(fresh.license_key)
    first.renew()


def test_an_idempotency_key_issues_one_license(both: Both) -> None:
    name = unique(both, "pro")
    both.api.create_plan(draft(name))
    key = unique(both, "order")
    wish = IssueLicense(plan=name, customer="a", idempotency_key=key)
    first = both.api.issue_license(wish)
    assert both.api.issue_license(wish) == first
    with pytest.raises(IdempotencyMismatch):
        both.api.issue_license(IssueLicense(plan=name, customer="b", idempotency_key=key))
    found = both.api.list_licenses(customer="a").items
    assert [r.license_id for r in found].count(first.license_id) == 1


def test_licenses_are_listed_by_customer_and_state_in_pages(both: Both) -> None:
    name = unique(both, "pro")
    customer = unique(both, "c")
    both.api.create_plan(draft(name))
    ids = [
        both.api.issue_license(IssueLicense(plan=name, customer=customer)).license_id
        for _ in range(103)
    ]
    first = both.api.list_licenses(customer=customer)
    assert len(first.items) == 100 and first.next_cursor is not None
    rest = both.api.list_licenses(first.next_cursor, customer)
    listed = [r.license_id for r in (*first.items, *rest.items)]
    assert sorted(listed) == sorted(ids) and rest.next_cursor is None
    both.api.revoke_license(ids[0])
    revoked = both.api.list_licenses(customer=customer, state=LicenseState.REVOKED).items
    assert [r.license_id for r in revoked] == [ids[0]]
    assert both.api.list_licenses(customer="nobody").items == []
    with pytest.raises(Misuse):
        both.api.list_licenses("forged cursor")


def test_a_decision_is_found_by_reference_and_judged_again(both: Both) -> None:
    name = unique(both, "pro")
    both.api.create_plan(draft(name))
    issued = both.api.issue_license(IssueLicense(plan=name, customer="a"))
    holder = Computer(both.shop, "a")
    holder.activate(issued.license_key)
    error, denial = denied(lambda: Computer(both.shop, "b").activate(issued.license_key), both.shop)
    told = both.api.explain(error.reference or "")
    assert (told.code, told.allowed, told.replayed) == ("no_free_seat", False, True)
    assert told.license_id == issued.license_id and told.reference == denial.reference
    typed = (error.reference or "").lower().replace("0", "o")
    assert (
        both.api.explain(typed).event_id
        == told.event_id
        == both.api.explain(told.event_id).event_id
    )
    allowed = both.api.explain(holder.device_id or "")
    assert allowed.allowed and allowed.code is None and allowed.replayed
    assert both.api.explain(issued.license_id).event_id == told.event_id
    for which in ("XXXXXXXX", "evt_x", "lic_x", "dev_x"):
        with pytest.raises(NotFound):
            both.api.explain(which)


def test_devices_show_kinds_of_traits_and_never_digests(both: Both) -> None:
    name = unique(both, "pro")
    both.api.create_plan(draft(name))
    issued = both.api.issue_license(IssueLicense(plan=name, customer="a"))
    device = Computer(both.shop, "a")
    device.activate(issued.license_key, label="desk")
    shown = both.api.list_devices(issued.license_id).items
    assert [d.device_id for d in shown] == [device.device_id]
    assert both.api.show_device(device.device_id or "") == shown[0]
    assert not any(str(t.digest) in str(shown) for t in device.traits)
    assert both.api.revoke_device(device.device_id or "", "stolen").state == "revoked"
    with pytest.raises(NotFound):
        both.api.show_device("dev_nothing")


def test_a_customer_is_exported_and_erased_and_the_log_still_verifies(both: Both) -> None:
    name = unique(both, "pro")
    reference = f"{unique(both, 'eve')}@example.com"
    both.api.create_plan(draft(name))
    issued = both.api.issue_license(
        IssueLicense(
            plan=name,
            customer=reference,
            label="her studio",
            metadata={"tel": "tel-0199-distinctive"},
        )
    )
    device = Computer(both.shop, "a")
    device.activate(issued.license_key, label="her laptop")
    copy = device.copy()
    device.renew()
    denied(copy.renew, both.shop)
    both.api.revoke_device(device.device_id or "", "a copy, says tel-0199-distinctive")
    told = both.api.export_customer(reference)
    assert [r.license_id for r in told.licenses] == [issued.license_id]
    assert [d.label for d in told.devices] == ["her laptop"]
    kinds = [e.kind for e in told.events]
    assert kinds[0] == "license_issued" and len(kinds) == len({e.event_id for e in told.events})
    assert {"device_activated", "lease_renewed", "fork_found", "device_revoked"} <= set(kinds)
    erased = both.api.erase_customer(reference)
    assert (erased.licenses, erased.devices) == (1, 1)
    record = both.api.show_license(issued.license_id)
    assert (record.customer, record.label, record.metadata) == (None, None, {})
    assert record.state is LicenseState.REVOKED
    assert both.api.show_device(device.device_id or "").traits == []
    with pytest.raises(NotFound):
        both.api.export_customer(reference)
    both.api.export_customer(erased.customer_id)
    assert denied(device.renew, both.shop)[0].code == "license_revoked"
    lines = list(both.api.export_events())
    text = b"".join(lines).decode()
    for secret in (
        reference,
        "her laptop",
        "her studio",
        "tel-0199-distinctive",
        issued.license_key,
    ):
        assert secret not in text
    verify(both.shop, lines)


def verify(shop: Shop, lines: list[bytes], witness: str | None = None) -> audit.Report:
    keys = [VerifyKey.from_jwk(k.jwk, k.alg) for k in shop.trust.keys("checkpoint")]  # type: ignore[arg-type]
    return audit.verify_export(lines, None, keys, witness)


def test_the_log_is_exported_whole_and_agrees_with_an_older_checkpoint(both: Both) -> None:
    witness = both.api.checkpoint()
    both.api.create_plan(draft(unique(both, "pro")))
    report = verify(both.shop, list(both.api.export_events()), witness.note)
    assert report.events > witness.size == report.witnessed_size
    places = [event.index for event in both.api.list_events().items]
    assert places == list(range(len(places))) != []


def test_events_are_listed_in_the_order_of_the_log_whatever_their_ids(both: Both) -> None:
    """Two processes make events in one millisecond; an id that sorts first may be placed last."""
    shop, api = both.shop, both.api
    api.checkpoint()
    size = api.checkpoint().size

    unique_part = os.urandom(5).hex()

    def make(last: str) -> str:
        event_id = f"evt_019ca945-0a00-7000-8000-{unique_part}0{last}"
        known = recorder.Recorded(event_id, "AAAAAAAA")
        shop.server.context.store.write(
            lambda tx: recorder.record(
                tx, known, EventKind.PLAN_CREATED, at=shop.clock(), actor="test",
                subjects={"plan": "pln_test"}, params={},
            )
        )  # fmt: skip
        return known.event_id

    later = make("b")
    api.checkpoint()
    earlier = make("a")
    placed = [event.event_id for event in shop.events() if event.index is not None]
    assert placed.index(later) == size and earlier not in placed
    assert shop.events()[-1].event_id == earlier
    api.checkpoint()
    listed = shop.events()
    assert [event.index for event in listed] == list(range(len(listed)))
    assert [event.event_id for event in listed[size:]] == [later, earlier]


def test_four_who_sequence_at_once_give_every_event_one_place(both: Both) -> None:
    def work() -> None:
        for _ in range(4):
            both.shop.admin.create_token(Role.AUDITOR, 3600)
            both.shop.server.log.sequence()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    report = verify(both.shop, list(both.api.export_events()))
    assert report.events == len(both.shop.events())


def test_a_page_goes_on_after_an_event_that_got_its_place_meanwhile(both: Both) -> None:
    """Nothing is listed twice and nothing is left out when events are placed between two pages."""
    shop, api = both.shop, both.api
    for _ in range(120):
        api.create_token(Role.AUDITOR, 3600)
    first = api.list_events()
    api.checkpoint()
    second = api.list_events(first.next_cursor)
    ids = [event.event_id for event in (*first.items, *second.items)]
    assert len(ids) == len(set(ids)) == len(shop.events()[: len(ids)])
    assert ids == [event.event_id for event in shop.events()][: len(ids)]


def test_a_token_ends_by_time_and_by_revocation(both: Both) -> None:
    made = both.api.create_token(Role.SUPPORT, 3600, "shift")
    page = both.api.list_tokens()
    listed = {t.token_id: t for t in page.items}
    while page.next_cursor is not None:
        page = both.api.list_tokens(page.next_cursor)
        listed |= {t.token_id: t for t in page.items}
    assert listed[made.token_id].label == "shift" and made.token not in str(listed)
    both.shop.server.tokens.authenticate(made.token)
    both.api.revoke_token(made.token_id)
    with pytest.raises(CredentialInvalid):
        both.shop.server.tokens.authenticate(made.token)
    second = both.api.create_token(Role.SUPPORT, 10, "short")
    both.shop.clock.pass_(seconds=10)
    for token in (second.token, "mst_forged", "", "x" * 1000):
        with pytest.raises(CredentialInvalid):
            both.shop.server.tokens.authenticate(token)
    for seconds in (0, -5, 10**12):
        with pytest.raises(Misuse):
            both.api.create_token(Role.SUPPORT, seconds)
    with pytest.raises(NotFound):
        both.api.revoke_token("tok_nothing")


def test_models_are_published_through_both_doors(both: Both, tmp_path: Path) -> None:
    from modelseal.desk import publishing, sealing
    from modelseal.desk import workspace as workspaces

    plain = tmp_path / f"{unique(both, 'm')}.onnx"
    plain.write_bytes(b"weights" * 1000)
    with workspaces.open(both.shop.home) as desk:
        sealing.seal_paths(
            desk, [plain], tmp_path / "m.sealed", entitlements=["face.swap"], now=both.shop.clock()
        )
        done = publishing.publish(desk, both.api, tmp_path / "m.sealed", now=both.shop.clock())
        assert both.api.show_model(done.record_id).file_id == done.file_id
        assert both.api.show_model(done.file_id) == both.api.show_model(done.model, 1)
        gone = publishing.withdraw(desk, both.api, done.model, now=both.shop.clock())
        assert gone.withdrawn_at is not None
    with pytest.raises(NotFound):
        both.api.show_model("nothing")
