"""Hardware leases from end to end: the client, its TPM, the server; time and power under test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.client.real_shop import Shop, opens, running
from tests.client.world import computer
from tests.leases.conftest import trust_roots

from modelseal.admin import PlanDraft
from modelseal.client import Client, Ports
from modelseal.client.tpm import DeviceTpm
from modelseal.errors import (
    EnforcementNotReached,
    KeyNotInLease,
    KeyStoreUnavailable,
    LeaseExpired,
    LeaseKeyEnded,
    LevelNotReached,
    NotEntitled,
    ServerUnreachable,
)
from modelseal.license.plans import Binding, LeaseTerms, Plan, PlanEntitlement
from modelseal.server.services.limits import Limiter
from modelseal.tpm2.chip.state import clear, clock_set
from modelseal.types import LeaseState

SWAP, RESTORE = PlanEntitlement(id="face.swap"), PlanEntitlement(id="face.restore", min_level=2)
HOUR = LeaseTerms(max_seconds=3600, power_cuts=2)
TERMS = {
    "hard": Plan(entitlements=[SWAP], enforcement="hardware", lease=HOUR, seats=9),
    "week": Plan(entitlements=[SWAP], enforcement="hardware", seats=9),
    "levels": Plan(entitlements=[SWAP, RESTORE], seats=9),
    "bound": Plan(entitlements=[SWAP], binding=Binding(min_level=2), seats=9),
    "runs": Plan(entitlements=[SWAP, RESTORE], enforcement="online", seats=9),
    "try": Plan(
        entitlements=[SWAP], enforcement="hardware", trial_once_per_device=True,
        period_seconds=86400,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory, factory) -> Iterator[Shop]:
    with running(tmp_path_factory.mktemp("shop")) as made:
        trust_roots(made.server.home, factory)
        for name, terms in TERMS.items():
            made.server.admin.create_plan(PlanDraft(name=name, terms=terms))
        yield made
        made.offset[0] = timedelta(0)


class NoNetwork:
    """A transport that reaches nobody."""

    def exchange(self, *_args, **_more):
        raise ServerUnreachable("no network")

    fetch = exchange

    def close(self):
        pass


class Device:
    """A computer with its TPM: clients over one state folder, on a clock and network of its own."""

    def __init__(self, shop, folder, address):
        self.shop, self.state, self.address = shop, folder, address
        self.offset, self.online = timedelta(0), True
        self.clients = []

    def client(self, **more):
        def transport(settings):
            if not self.online:
                return NoNetwork()
            from modelseal.client.transport import HttpTransport

            return HttpTransport(settings)

        ports = Ports(
            now=lambda: datetime.now(UTC) + self.offset,
            traits=computer,
            tpm=lambda _address: DeviceTpm(self.address),
            transport=transport,
        )
        made = Client(
            state=self.state, server=self.shop.server.url, ports=ports, background=False,
            trust=self.shop.server.home / "trust.json", **more,
        )  # fmt: skip
        self.clients.append(made)
        return made

    def sibling(self):
        """Another state folder on the same computer."""
        made = Device(self.shop, self.state.with_name("other"), self.address)
        made.clients = self.clients
        return made

    def activated(self, plan, **more):
        key, self.license_id = self.shop.issue(plan, **more)
        made = self.client()
        made.activate(key)
        return made

    def passes(self, **span):
        """Time passes for the server, the computer and, left powered on, its TPM."""
        self.offset += timedelta(**span)
        self.shop.offset[0] = self.offset


@pytest.fixture
def device(shop, tmp_path, tpm):
    made = Device(shop, tmp_path / "state", tpm.address)
    shop.server.services.devices.limiter = Limiter()
    yield made
    for client in made.clients:
        client.close()
    shop.offset[0] = timedelta(0)


def run_out(tpm, client):
    """The TPM's clock reaches the end of the lease."""
    end = client.standing().lease.hardware
    with tpm.connect() as found:
        clock_set(found, end.clock_limit_ms)


