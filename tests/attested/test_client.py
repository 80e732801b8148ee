"""Attested key release from end to end: the client, a real TPM emulator, the running server."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
import tests.attested.boots as boots
from tests.client.real_shop import PLAIN, opens

import modelseal
from modelseal.attest.verify import tpm2_evidence
from modelseal.cli import context, main
from modelseal.client import hardware
from modelseal.errors import KeyNotInLease, LevelNotReached, ServerUnreachable
from modelseal.runtime import default


@pytest.fixture
def activated(shop, device, tpm):
    """Activates a client under ``plan`` on a machine that booted with ``lines``."""

    def make(lines=boots.SECURE, plan="measured", log=True):
        made = boots.boot(tpm, lines)
        key, _ = shop.issue(plan)
        client = device.client(collectors=[boots.collector(tpm, made if log else b"")])
        client.activate(key)
        return client

    yield make
    default.use(None)


def refused(act):
    with pytest.raises(LevelNotReached) as found:
        act()
    return found.value


def test_a_machine_that_booted_as_the_policy_says_gets_the_keys_that_no_lease_carries(
    shop, activated
):
    client = activated()
    assert client.standing().lease.level == 0
    assert opens(client, shop.swap)
    with pytest.raises(KeyNotInLease):
        opens(client, shop.restore)
    proved = client.prove(shop.sealed["restore.onnx"])
    assert (proved.level, proved.kinds) == (3, ("tpm2",))
    assert opens(client, shop.restore)
    assert client.proved_level(shop.restore) == 3
    assert client.proved_level(shop.swap) == 0


@pytest.mark.parametrize("plan", ["measured", "measured-online", "measured-hard"])
def test_loading_proves_by_itself_what_a_model_demands(shop, activated, plan):
    client = activated(plan=plan)
    modelseal.use(client)
    with modelseal.open(shop.sealed["restore.onnx"]) as sealed:
        assert bytes(sealed.read("restore.onnx")) == PLAIN[::-1]
    with modelseal.open(shop.sealed["swap.onnx"]) as sealed:
        assert bytes(sealed.read("swap.onnx")) == PLAIN


def test_another_kernel_command_line_is_refused_by_name_and_ends_nothing(shop, activated):
    client = activated(boots.ALTERED)
    error = refused(lambda: client.prove(shop.sealed["restore.onnx"]))
    assert error.params["verdict"] == "measurement_mismatch"
    assert (error.params["level"], error.params["needed"]) == ("L0", "L3")
    assert "pcr8" in error.reason
    assert error.exit_code == 6
    assert opens(client, shop.swap)
    assert client.renew().state == "ACTIVE"


def test_a_refused_load_is_asked_for_once_and_names_what_is_missing(shop, activated):
    client = activated(boots.ALTERED)
    modelseal.use(client)
    for _ in range(3):
        error = refused(lambda: modelseal.open(shop.sealed["restore.onnx"]))
        assert error.params["verdict"] == "measurement_mismatch"
    denied = [e for e in shop.server.admin.list_events(None).items if e.kind == "lease_denied"]
    mine = [e for e in denied if e.subjects.get("device") == client.status().device_id]
    assert len(mine) == 1


def test_without_the_boot_log_nobody_knows_how_it_started(shop, activated):
    error = refused(lambda: activated(log=False).prove(shop.sealed["restore.onnx"]))
    assert error.params["verdict"] == "event_log_missing"


def test_without_a_policy_nothing_is_good_enough(shop, activated):
    client = activated()
    (shop.server.home / "server" / "attestation-policy.json").unlink()
    error = refused(lambda: client.prove(shop.sealed["restore.onnx"]))
    assert error.params["verdict"] == "reference_missing"


def test_a_damaged_policy_is_no_policy(shop, activated):
    client = activated()
    (shop.server.home / "server" / "attestation-policy.json").write_bytes(b"{")
    error = refused(lambda: client.prove(shop.sealed["restore.onnx"]))
    assert error.params["verdict"] == "policy_unreadable"


def test_a_tpm_of_an_unknown_maker_proves_nothing(shop, device, new_tpm):
    stranger = new_tpm(fresh=True)
    log = boots.boot(stranger)
    device.address = stranger.address
    key, _ = shop.issue("measured")
    client = device.client(collectors=[boots.collector(stranger, log)])
    client.activate(key)
    error = refused(lambda: client.prove(shop.sealed["restore.onnx"]))
    assert error.params["verdict"] == "tpm_not_proved"


def test_nothing_to_prove_it_with_is_said_as_such(shop, device):
    key, _ = shop.issue("measured")
    client = device.client(collectors=[])
    client.activate(key)
    error = refused(lambda: client.prove(shop.sealed["restore.onnx"]))
    assert error.params["verdict"] == "no_hardware"
    modelseal.use(client)
    try:
        assert refused(lambda: modelseal.open(shop.sealed["restore.onnx"])).exit_code == 6
    finally:
        default.use(None)


def test_a_renewal_ends_what_was_proved_and_loading_proves_it_again(shop, activated):
    client = activated()
    modelseal.use(client)
    client.prove(shop.sealed["restore.onnx"])
    client.renew()
    assert client.proved_level(shop.restore) == 0
    with modelseal.open(shop.sealed["restore.onnx"]) as sealed:
        assert bytes(sealed.read("restore.onnx")) == PLAIN[::-1]


def test_the_policy_says_how_long_the_keys_are_kept(shop, device, activated):
    client = activated()
    boots.policy(shop.server.home, {
        "kinds": ["tpm2"], "reference": {"tpm2": [boots.registers()]}, "max_lease_seconds": 60,
    })  # fmt: skip
    client.prove(shop.sealed["restore.onnx"])
    assert opens(client, shop.restore)
    device.passes(seconds=61)
    assert client.proved_level(shop.restore) == 0
    with pytest.raises(KeyNotInLease):
        opens(client, shop.restore)


def test_status_shows_the_level_that_was_proved_or_why_it_was_not(shop, activated):
    client = activated()
    [missing] = client.status().level_missing
    assert (missing.entitlement, missing.needed, missing.reached, missing.why) == (
        "face.restore", 3, 0, None,
    )  # fmt: skip
    client.prove(shop.sealed["restore.onnx"])
    status = client.status()
    assert (status.proved.level, status.proved.verdict, status.proved.kinds) == (3, "ok", ["tpm2"])
    assert status.level_missing == []
    client.renew()
    assert client.status().proved is None
    (shop.server.home / "server" / "attestation-policy.json").unlink()
    refused(lambda: client.prove(shop.sealed["restore.onnx"]))
    status = client.status()
    assert (status.unproved.level, status.unproved.verdict) == (3, "reference_missing")
    assert status.level_missing[0].why == status.unproved.why


def test_a_golden_machine_booted_by_the_operator_makes_the_policy_for_others(
    shop, activated, tpm, tmp_path, capsys
):
    client = activated()
    golden = boots.collector(tpm, boots.write(boots.SECURE)).collect(bytes(32))
    names = []
    for part in golden.parts:
        (tmp_path / part.name).write_bytes(part.data)
        names.append(str(tmp_path / part.name))
    policy = str(tmp_path / "policy.json")
    words = ["reference", "add", "--from", *names, "--kind", "tpm2", "--policy", policy, "--json"]
    assert main(["attest", *words]) == 4  # nobody vouches for the key yet
    assert main(["attest", *words, "--vouch-for-key"]) == 0
    home = str(shop.server.home)
    assert main(["attest", "policy", "use", policy, "--home", home, "--json"]) == 0
    assert client.prove(shop.sealed["restore.onnx"]).level == 3


def test_an_auditor_comes_to_the_verdict_of_a_release_again(
    shop, activated, device, tpm, tmp_path, capsys, monkeypatch
):
    """`attest prove` keeps what it showed, `attest result` is the server's signed word for it."""
    activated()

    @contextmanager
    def same_computer(*_words, **_more):
        yield device.client(collectors=[boots.collector(tpm, boots.write(boots.SECURE))])

    def run(*words, noun="attest"):
        assert main([*noun.split(), *map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    monkeypatch.setattr(context, "client", same_computer)
    kept, home = tmp_path / "kept", shop.server.home
    proved = run("prove", shop.sealed["restore.onnx"], "--save", kept)
    assert (proved["level"], proved["kinds"]) == (3, ["tpm2"])
    event = [e for e in shop.server.admin.list_events(None).items if "evidence" in e.params][-1]
    shown = run("result", event.event_id, "--save", tmp_path / "told", "--home", home)
    (record,) = shown["verdicts"]
    assert record["digest"] == event.params["evidence"]["results"][0]["result"]
    token, trust = tmp_path / "told" / "result-1.jwt", home / "trust.json"
    assert run(token, "--trust", trust, noun="verify")["digest"] == record["digest"]
    files = sorted((kept / "tpm2").iterdir(), key=lambda p: p.name != "tpm.cbor")
    evidence = [path for path in files if path.suffix != ".der" and path.suffix != ".hex"]
    beside = [w for path in files if path.suffix == ".der" for w in ("--endorsements", path)]
    again = run(
        "appraise", *evidence, "--kind", "tpm2", *beside, "--now", record["now"],
        "--report-data", (kept / "tpm2" / "report-data.hex").read_text(),
        "--policy", tmp_path / "told" / "policy-1.json", "--record", tmp_path / "again.json",
    )  # fmt: skip
    assert again["code"] == "ok"
    told = (tmp_path / "told" / "record-1.json").read_bytes()
    assert (tmp_path / "again.json").read_bytes() == told


def test_a_machine_that_takes_its_time_to_answer_is_proved_all_the_same(shop, device, tpm):
    """The lease gets shorter between the TPM's statement and the server's judgement."""

    class Slow:
        name = "tpm2"

        def __init__(self, collector):
            self._collector = collector

        def seeded(self, seed):
            return Slow(self._collector.seeded(seed))

        def is_here(self):
            return True

        def collect(self, report_data):
            found = self._collector.collect(report_data)
            device.passes(seconds=20)
            return found

    log = boots.boot(tpm)
    key, _ = shop.issue("measured-hard")
    client = device.client(collectors=[Slow(boots.collector(tpm, log))])
    client.activate(key)
    assert client.prove(shop.sealed["restore.onnx"]).level == 3


def test_a_good_machines_quote_says_nothing_about_the_one_that_asks_even_where_it_is_pinned(
    shop, device, tpm, new_tpm
):
    """The asking machine has a proved TPM of its own, and borrows the quote of a pinned one."""
    lender = new_tpm(fresh=True)  # copies of the factory's have one seed
    collector = boots.collector(lender, boots.boot(lender))
    boots.boot(tpm, boots.ALTERED)
    key, _ = shop.issue("measured")
    client = device.client(collectors=[collector])
    client.activate(key)
    own = collector.seeded(hardware.ak_seed(client._core.unlock())).collect(bytes(32))
    pin = tpm2_evidence.attestation_key([part.data for part in own.parts]).decode()
    boots.policy(shop.server.home, {
        "kinds": ["tpm2"], "reference": {"tpm2": [boots.registers()]}, "roots": {"tpm2": [pin]},
    })  # fmt: skip
    error = refused(lambda: client.prove(shop.sealed["restore.onnx"]))
    assert error.params["verdict"] == "tpm_not_proved"
    boots.policy(shop.server.home)
    error = refused(
        lambda: device.client(collectors=[collector]).prove(shop.sealed["restore.onnx"])
    )
    assert error.params["verdict"] == "tpm_not_proved"


def test_without_contact_a_level_of_leases_is_refused_here_and_a_higher_one_wants_the_server(
    shop, device
):
    """A TPM whose maker the server does not know: the lease is of L0."""
    roots = shop.server.home / "server" / "endorsements" / "tpm2"
    roots.rename(roots.with_name("away"))
    try:
        key, _ = shop.issue("two-levels")
        client = device.client()
        client.activate(key)
    finally:
        roots.with_name("away").rename(roots)
    modelseal.use(client)
    device.online = False
    client._core.transport.close()
    client._core._transport = None
    try:
        with pytest.raises(ServerUnreachable):
            modelseal.open(shop.sealed["restore.onnx"])
        assert refused(lambda: modelseal.open(shop.sealed["swap.onnx"])).params["needed"] == "L2"
    finally:
        default.use(None)
