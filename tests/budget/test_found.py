"""What goes beyond a budget is found, what is over ends, and a stolen disk is worth nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3

import msgspec
import pytest
import tests.attested.boots as boots
from tests.client.real_shop import opens

from modelseal.admin import BudgetState, RelayState
from modelseal.client import revocation
from modelseal.client.transport import HttpTransport, TransportSettings
from modelseal.errors import (
    BudgetRefused,
    DelegationExceeded,
    KeyOfAnotherTpm,
    KeyPolicyFailed,
    KeyStoreUnavailable,
    LevelNotReached,
    ModelsealError,
    NoFreeSeat,
    RelayWaiting,
)
from modelseal.license import jws, tokens
from modelseal.license.claims import LeaseClaims
from modelseal.license.status import Status
from modelseal.server.relay import files, keeping, syncing
from modelseal.server.relay.box import Box
from modelseal.server.relay.budget import Budget
from modelseal.server.relay.given import Given
from modelseal.server.services.acts import DelegatedAct


def given(site, *names, folder=None):
    """Devices that the relay activated."""
    with site.open(folder):
        found = [site.device(name) for name in names]
        for each in found:
            each.activate(site.key)
    return found


def listed(device):
    """The device's state once it saw the status list that the relay has."""
    core = device._core
    revocation.check(core, core.held(), core.ports.now())
    return device.status().state


def overdrawn(site):
    return [event.params["why"] for event in site.events("relay_overdrew")]


def test_a_copied_relay_spends_twice_and_is_found_at_the_sync(uncounted, site, tmp_path):
    site.ask()
    site.sync()
    copy = shutil.copytree(site.folder, tmp_path / "copy")
    given(site, "a", "b")
    given(site, "c", "d", folder=copy)
    assert site.sync().state is RelayState.FOLLOWS
    assert site.sync(copy).state is RelayState.APART
    assert overdrawn(site) == ["seats", "seats"]
    record = site.record()
    assert (record.state, record.overdrawn, record.seats_spent) == (BudgetState.OVERDRAWN, 2, 2)
    with pytest.raises(BudgetRefused) as refused:
        site.ask()
    assert refused.value.params["why"] == "overdrawn"
    with Box(copy) as box:
        assert box.noted("budget_why") == "seats"
        assert box.noted("budget_state") == "overdrawn"
    site.shop.server.admin.restore_budget(record.relay)
    assert site.ask().number == 2


def test_a_relay_that_forgets_what_it_gave_is_found_by_the_counts(uncounted, site):
    site.ask()
    given(site, "a", "b")
    with site.box() as box:
        Given(box).note(spent_seats="0")
    with site.open(), pytest.raises(RelayWaiting):
        site.device("c").activate(site.key)  # its store has no more seats either
    with site.box() as box, box.writing() as db:
        db.execute("DELETE FROM questions")
    with contextlib.closing(sqlite3.connect(site.folder / "budget" / "budget.sqlite3")) as db:
        db.execute("UPDATE licenses SET seats = 9")
        db.commit()
    given(site, "d")
    site.sync()
    assert overdrawn(site) == ["seats"]
    assert site.record().seats_spent == 2


def test_a_device_that_nobody_reported_is_found_when_it_shows_up(site):
    site.ask()
    [device] = given(site, "a")
    with site.box() as box, box.writing() as db:
        db.execute("DELETE FROM acts")
    with site.open():
        device = site.device("a")
        device.renew()
    site.sync()
    assert overdrawn(site) == ["device_unknown"]
    event = site.events("relay_overdrew")[0]
    assert event.params["device"] == device.status().device_id