def test_a_plan_for_hardware_activates_by_itself_where_a_tpm_proves_itself(shop, device):
    client = device.activated("hard")
    status = client.status()
    assert (status.state, status.level, status.lease.enforcement) == ("ACTIVE", 2, "hardware")
    assert status.hardware.power_cuts == 2
    end = status.hardware
    assert end.longest_seconds == end.powered_on_seconds + 2 * 70 * 60 <= 3600 + 8400
    assert opens(client, shop.swap)
    lease = client.standing().lease
    assert client.renew().lease.seq == lease.seq + 1
    assert opens(client, shop.swap)
    assert "no copy" and [item.level for item in lease.keys] == [2]


def test_status_prints_how_long_the_tpm_answers_at_most(shop, device, capsys):
    """An hour, and 70 minutes for each of two power cuts, rounded up to hours: never less."""
    from modelseal.cli import standing

    standing.tell(device.activated("hard").status())
    shown = " ".join(capsys.readouterr().out.split())
    assert "ends it after 0 d 1 h powered on" in shown
    assert "70 minutes, 2 of them: 0 d 4 h at most" in shown
    assert "slow its clock" in shown and "hardware" in shown and "L2" in shown


def test_the_default_guess_of_a_week_is_corrected_by_the_server_without_a_refusal(shop, device):
    client = device.activated("hard")
    assert client.standing().lease.seq == 1
    assert 3500 < client.standing().lease.exp - client.standing().lease.iat <= 3600
    denied = [e for e in shop.server.admin.list_events(None).items if e.kind == "lease_denied"]
    mine = [e for e in denied if e.subjects.get("license") == device.license_id]
    assert len(mine) == 1  # the first question, before the plan's demand was known


def test_without_a_tpm_the_plan_refuses_with_six_and_says_so(shop, device, tmp_path):
    device.address = f"unix:{tmp_path}/none"
    with pytest.raises(EnforcementNotReached) as caught:
        device.activated("hard")
    assert caught.value.exit_code == 6 and caught.value.params["needed"] == "hardware"


def test_a_tpm_without_a_certificate_of_its_maker_is_l0_and_the_plan_refuses(shop, device, new_tpm):
    device.address = new_tpm(fresh=True).address
    with pytest.raises(EnforcementNotReached):
        device.activated("hard")
    status = device.activated("levels").status()
    assert (status.level, status.level_verdict) == (0, "ek_certificate_missing")


def test_an_entitlement_from_l2_on_opens_at_once_where_the_tpm_proves_it(shop, device):
    client = device.activated("levels")
    status = client.status()
    assert (status.level, status.level_missing, status.lease.seq) == (2, [], 2)
    assert opens(client, shop.restore) and opens(client, shop.swap)


def test_an_online_run_gets_what_its_tpm_opens_and_without_it_the_rest(shop, device, tmp_path):
    client = device.activated("runs")
    status = client.status()
    assert (status.lease.enforcement, status.hardware, status.level) == ("online", None, 2)
    assert opens(client, shop.restore) and opens(client, shop.swap)
    client.close()
    device.address = f"unix:{tmp_path}/none"
    without = device.client()
    assert opens(without, shop.swap)
    with pytest.raises(KeyNotInLease):
        without.keys_for(shop.restore, [1])


def test_without_a_tpm_the_entitlement_stays_closed_and_status_says_why(shop, device, tmp_path):
    device.address = f"unix:{tmp_path}/none"
    client = device.activated("levels")
    status = client.status()
    assert (status.level, status.lease.enforcement) == (0, "software")
    missing = status.level_missing
    assert [(m.entitlement, m.needed, m.reached) for m in missing] == [("face.restore", 2, 0)]
    assert opens(client, shop.swap)
    with pytest.raises((NotEntitled, LevelNotReached, KeyNotInLease)):
        client.keys_for(shop.restore, [1])
    client.renew()
    assert client.status().level == 0


