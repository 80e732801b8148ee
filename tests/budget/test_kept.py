"""What a relay keeps: no new delegation, stop, restored server or courier loses anything of it."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from modelseal.admin import BudgetState, RelayState
from modelseal.client.transport import HttpTransport, TransportSettings
from modelseal.errors import RelayWaiting, StateDamaged
from modelseal.server.relay import budget as budgets
from modelseal.server.relay import files, keeping, syncing
from modelseal.server.relay.given import Given
from modelseal.server.store import delegations, tables


def losing(device: Any) -> list[Any]:
    """The next answer to ``device`` is lost on its way; what came stands in the list."""
    core, seen = device._core, []
    real = core.transport.exchange

    def lost(*args: Any, **more: Any) -> Any:
        found = real(*args, **more)
        seen.append(found)
        if len(seen) == 1:
            raise RelayWaiting("the answer is lost on its way")
        return found

    core.transport.exchange = lost
    return seen


def test_a_lost_answer_comes_again_though_there_is_a_new_delegation(site):
    site.ask()
    with site.open():
        device = site.device("a")
        device.activate(site.key)
        seen = losing(device)
        with pytest.raises(RelayWaiting):
            device.renew()
        site.passes(hours=1)
        assert site.ask().number == 2
        device.renew()
        assert seen[0].body == seen[1].body
        assert device.renew().state == "ACTIVE"
        assert device.standing().lease.seq == 3
    site.sync()
    assert site.record().renewals_spent == 2


def test_a_stop_while_a_delegation_is_taken_in_leaves_one_that_gives(site, monkeypatch):
    site.ask()
    with site.open():
        device = site.device("a")
        device.activate(site.key)
    real = budgets._put

    def stop(*args: Any) -> None:
        real(*args)
        raise KeyboardInterrupt

    site.passes(hours=1)
    site.ask()
    with monkeypatch.context() as patch:
        patch.setattr(budgets, "_put", stop)
        with pytest.raises(KeyboardInterrupt), site.giving():
            pass
    with site.open():
        assert site.device("a").renew().state == "ACTIVE"
        site.passes(hours=1)
        assert site.device("a").renew().state == "ACTIVE"


def forget(site, **values: Any) -> None:
    """The server is as a backup had it: fewer acts, devices unknown."""
    store = site.shop.server.services.context.store
    with site.box() as box:
        relay = box.about.relay

    def act(tx: Any) -> None:
        delegations.change(tx, delegations.get(tx, relay), **values)
        tx.execute(tables.answered_requests.delete())
        mine = tables.devices.c.license_id == site.license_id
        tx.execute(tables.devices.delete().where(mine, tables.devices.c.seat_no > 1))

    store.write(act)


def test_a_relay_of_a_restored_server_goes_on_after_its_next_ask(site):
    site.ask()
    with site.open():
        device = site.device("a")
        device.activate(site.key)
        for _ in range(3):
            device.renew()
    site.sync()
    forget(site, renewals_spent=0, seats_spent=0, seats=2, renewals=3, reserved=2)
    by = site.ask()
    assert (by.seats, by.renewals) == (2, 3)
    with site.box() as box:
        assert (Given(box).spent("seats"), Given(box).spent("renewals")) == (1, 3)
        assert len(Given(box).acts()) == 4  # what the server forgot is told again
    site.sync()
    with site.box() as box:
        assert Given(box).acts() == []
    record = site.record()
    assert (record.seats_spent, record.renewals_spent) == (1, 3)
    site.ask()
    with site.open():
        assert site.device("a").renew().state == "ACTIVE"


def test_an_older_copy_that_asks_first_spends_nothing_twice(site):
    site.ask()
    with site.open():
        device = site.device("a")
        device.activate(site.key)
        device.renew()
    site.sync()
    with site.box() as box:
        Given(box).note(spent_seats="0", spent_renewals="0")
    site.ask()
    with site.box() as box:
        assert (Given(box).spent("seats"), Given(box).spent("renewals")) == (1, 1)


def courier(site) -> HttpTransport:
    trust = site.keeper.client._core.trust
    return HttpTransport(TransportSettings(site.shop.server.url, trust.tls_ca, None))


def test_what_a_courier_only_says_was_booked_is_told_again(site, tmp_path):
    site.ask()
    with site.open():
        site.device("a").activate(site.key)
    line = courier(site)
    with site.giving() as (box, giving):
        asked = syncing.question(box, site.now(), os.urandom, giving)
        hidden = msgspec.structs.replace(asked, questions=[])
        told = syncing.answer(hidden, line, site.shop.server.admin, None)
        [act] = asked.questions
        forged = files.Told(
            act.jkt, act.nonce, act.path, b"", 200, "application/json",
            b'{"state":"booked","event_id":"e","device_id":"d"}', True, None,
        )  # fmt: skip
        syncing.take_in(
            box, msgspec.structs.replace(told, answers=[forged]), tmp_path, site.now(), giving
        )
        assert Given(box).acts() == []
    line.close()
    site.ask()
    with site.box() as box:
        assert len(Given(box).acts()) == 1
    site.sync()
    assert site.record().seats_spent == 1


@pytest.mark.parametrize(
    "body", [b"[]", b"7", b'{"state":[]}', b'{"state":{"a":1},"why":[]}', b"{", b'{"code":[]}', b""]
)
def test_an_odd_answer_to_an_act_is_no_failure_and_loses_nothing(site, body):
    site.ask()
    with site.open():
        site.device("a").activate(site.key)
    with site.box() as box:
        given = Given(box)
        [act] = given.acts()
        given.booked(act.sent, syncing.Reply(200, "application/json", body))
        site_acts = given.acts()
        assert len(site_acts) == 1


def test_after_an_act_at_which_the_server_failed_no_later_one_is_told(site):
    site.ask()
    with site.open():
        device = site.device("a")
        device.activate(site.key)
        device.renew()
    line, asked = courier(site), []

    class Failing:
        def exchange(self, method: str, path: str, **more: Any) -> Any:
            asked.append(path)
            if len(asked) == 1:
                body = b'{"code":"internal_error"}'
                kind = "application/problem+json"
                return SimpleNamespace(status=500, media_type=kind, body=body, headers={})
            return line.exchange(method, path, **more)

        def stream(self, url: str) -> Any:
            return line.stream(url)

    with site.giving() as (box, giving):
        synced = syncing.over_line(
            box, Failing(), site.shop.server.admin, models=False, now=site.now(),
            random=os.urandom, giving=giving,
        )  # fmt: skip
        assert synced.failed == 2
        assert len(Given(box).acts()) == 2
    line.close()
    site.sync()
    record = site.record()
    assert (record.state, record.seats_spent, record.renewals_spent) == (BudgetState.ACTIVE, 1, 1)


def test_a_relay_that_hears_of_a_restore_tells_what_it_gave_again(site):
    site.ask()
    site.sync()
    with site.open():
        site.device("a").activate(site.key)
    site.sync()
    with site.box() as box:
        Given(box).note(after="evt_019ca945-0a00-713e-aa37-c7c879c30fc9")
    assert site.sync().state is RelayState.BEHIND
    with site.box() as box:
        assert len(Given(box).acts()) == 1
    site.sync()
    assert site.record().seats_spent == 1


def test_a_damaged_note_of_the_delegation_is_said_by_name(site):
    site.ask()
    with site.box() as box:
        Given(box).note(budget='{"delegation": 7}')
        with pytest.raises(StateDamaged):
            keeping.peek(box)
    with pytest.raises(StateDamaged), site.giving():
        pass