def test_what_a_revoked_relay_gave_is_revoked_where_the_newer_list_is_seen(site):
    by = site.ask()
    [device] = given(site, "a")
    site.sync()
    relay = site.record().relay
    assert site.shop.server.admin.revoke_budget(relay, "stolen").state is BudgetState.REVOKED
    site.sync()
    with site.open() as url:
        device = site.device("a", url)
        assert listed(device) == "REVOKED"
    statuses = site.shop.server.services.statuses
    found = tokens.read(
        statuses.token(int(by.status.uri.rsplit("/", 1)[1])), tokens.StatusListClaims,
        site.keeper.client._core.trust,
    )  # fmt: skip
    from modelseal.license import status

    bits = status.unpack(found.status_list)
    assert bits[by.status.idx // 4] >> 2 * (by.status.idx % 4) & 3 == Status.REVOKED
    with pytest.raises(BudgetRefused):
        site.ask()
    site.shop.server.admin.restore_budget(relay)
    site.sync()
    with site.open() as url:
        assert listed(site.device("a", url)) == "ACTIVE"


def test_after_its_end_a_delegation_gives_nothing_and_reserves_nothing(site):
    site.ask()
    seats = [site.shop.server.admin.show_license(site.license_id).seats]
    assert seats == [6]
    extra = [site.device(name, site.shop.server.url) for name in ("p", "q", "r", "s")]
    for each in extra[:3]:
        each.activate(site.key)  # 6 seats: the keeper's, three, and two that wait for the relay
    with pytest.raises(NoFreeSeat):
        extra[3].activate(site.key)
    site.passes(days=19.9)
    site.shop.server.services.budgets.release_ended()
    site.passes(days=0.2)
    site.shop.server.services.budgets.release_ended()
    extra[3].activate(site.key)
    with site.open(), pytest.raises(RelayWaiting):
        site.device("late").activate(site.key)


def test_the_machines_evidence_decides_whether_there_is_a_budget(site):
    boots.policy(site.shop.server.home, {
        "kinds": ["tpm2"], "reference": {"tpm2": [boots.registers(boots.ALTERED)]},
    })  # fmt: skip
    with pytest.raises(LevelNotReached) as refused:
        site.ask()
    assert refused.value.params["verdict"] == "measurement_mismatch"
    boots.policy(site.shop.server.home)
    with pytest.raises(LevelNotReached):
        site.ask(level=4)
    assert not site.events("delegation_given")
    assert site.ask().number == 1
    [event] = site.events("delegation_given")
    assert event.params["evidence"]["kinds"] == ["tpm2"]
    assert site.shop.server.admin.show_attestation(event.event_id).verdicts


def test_a_stolen_disk_opens_on_no_other_machine_and_in_no_other_state(site, tmp_path, new_tpm):
    site.ask()
    given(site, "a")
    with site.giving() as (_box, giving):
        keys = list(giving._budget.read().data_keys().values())
        private = giving._budget.read().keys.signing.to_pkcs8()[-32:]
        kem = giving._budget.read().keys.kem.to_bytes()[:32]
    held = b"".join(p.read_bytes() for p in site.folder.rglob("*") if p.is_file())
    assert keys and not any(secret in held for secret in (*keys, private, kem))
    assert site.key.encode() not in held and site.key.replace("-", "").encode() not in held
    other = new_tpm(fresh=True)
    with Box(site.folder) as box:
        Given(box).note(kek=f"tpm2://{other.address}?pcrs=sha256:4,7,8")
        with pytest.raises(KeyOfAnotherTpm):
            Budget(box, now=site.now, random=os.urandom)
        Given(box).note(kek=site.kek)
    boots.boot(site.tpm, boots.SECURE[-1:])
    with Box(site.folder) as box, pytest.raises(KeyPolicyFailed):
        Budget(box, now=site.now, random=os.urandom)


def test_keys_that_any_state_of_the_machine_opens_are_not_taken_for_a_budget(site):
    trust = (site.shop.server.home / "trust.json").read_bytes()
    with site.box() as box:
        for kek in ("file:kek.key", f"tpm2://{site.tpm.address}?file=free.tpm2"):
            with pytest.raises(KeyStoreUnavailable):
                keeping.prepare(box, trust, kek=kek, now=site.now())
        assert box.noted("kek") is None


def test_keys_that_lay_in_the_folder_are_never_delegated(site, tmp_path):
    """Who writes the disk knows them; the run that proves itself makes its own."""
    site.ask()
    before = site.giving
    with before() as (_box, giving):
        known = giving._budget.read().keys
    planted = tmp_path / "planted"
    shutil.copytree(site.folder / "budget" / "1", planted)
    site.passes(hours=1)
    shutil.copytree(planted, site.folder / "budget" / "2")
    again = site.ask()
    assert again.kem != known.kem.kid and again.jwk != dict(known.signing.jwk)
    with site.giving() as (_box, giving):
        opened = giving._budget.read()
        assert opened.keys.kem.kid == again.kem
    keys = opened.keys.place
    shutil.rmtree(keys)
    shutil.copytree(planted, keys)
    with pytest.raises(ModelsealError), site.giving():
        pass
    with site.box() as box:
        Given(box).note(kek="file:kek.key")
        trust = (site.shop.server.home / "trust.json").read_bytes()
        with pytest.raises(KeyStoreUnavailable):
            keeping.prepare(box, trust, kek=None, now=site.now())


def test_a_relay_that_runs_goes_by_its_new_delegation_at_once(site):
    first = site.ask()
    with site.open():
        device = site.device("a")
        device.activate(site.key)
        site.passes(hours=1)
        second = site.ask()
        device.renew()
        lease = device.standing().lease
        assert tokens.read_delegation(lease.delegation, site.keeper.client._core.trust)[0] == second
        assert first.kem != second.kem
        site.device("b").activate(site.key)
        assert opens(site.device("b"), site.shop.swap)
    assert [each.name for each in (site.folder / "budget").iterdir() if each.is_dir()].count("1")
    site.ask()
    assert not (site.folder / "budget" / "1").exists()


def test_files_carry_what_was_given_and_may_come_twice(site, tmp_path):
    site.ask()
    given(site, "a", "b")
    server = site.shop.server
    line = HttpTransport(TransportSettings(server.url, site.keeper.client._core.trust.tls_ca, None))
    with site.giving() as (box, giving):
        asked = files.read(
            files.write(syncing.question(box, site.now(), os.urandom, giving)), files.QuestionFile
        )
        assert len(asked.questions) == 2 and len(asked.report.serves) == 2
        for _ in range(2):
            told = syncing.answer(asked, line, server.admin, None)
            told = files.read(files.write(told), files.AnswerFile)
            syncing.take_in(box, told, tmp_path, site.now(), giving)
        assert Given(box).acts() == []
    line.close()
    record = site.record()
    assert (record.seats_spent, record.overdrawn, record.state) == (2, 0, BudgetState.ACTIVE)


def test_a_device_that_is_revoked_at_the_server_gets_nothing_here_after_a_sync(site):
    site.ask()
    [device] = given(site, "a")
    site.sync()
    site.shop.server.admin.revoke_device(device.status().device_id)
    site.sync()
    with site.open():
        device = site.device("a")
        with pytest.raises(RelayWaiting):
            device.renew()
        site.sync()
        with pytest.raises(Exception) as refused:
            device.renew()
        assert refused.value.code == "device_revoked"


def test_the_same_question_gets_the_same_answer_and_is_spent_once(site):
    site.ask()
    with site.open():
        device = site.device("a")
        device.activate(site.key)
        core = device._core
        first = device.standing().lease
        asked, real = [], core.transport.exchange

        def lost(*args, **more):
            found = real(*args, **more)
            asked.append(found)
            if len(asked) == 1:
                raise RelayWaiting("the answer is lost on its way")
            return found

        core.transport.exchange = lost
        with pytest.raises(RelayWaiting):
            device.renew()
        device.renew()
        second = device.standing().lease
    lease = [msgspec.json.decode(each.body)["lease"] for each in asked]
    claims = [jws.parse(each, max_bytes=1 << 20).payload for each in lease]
    assert claims[0]["jti"] == claims[1]["jti"] == second.jti and second.prev == first.jti
    with site.box() as box:
        assert Given(box).spent("renewals") == 1
        assert len(Given(box).acts()) == 2


def test_what_is_no_relays_act_is_refused_before_anything_is_looked_up(site):
    site.ask()
    given(site, "a")
    calls = site.shop.server.services.devices
    with site.box() as box:
        relay, [act] = box.about.relay, Given(box).acts()
    sent = msgspec.json.decode(act.token, type=DelegatedAct)
    own = site.keeper.client._core.held().lease_token
    other = "rly_019ca945-0a00-713e-aa37-c7c879c30fc9"
    for lease, request in ((own, sent.request), (sent.lease, "x"), ("x" * 16000, sent.request)):
        with pytest.raises(Exception) as refused:
            calls.book(relay, DelegatedAct(request, lease))
        assert refused.value.code.startswith("token_")
    with pytest.raises(Exception) as refused:
        calls.book(other, sent)
    assert refused.value.code == "not_found"
    trust = site.keeper.client._core.trust
    line = HttpTransport(TransportSettings(site.shop.server.url, trust.tls_ca, None))
    answer = line.exchange(
        "POST", f"/v1/relays/{relay}/acts", body=b'{"request":"' + b"x" * 200_000 + b'"}',
        headers={"Content-Type": "application/json"}, max_bytes=1 << 20,
    )  # fmt: skip
    line.close()
    assert answer.status == 413
    assert site.record().seats_spent == 0


def test_a_client_takes_nothing_from_a_relay_that_gives_more_than_it_was_let(site):
    """The relay's own key signs a longer lease; the device stays where it was."""
    site.ask()
    with site.giving() as (_box, giving):
        signer = giving._budget.read().keys.signing
    with site.open():
        device = site.device("a")
        device.activate(site.key)
        core, before = device._core, device.standing().lease
        real = core.transport.exchange

        def wide(*args, **more):
            found = real(*args, **more)
            told = msgspec.json.decode(found.body)
            claims = tokens.read(told["lease"], LeaseClaims, core.trust)
            longer = msgspec.structs.replace(claims, exp=claims.exp + 86400)
            told["lease"] = tokens.sign(longer, [signer])
            return type(found)(found.status, found.headers, msgspec.json.encode(told))

        core.transport.exchange = wide
        with pytest.raises(DelegationExceeded) as refused:
            device.renew()
        assert refused.value.params["member"] == "lease_max_seconds"
        assert device.standing().lease == before
        assert opens(device, site.shop.swap)