def test_a_root_that_is_not_pinned_leaves_the_device_at_l0_with_the_reason_in_status(
    shop, device, factory
):
    folder = trust_roots(shop.server.home, factory)
    shutil.rmtree(folder)
    try:
        client = device.activated("levels")
        status = client.status()
        assert (status.level, status.lease.enforcement) == (0, "software")
        assert status.level_verdict == "ek_root_unknown"
        with pytest.raises(EnforcementNotReached) as caught:
            device.sibling().activated("hard")
        assert caught.value.params["verdict"] == "ek_root_unknown"
    finally:
        trust_roots(shop.server.home, factory)
    assert client.renew().level == 2
    assert client.status().level_verdict is None and opens(client, shop.restore)


def test_a_plan_that_demands_l2_is_reached(shop, device):
    assert device.activated("bound").status().level == 2


def test_a_trial_with_hardware_enforcement_starts(shop, device):
    client = device.client()
    client.start_trial("try")
    status = client.status()
    assert (status.lease.enforcement, status.level) == ("hardware", 2)


def test_at_its_end_the_tpm_refuses_and_a_renewal_heals_it(shop, device, tpm):
    client = device.activated("hard")
    run_out(tpm, client)
    assert opens(client, shop.swap)  # one renewal, by itself
    assert client.standing().lease.seq == 2


def test_offline_the_tpm_refuses_at_its_end_whatever_the_computers_clock_says(shop, device, tpm):
    client = device.activated("hard")
    run_out(tpm, client)
    device.online = False
    offline = device.client()
    with pytest.raises(LeaseKeyEnded) as caught:
        offline.keys_for(shop.swap, [1])
    assert caught.value.params["verdict"] == "time_over" and caught.value.exit_code == 3
    for _ in range(3):
        tpm.kill()
        tpm.start()
        with pytest.raises(LeaseKeyEnded):
            device.client().keys_for(shop.swap, [1])


def test_after_n_resets_the_lease_key_asks_for_a_renewal_and_gets_it(shop, device, tpm):
    client = device.activated("hard")
    for _ in range(2):
        tpm.stop()
        tpm.start()
        assert opens(client, shop.swap)
    assert client.standing().lease.seq == 1
    tpm.stop()
    tpm.start()
    device.online = False
    with pytest.raises(LeaseKeyEnded) as caught:
        device.client().keys_for(shop.swap, [1])
    assert caught.value.params["verdict"] == "resets_over"
    assert opens(client, shop.swap)
    assert client.standing().lease.seq == 2


def test_an_old_lease_put_back_beside_the_same_tpm_is_refused(shop, device, tpm):
    client = device.activated("hard")
    old = device.state.with_name("old")
    shutil.copytree(device.state, old)
    run_out(tpm, client)
    client.renew()
    assert opens(client, shop.swap)
    client.close()
    shutil.rmtree(device.state)
    shutil.copytree(old, device.state)
    device.online = False
    restored = device.client()
    assert restored.standing().lease.seq == 1
    with pytest.raises(LeaseKeyEnded):
        restored.keys_for(shop.swap, [1])


def test_the_state_folder_beside_another_tpm_opens_nothing(shop, device, new_tpm):
    device.activated("week").close()
    device.address, device.online = new_tpm(fresh=True).address, False
    with pytest.raises(LeaseKeyEnded) as caught:
        device.client().keys_for(shop.swap, [1])
    assert caught.value.params["verdict"] == "another_tpm"


def test_a_cleared_tpm_gets_a_new_lease_at_the_next_contact(shop, device, tpm):
    client = device.activated("week")
    with tpm.connect() as found:
        clear(found)
    device.online = False
    with pytest.raises(LeaseKeyEnded):
        device.client().keys_for(shop.swap, [1])
    assert opens(client, shop.swap)
    assert client.standing().lease.seq == 2


def test_while_the_tpm_is_away_nothing_is_asked_and_nothing_is_lost(shop, device, tpm):
    client = device.activated("week")
    tpm.kill()
    with pytest.raises(KeyStoreUnavailable):
        client.renew()
    with pytest.raises(KeyStoreUnavailable):
        client.keys_for(shop.swap, [1])
    assert client.status().state == LeaseState.ACTIVE
    tpm.start()
    assert opens(client, shop.swap) and client.renew().lease.seq == 2


