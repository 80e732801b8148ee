"""Leases ahead lie at a relay, and devices in the closed network live on them."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.airgap.conftest import made, shop  # noqa: F401 - fixtures
from tests.airgap.world import Cable
from tests.client.faults import Crash, CrashingFolder, Fuse
from tests.relay.closed import Inside, Site
from tests.server.world import Shop

from modelseal import errors
from modelseal.admin import LicenseChange
from modelseal.client.folder import Folder
from modelseal.license.plans import LeaseTerms

LEASE = LeaseTerms(max_seconds=6 * 86400, renew_after_seconds=2 * 86400, ahead=4)
PERIOD = {"days": 2, "hours": 3}
"""Until a lease is due: up to a sixteenth later than the plan says."""


@pytest.fixture
def sites(shop: Shop, tmp_path: Path) -> Iterator[Callable[..., Site]]:  # noqa: F811
    """Makes relays, by name; ``of`` another one by copying its folder."""
    opened: list[Site] = []

    def make(name: str, of: Site | None = None) -> Site:
        folder = tmp_path / name
        built = Site(shop, folder) if of is None else of.copy(folder)
        opened.append(built)
        return built

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def site(sites: Callable[..., Site], key: str) -> Site:
    """A relay that was synchronised once since there is a plan."""
    built = sites("relay")
    built.sync()
    return built


@pytest.fixture
def device(
    shop: Shop, site: Site, tmp_path: Path, made: tuple[Path, Path]  # noqa: F811
) -> Iterator[Callable[..., Inside]]:  # fmt: skip
    """Makes devices in the closed network, by name."""
    opened: list[Inside] = []

    def make(name: str = "laptop", at: Site | None = None) -> Inside:
        built = Inside(shop, tmp_path / name, made[1] / "swap.onnx.sealed", at or site)
        opened.append(built)
        return built

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def key(shop: Shop) -> str:  # noqa: F811
    """A license key of a plan with four leases ahead."""
    shop.plan(lease=LEASE, seats=2)
    return shop.license().license_key


@pytest.fixture
def laptop(device: Callable[..., Inside], site: Site, key: str) -> Inside:
    """A device that was activated through the relay; its leases ahead lie there."""
    return settled(site, device(), key)


def settled(site: Site, device: Inside, key: str) -> Inside:
    before = site.codes
    assert not device.activate(key)
    site.sync()
    assert device.activate(key)
    assert site.codes == before + LEASE.ahead
    return device


def found(shop: Shop) -> list[str]:  # noqa: F811
    """What was found about relays, in the order of the log."""
    return [event.params["finding"] for event in shop.events("relay_overdrew")]


def test_a_device_lives_on_leases_ahead_one_period_after_another(shop, site, laptop):  # noqa: F811
    assert laptop.opens()
    for place in range(1, LEASE.ahead + 1):
        assert not laptop.renew()  # not due: the question waits, nothing is given out
        shop.clock.pass_(**PERIOD)
        laptop.restart()
        assert laptop.renew()
        assert laptop.seq == 1 + place
        assert laptop.opens()
    shop.clock.pass_(**PERIOD)
    assert not laptop.renew()  # there are no more
    assert laptop.opens()  # the last one runs on
    site.sync()
    assert laptop.renew()
    assert laptop.seq == 2 + LEASE.ahead and site.codes == LEASE.ahead
    shop.clock.pass_(**PERIOD)
    assert laptop.renew() and laptop.opens()  # the first of the new ones
    site.sync(), site.sync()
    assert not shop.events("relay_overdrew", "fork_found", "lease_denied")
    told = [event.params.get("released") for event in shop.events("relay_synced")]
    assert sum(filter(None, told)) == LEASE.ahead + 1


def test_the_background_and_a_load_take_leases_ahead_in_without_a_person(shop, laptop):  # noqa: F811
    shop.clock.pass_(days=2, hours=18)  # a fleet spreads out
    laptop.client._keeper.beat()
    assert laptop.seq == 2
    shop.clock.pass_(days=7)  # switched off; the lease has ended
    laptop.restart()
    assert laptop.client.status().state == "EXPIRED"
    assert laptop.opens()
    assert laptop.seq == 5  # the lease of the day, none of those before it


def test_a_revocation_ends_leases_ahead_at_the_next_sync(shop, site, laptop):  # noqa: F811
    shop.clock.pass_(**PERIOD)
    assert laptop.renew()
    license_id = laptop.client.status().license_id
    shop.admin.revoke_license(license_id, reason="chargeback")
    site.sync()
    assert site.codes == 0
    with pytest.raises(errors.LicenseRevoked):
        laptop.renew()
    assert not laptop.opens()
    site.sync(), site.sync()
    assert site.box.held() == []  # it was told, and told back
    assert found(shop) == []


def test_a_suspended_site_stands_still_and_goes_on_when_it_is_resumed(shop, site, laptop):  # noqa: F811
    license_id = laptop.client.status().license_id
    shop.admin.suspend_license(license_id, reason="late")
    site.sync()  # the device had not asked anything
    assert site.codes == 0
    shop.clock.pass_(**PERIOD)
    assert not laptop.renew()
    shop.admin.resume_license(license_id)
    site.sync()
    assert laptop.renew() and laptop.opens() and site.codes == LEASE.ahead
    assert laptop.seq == 2 + LEASE.ahead


def test_a_changed_license_ends_what_was_made_before(shop, site, laptop):  # noqa: F811
    shop.plan("other", lease=LeaseTerms(max_seconds=86400))
    shop.admin.change_license(laptop.client.status().license_id, LicenseChange(plan="other"))
    site.sync()
    assert site.codes == 0


def test_a_device_that_got_its_answer_elsewhere_uses_no_older_lease_and_is_no_fork(
    shop, site, laptop  # noqa: F811
):  # fmt: skip
    laptop.reaches(Cable(shop))
    assert laptop.renew()
    assert laptop.seq == 2 + LEASE.ahead
    shop.clock.pass_(**PERIOD)
    laptop.reaches(site.wire)
    assert not laptop.renew()  # the relay gives a code of before; it opens nothing here
    site.sync()
    assert laptop.renew() and laptop.opens()
    site.sync(), site.sync()
    assert not shop.events("fork_found") and found(shop) == []


def test_two_relays_at_one_site_hold_each_its_own(shop, site, sites, device, key):  # noqa: F811
    second = sites("second")
    second.sync()
    one, two = settled(site, device("one"), key), settled(second, device("two", second), key)
    shop.clock.pass_(**PERIOD)
    one.reaches(second.wire)
    assert not one.renew()
    one.reaches(site.wire)
    assert one.renew() and two.renew()
    one.reaches(second.wire)
    second.sync()
    assert one.renew() and one.opens()  # its question lay there, too
    site.sync(), second.sync(), site.sync(), second.sync()
    assert found(shop) == [] and not shop.events("fork_found")


def test_a_relay_with_a_fast_clock_opens_nothing_early_and_is_found(shop, site, laptop):  # noqa: F811
    site.fast = 5
    assert laptop.opens()
    before = laptop.snapshot()
    assert not laptop.renew()
    assert laptop.seq == 1 and laptop.opens()
    assert {**laptop.snapshot(), "state.json": b"", "lease.key": b"", "next.key": b""} == {
        **before, "state.json": b"", "lease.key": b"", "next.key": b"",
    }  # fmt: skip
    site.fast = 0
    site.sync()
    assert found(shop) == ["early"]
    [event] = shop.events("relay_overdrew")
    assert event.params["device"] == laptop.id and event.params["place"] == 2
    assert site.box.noted("overdrawn") == "1"
    shop.clock.pass_(**PERIOD)
    assert laptop.renew() and laptop.opens()


def test_an_early_lease_on_an_altered_device_is_found_when_that_is_heard(shop, site, laptop):  # noqa: F811
    site.fast = 5
    laptop.fast = 5
    assert laptop.renew()
    assert laptop.seq == 3
    laptop.fast = 0
    site.forge("UPDATE held SET released = 0, released_at = NULL")  # and the relay says nothing
    site.fast = 0
    assert not laptop.renew()
    site.sync()
    assert found(shop) == ["early"]


def test_a_relay_that_hides_what_it_gave_out_is_found_one_sync_later(shop, site, laptop):  # noqa: F811
    shop.clock.pass_(**PERIOD)
    assert laptop.renew()
    assert not laptop.renew()
    site.forge("UPDATE held SET released = 0, released_at = NULL")
    site.sync()
    assert found(shop) == []  # it could have happened after the report was made
    site.sync(), site.sync()  # under this clock the device was heard as the first one ended
    assert found(shop) == ["silent"]
    site.sync()
    assert found(shop) == ["silent"]


def test_a_relay_put_back_after_an_end_is_found(shop, site, sites, laptop):  # noqa: F811
    copy = sites("copy", of=site)
    license_id = laptop.client.status().license_id
    shop.admin.revoke_license(license_id, reason="chargeback")
    for _ in range(3):
        site.sync()
    assert site.codes == 0 and copy.codes == LEASE.ahead
    shop.clock.pass_(**PERIOD)
    laptop.reaches(copy.wire)
    assert laptop.renew()  # the copy was never told
    assert not laptop.renew()
    assert copy.sync().state == "apart"
    assert found(shop) == ["after_end"]
    with pytest.raises(errors.LicenseRevoked):
        laptop.renew()


def test_a_relay_made_anew_gets_the_codes_again(shop, site, sites, device, key):  # noqa: F811
    laptop = device()
    assert not laptop.activate(key)
    site.sync()
    anew = sites("anew")  # the first one burnt down before the device asked again
    anew.sync()
    laptop.reaches(anew.wire)
    assert not laptop.activate(key)
    anew.sync()
    assert laptop.activate(key) and anew.codes == LEASE.ahead
    shop.clock.pass_(**PERIOD)
    assert laptop.renew() and laptop.opens()


def test_files_carry_leases_ahead_and_an_older_one_brings_none_back(shop, site, device, key):  # noqa: F811
    laptop = device()
    assert not laptop.activate(key)
    old = site.carry(site.write())
    site.read(old)
    assert laptop.activate(key) and site.codes == LEASE.ahead
    out = site.write()  # leaves the site before the next lease is given out
    shop.clock.pass_(**PERIOD)
    assert laptop.renew()
    laptop.reaches(Cable(shop))  # an hour at the airport
    shop.clock.pass_(**PERIOD)
    assert laptop.renew()
    laptop.reaches(site.wire)
    site.read(site.carry(out))
    assert site.codes == 0  # another answer followed
    site.read(old)
    assert site.codes == 0
    for _ in range(3):
        site.read(site.carry(site.write()))
    assert found(shop) == []  # silent about what came after the file was written, and honest
    assert laptop.opens()


def test_codes_of_another_device_or_none_at_all_change_nothing(shop, site, device, key):  # noqa: F811
    one, two = settled(site, device("one"), key), settled(site, device("two"), key)
    lying = site.box._db.execute("SELECT base, place, code FROM places ORDER BY place").fetchall()
    for (base, place, _), (_, _, code) in zip(lying, reversed(lying), strict=True):
        site.forge("UPDATE places SET code = ? WHERE base = ? AND place = ?", code, base, place)
    shop.clock.pass_(**PERIOD)
    before = [one.snapshot(), two.snapshot()]
    assert not one.renew() and not two.renew()
    site.forge("UPDATE places SET code = 'no code'")
    assert not one.renew() and not two.renew()
    for device_, known in zip((one, two), before, strict=True):
        assert device_.seq == 1 and device_.opens()
        assert device_.snapshot()["lease.jwt"] == known["lease.jwt"]
    site.sync()
    assert one.renew() and two.renew()


def test_a_lease_of_before_does_not_come_back(shop, site, laptop):  # noqa: F811
    codes = dict(site.box._db.execute("SELECT place, code FROM places").fetchall())
    shop.clock.pass_(days=4, hours=6)
    assert laptop.renew() and laptop.seq == 3
    site.forge("UPDATE places SET code = ? WHERE place = 3", codes[1])
    site.forge("UPDATE places SET code = ? WHERE place = 4", codes[2])
    for _ in range(2):
        shop.clock.pass_(**PERIOD)
        assert not laptop.renew()
        assert laptop.seq == 3
    site.sync()
    assert laptop.renew() and laptop.opens()


def test_what_cannot_be_noted_is_not_given_out(shop, site, laptop):  # noqa: F811
    shop.clock.pass_(**PERIOD)
    before = site.box.held()
    site.box._db.execute("PRAGMA query_only = ON")  # as a disk that fails
    with pytest.raises(errors.StorageFailed):
        laptop.client.renew()
    assert laptop.seq == 1 and site.box.held() == before
    site.box._db.execute("PRAGMA query_only = OFF")
    assert laptop.renew()


def test_a_question_asked_when_a_lease_was_due_brings_leases_ahead_too(shop, site, laptop):  # noqa: F811
    for round_ in range(2):
        shop.clock.pass_(**PERIOD)
        assert laptop.renew()  # the question waits from now on, with its keys
        site.sync()
        assert site.codes == LEASE.ahead
        shop.clock.pass_(**PERIOD)
        assert laptop.renew() and laptop.opens()
        assert laptop.seq == (round_ + 1) * (LEASE.ahead + 1) + 1
    assert found(shop) == []


def test_a_copied_folder_lives_no_longer_than_its_lease_and_is_a_fork(shop, site, laptop, device):  # noqa: F811
    twin = device("elsewhere/laptop")
    shutil.copytree(laptop.state, twin.state)
    twin.restart()
    shop.clock.pass_(**PERIOD)
    assert laptop.renew() and twin.renew()
    assert laptop.seq == twin.seq == 2
    assert not laptop.renew() and not twin.renew()
    site.sync()
    assert laptop.renew()
    with pytest.raises(errors.Forked):
        twin.client.renew()
    assert shop.events("fork_found") and found(shop) == []


def test_a_crash_anywhere_loses_no_lease_ahead(shop, site, laptop, made, tmp_path):  # noqa: F811
    """An answer with its leases ahead, and then one of these, are taken in wholly or once more."""
    shop.clock.pass_(**PERIOD)
    assert laptop.renew()
    site.sync()
    begun, crashed, step = shop.clock.now, True, 0
    with contextlib.closing(sqlite3.connect(":memory:")) as kept:
        site.box._db.backup(kept)
        while crashed:
            kept.backup(site.box._db)
            stick = made[1] / "swap.onnx.sealed"
            copy = Inside(shop, tmp_path / f"at-{step}" / "laptop", stick, site)
            shutil.copytree(laptop.state, copy.state)
            fuse = Fuse(at=step)
            copy.folder = lambda path, fuse=fuse: CrashingFolder(path, fuse)
            copy.restart()
            try:
                assert copy.renew()  # the answer
                shop.clock.pass_(**PERIOD)
                assert copy.renew()  # the first lease ahead that came with it
                crashed, fuse.at = False, None
            except Crash:
                copy.folder = Folder
                copy.restart()
                assert copy.opens()
                copy.renew()
                if shop.clock.now == begun:
                    shop.clock.pass_(**PERIOD)
                copy.renew()
            assert copy.seq == LEASE.ahead + 3 and copy.opens()
            copy.close()
            shop.clock.now = begun
            step += 1
    assert step > 25
