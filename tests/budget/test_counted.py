"""Counts bound to the TPM: from an older or altered copy of its folder a relay gives nothing."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3

import pytest
from tests.client.real_shop import opens

from modelseal.admin import RelayState
from modelseal.cli import relay_budget
from modelseal.errors import ModelsealError, RelayWaiting, ServerFailed, StateDamaged
from modelseal.keys.tpm2 import chain
from modelseal.server.relay.box import Box
from modelseal.server.relay.given import Given


def shown(site):
    with site.box() as box:
        return relay_budget.told(box)["budget"]


def activate(site, *names, folder=None):
    with site.open(folder):
        for name in names:
            site.device(name).activate(site.key)


def stop(*_args):
    raise RuntimeError("the power is cut before the TPM was told")


def put_back(site, copy):
    shutil.rmtree(site.folder)
    shutil.copytree(copy, site.folder)


def test_a_folder_put_back_from_an_older_copy_gives_nothing_until_it_asks_again(site, tmp_path):
    site.ask()
    assert shown(site)["rollback"] == "prevented"
    activate(site, "a")
    older = shutil.copytree(site.folder, tmp_path / "older")
    with site.open():
        site.device("a").renew()
        site.device("b").activate(site.key)
    put_back(site, older)
    with site.open():
        with pytest.raises(RelayWaiting):
            site.device("c").activate(site.key)
        with pytest.raises(RelayWaiting):
            site.device("b").activate(site.key)
        assert opens(site.device("b"), site.shop.swap)
    assert shown(site)["stopped"] == "rolled_back"
    site.passes(hours=1)
    site.ask()
    assert shown(site)["stopped"] is None
    activate(site, "d")


def test_two_copies_on_one_machine_give_no_more_than_one(site, tmp_path):
    site.ask()
    copy = shutil.copytree(site.folder, tmp_path / "copy")
    activate(site, "a")
    with pytest.raises(RelayWaiting):
        activate(site, "b", folder=copy)
    activate(site, "c")
    assert site.sync().state is RelayState.FIRST
    assert not site.events("relay_overdrew")


@pytest.mark.parametrize("name", ["spent_seats", "spent_renewals"])
def test_counts_that_were_altered_give_nothing(site, name):
    site.ask()
    activate(site, "a")
    with site.box() as box:
        Given(box).note(**{name: "-5"})
    with pytest.raises(RelayWaiting):
        activate(site, "b")
    assert shown(site)["stopped"] == "altered"


def test_a_delegation_without_its_chain_is_no_delegation(site):
    """Whoever writes the disk cannot say that the counts are bound to nothing."""
    site.ask()
    with site.box() as box:
        text = box.noted("budget") or ""
        number = text.split('"chain":')[1].split(",")[0].rstrip("}")
        Given(box).note(budget=text.replace(f'"chain":{number}', '"chain":null'))
    with pytest.raises(StateDamaged), site.giving():
        pass


def test_a_note_that_is_taken_away_is_missed(site):
    site.ask()
    activate(site, "a")
    with site.box() as box, box.writing() as db:
        db.execute("DELETE FROM meta WHERE name = 'counted'")
    with pytest.raises(RelayWaiting):
        activate(site, "b")
    assert shown(site)["stopped"] == "not_counted"


def test_a_chain_that_the_tpms_owner_erased_is_missed(site):
    site.ask()
    activate(site, "a")
    with site.giving() as (_box, giving):
        counting = giving._budget.read().counting
    chain.erase(counting.kek, counting.handle)
    with pytest.raises(RelayWaiting):
        activate(site, "b")
    assert shown(site)["stopped"] == "rolled_back"
    site.passes(hours=1)
    site.ask()
    activate(site, "c")


def test_a_stop_before_the_tpm_was_told_is_made_good(site, monkeypatch):
    site.ask()
    with site.open():
        device = site.device("a")
        device.activate(site.key)
        with monkeypatch.context() as patch:
            patch.setattr(chain, "extend", stop)
            with pytest.raises(ServerFailed):
                device.renew()
        device.renew()
        assert device.standing().lease.seq == 2
    with site.box() as box:
        assert Given(box).spent("renewals") == 1


def test_of_copies_that_stopped_at_one_value_of_the_chain_only_one_goes_on(
    site, tmp_path, monkeypatch
):
    site.ask()
    activate(site, "a")
    base = shutil.copytree(site.folder, tmp_path / "base")
    copies = []
    for name in ("b", "c"):
        with monkeypatch.context() as patch:
            patch.setattr(chain, "extend", stop)
            with site.open(), contextlib.suppress(ModelsealError):
                site.device(name).activate(site.key)
        copies.append(shutil.copytree(site.folder, tmp_path / f"copy-{name}"))
        put_back(site, base)
    put_back(site, copies[0])
    activate(site, "b")
    put_back(site, copies[1])
    with pytest.raises(RelayWaiting):
        activate(site, "c")


def test_devices_written_into_its_store_spend_what_is_left_and_no_more(site):
    site.ask()
    with site.open():
        device = site.device("a")
        device.activate(site.key)
        for _ in range(3):
            device.renew()
    with contextlib.closing(sqlite3.connect(site.folder / "budget" / "budget.sqlite3")) as db:
        db.execute("UPDATE licenses SET seats = 900")
        db.commit()
    with site.open():
        with pytest.raises(RelayWaiting):
            site.device("a").renew()
        site.device("b").activate(site.key)
        with pytest.raises(RelayWaiting):
            site.device("c").activate(site.key)
    with Box(site.folder) as box:
        assert (Given(box).spent("seats"), Given(box).spent("renewals")) == (2, 3)