def test_an_ended_lease_is_erased_from_the_folder_too(shop, device):
    """The TPM ends the key; the client still leaves nothing of it."""
    client = device.activated("hard")
    secret = (device.state / "lease.key").read_bytes()
    device.online = False
    device.offset += timedelta(hours=2)
    gone = device.client()
    assert gone.standing().state == LeaseState.EXPIRED
    assert (device.state / "lease.key").read_bytes() != secret
    device.offset -= timedelta(hours=2)
    with pytest.raises(LeaseExpired):
        device.client().keys_for(shop.swap, [1])
    client.close()


def test_no_key_that_opens_the_lease_lies_in_the_folder_in_clear(shop, device):
    client = device.activated("week")
    secrets = client.keys_for(shop.swap, [0, 1])
    for secret in secrets.values():
        raw = bytes(secret.view)
        for path in device.state.rglob("*"):
            if path.is_file():
                assert raw not in path.read_bytes()
        secret.close()


def test_a_lost_reply_is_answered_again_for_the_key_in_the_tpm(shop, device, monkeypatch):
    client = device.activated("week")
    from modelseal.client import answering

    def lose(*_args, **_more):
        raise ServerUnreachable("the reply was lost")

    with monkeypatch.context() as patched:
        patched.setattr(answering, "accept", lose)
        with pytest.raises(ServerUnreachable):
            client.renew()
    assert client.standing().lease.seq == 1 and opens(client, shop.swap)
    assert client.renew().lease.seq == 2
    assert opens(client, shop.swap)


def test_a_request_file_carries_the_proof_of_a_known_tpm(shop, device):
    client = device.activated("week")
    file = client.air_gap.request()
    response = shop.server.admin.respond(file.token)
    client.air_gap.import_response(response.response)
    lease = client.standing().lease
    assert (lease.seq, lease.enforcement, lease.level) == (2, "hardware", 2)
    assert opens(client, shop.swap)


def test_a_device_of_a_plan_with_levels_may_still_ask_by_file(shop, device, tmp_path):
    there, device.address = device.address, f"unix:{tmp_path}/none"
    client = device.activated("levels")
    device.address = there
    file = client.air_gap.request()
    response = shop.server.admin.respond(file.token)
    client.air_gap.import_response(response.response)
    assert (client.standing().lease.seq, client.status().level) == (2, 0)
    assert client.renew().level == 2


def test_a_device_key_that_moves_into_the_tpm_keeps_its_hardware_lease(shop, device):
    """Another signing key, another attestation key: it is enrolled anew within the renewal."""
    client = device.activated("week")
    before = client.status()
    moved = client.move_device(f"tpm2://{device.address}")
    assert (moved.device_id, moved.level) == (before.device_id, 2)
    assert moved.lease.enforcement == "hardware" and opens(client, shop.swap)
    client.close()
    again = device.client()
    assert opens(again, shop.swap) and again.renew().level == 2


def test_giving_the_seat_back_ends_it(shop, device):
    client = device.activated("week")
    client.deactivate()
    assert not (device.state / "lease.key").exists()


def test_a_revoked_license_is_denied_and_erased(shop, device):
    client = device.activated("week")
    shop.server.admin.revoke_license(device.license_id, "chargeback")
    with pytest.raises(Exception, match="license_revoked"):
        client.renew()
    assert not (device.state / "lease.jwt").exists()


def test_a_plan_changed_to_hardware_is_followed_by_one_denial_and_heals(shop, device):
    from modelseal.admin import LicenseChange

    key, license_id = shop.issue("three")
    client = device.client()
    client.activate(key)
    assert client.status().lease.enforcement == "software"
    shop.server.admin.change_license(license_id, LicenseChange(plan="hard"))
    with pytest.raises(EnforcementNotReached):
        client.renew()
    assert client.renew().lease.enforcement == "hardware"
    assert opens(client, shop.swap)
