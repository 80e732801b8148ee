"""The client against the real license server over HTTPS: the daily path, and the page for apps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.client.real_shop import EULA, PLAIN, opens
from tests.client.world import computer

from modelseal.admin import LicenseChange, PlanDraft
from modelseal.client import Client, Ports
from modelseal.desk import publishing
from modelseal.desk import workspace as workspaces
from modelseal.errors import (
    EulaNotAccepted,
    LicenseRevoked,
    LicenseSuspended,
    NotEntitled,
    TrialUsed,
)
from modelseal.license import license_key
from modelseal.license.plans import Plan, PlanEntitlement


def test_from_the_license_key_to_the_data_key(shop, make, tmp_path):
    key, license_id = shop.issue()
    client = make()
    told = []
    status = client.activate(key, label="studio", on_progress=lambda *step: told.append(step))
    assert (status.state, status.license_id, status.plan) == ("ACTIVE", license_id, "trial")
    assert (status.label, status.entitlements, status.binding) == ("studio", ["face.swap"], "bound")
    pulled = client.pull(tmp_path / "models")
    assert [m.name for m in pulled.models] == ["swap.onnx"]
    assert "restore.onnx" in pulled.not_granted
    fetched = (tmp_path / "models" / "swap.onnx").read_bytes()
    assert fetched == shop.sealed["swap.onnx"].read_bytes()
    assert opens(client, shop.swap)
    with pytest.raises(NotEntitled) as caught:
        client.keys_for(shop.restore, [1])
    assert caught.value.params["entitlement"] == "face.restore"
    assert client.pull(tmp_path / "models").models[0].outcome == "present"
    assert told


def test_from_trial_to_pro_is_one_renewal(shop, make):
    key, license_id = shop.issue()
    client = make()
    client.activate(key)
    shop.server.admin.change_license(license_id, LicenseChange(plan="pro"))
    status = client.renew()
    assert (status.plan, status.entitlements) == ("pro", ["face.restore", "face.swap"])
    assert opens(client, shop.restore)


def test_a_plan_for_testers_pulls_what_is_in_beta_and_the_others_do_not_ask_for_it(
    shop, make, tmp_path
):
    """Nobody else renews in vain for keys it does not get, and moving it needs no new download."""
    shop.publish("next.onnx", "early.models", b"next" * 999, channels=["beta"])
    entitled = [PlanEntitlement(id="early.models")]
    plans = {"early": ["beta", "stable"], "late": ["stable"]}
    made = {}
    for name, channels in plans.items():
        terms = Plan(entitlements=entitled, channels=channels)
        shop.server.admin.create_plan(PlanDraft(name=name, terms=terms))
        made[name] = make(state=name, on=name)
        made[name].activate(shop.issue(name)[0])
    early, late = made["early"].pull(tmp_path / "early"), made["late"].pull(tmp_path / "late")
    assert "next.onnx" in [m.name for m in early.models] and not early.renewed
    assert "next.onnx" not in [m.name for m in late.models] and not late.renewed
    with workspaces.open(shop.server.home) as desk:
        publishing.publish(desk, shop.server.admin, shop.sealed["next.onnx"], channels=["stable"])
    again = made["late"].pull(tmp_path / "late")
    assert again.renewed and "next.onnx" in [m.name for m in again.models]


def test_a_model_published_later_is_pulled_after_one_renewal_by_itself(shop, make, tmp_path):
    key, _ = shop.issue("many")
    client = make()
    client.activate(key)
    late = shop.publish("late.onnx", "many.models", b"late" * 9999)
    pulled = client.pull(tmp_path / "m")
    assert pulled.renewed
    assert [m.name for m in pulled.models] == ["late.onnx"]
    assert opens(client, late)
    newer = shop.publish("late.onnx", "many.models", b"newer" * 9999)
    assert opens(client, newer)
    assert client.pull(tmp_path / "m").models[0].release == 2


def test_keys_for_one_run_come_from_the_server_and_stay_in_memory(shop, make):
    """A revocation reaches the running client by its heartbeat and every new run at once."""
    key, license_id = shop.issue("online")
    client = make()
    assert client.activate(key).lease.enforcement == "online"
    assert opens(client, shop.swap)
    assert opens(client, shop.swap)
    client.renew()
    assert opens(client, shop.swap)
    shop.server.admin.revoke_license(license_id, "chargeback")
    client._keeper._poll(client.standing())
    for one in (client, make()):
        with pytest.raises(LicenseRevoked):
            opens(one, shop.swap)
        assert one.status().state == "REVOKED"


def test_a_new_run_of_a_revoked_online_license_opens_nothing(shop, make):
    key, license_id = shop.issue("online")
    with make() as first:
        first.activate(key)
        assert opens(first, shop.swap)
    shop.server.admin.revoke_license(license_id, "chargeback")
    with pytest.raises(LicenseRevoked):
        opens(make(), shop.swap)


def test_a_revoked_license_ends_at_the_next_renewal_with_a_reference(shop, make, tmp_path):
    key, license_id = shop.issue()
    client = make()
    client.activate(key)
    shop.server.admin.revoke_license(license_id, "chargeback")
    with pytest.raises(LicenseRevoked) as caught:
        client.renew()
    explained = shop.server.admin.explain(caught.value.reference)
    assert "license_revoked" in str(explained)
    assert client.status().state == "REVOKED"
    assert client.status().last_refusal.reference == caught.value.reference
    assert "chargeback" in client.status().last_refusal.reason
    assert not (tmp_path / "laptop" / "lease.jwt").exists()
    with pytest.raises(LicenseRevoked):
        opens(client, shop.swap)


def test_a_running_client_hears_of_a_revocation_from_the_status_list(shop, make):
    key, license_id = shop.issue()
    events = []
    client = make(on_event=events.append)
    client.activate(key)
    client._keeper.beat()
    shop.server.admin.revoke_license(license_id, "chargeback")
    client._keeper._poll(client.standing())
    assert client.status().state == "REVOKED"
    assert client._events.drain(5)
    assert "refused" in [str(event.name) for event in events]


def test_suspended_and_resumed(shop, make):
    key, license_id = shop.issue()
    client = make()
    client.activate(key)
    shop.server.admin.suspend_license(license_id, "unpaid")
    with pytest.raises(LicenseSuspended):
        client.renew()
    with pytest.raises(LicenseSuspended):
        opens(client, shop.swap)
    shop.server.admin.resume_license(license_id)
    assert client.renew().state == "ACTIVE"
    assert opens(client, shop.swap)


def test_lookup_then_agreement_then_activation(shop, make):
    key, _ = shop.issue("eula")
    client = make()
    found = client.lookup(key)
    assert (found.plan, found.seats, found.eula.digest) == ("eula", 1, EULA)
    with pytest.raises(EulaNotAccepted):
        client.activate(key)
    client.activate(key, eula=EULA, label="desk")
    assert client.lookup(key).holders[0].label == "desk"


def test_a_trial_is_given_once_per_computer(shop, make):
    first = make("one")
    license_key.parse(first.start_trial("free"))
    assert opens(first, shop.swap)
    with pytest.raises(TrialUsed):
        make("two").start_trial("free")
    assert make("three", on="another").start_trial("free")


def test_the_licensed_file_reallyopens(shop, make, tmp_path):
    """With the keys the client hands out, and with no others."""
    from modelseal import container

    client = make()
    client.activate(shop.issue()[0])
    place = Path(client.pull(tmp_path / "m").models[0].path)
    model = container.parse(container.BytesSource(place.read_bytes())).verify_signatures(
        client.trust.publisher_keys(), product="facefusion"
    )
    secrets = client.keys_for(model.file_id, [0, 1])
    index = model.open_index(secrets[0].view)
    target = bytearray(len(PLAIN))
    model.read_entry(index.entries[0], {1: secrets[1].view}, memoryview(target))
    assert bytes(target) == PLAIN


def test_nothing_of_the_model_or_its_keys_lies_in_clear_in_the_state(shop, make, tmp_path):
    client = make()
    client.activate(shop.issue()[0])
    client.pull()
    secrets = [s.reveal() for s in client.keys_for(shop.swap, [0, 1]).values()]
    content = b"".join(p.read_bytes() for p in (tmp_path / "laptop").rglob("*") if p.is_file())
    assert len(secrets) == 2
    for secret in (*secrets, PLAIN[:64]):
        assert secret not in content


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "embed-in-an-app.md"


def test_the_page_on_embedding_works_as_it_is_written(shop, tmp_path, monkeypatch):
    """Its two files, its code: a mistyped key, a taken seat, then activated and pulled."""
    blocks = PAGE.read_text("utf-8").split("```")
    toml = next(b for b in blocks if b.startswith("toml\n")).removeprefix("toml\n")
    code = next(b for b in blocks if "ms.activate(" in b).removeprefix("python\n")
    for example, real in (
        ("https://license.example.com", shop.server.url), ("cdn.example.com", "127.0.0.1:9"),
    ):  # fmt: skip
        toml = toml.replace(example, real)
    (tmp_path / "modelseal.toml").write_text(toml)
    (tmp_path / "trust.json").write_bytes(Path(shop.server.trust).read_bytes())
    (tmp_path / "EULA.txt").write_text("the agreement")
    monkeypatch.setenv("MODELSEAL_APP", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    key, _ = shop.issue()
    monkeypatch.setenv("MODELSEAL_STATE", str(tmp_path / "other"))
    with Client(background=False) as other:
        other.activate(key, label="the old laptop")
    monkeypatch.setenv("MODELSEAL_STATE", str(tmp_path / "state"))
    typed, told, chosen, bars = [key[:-1] + ("0" if key[-1] != "0" else "1"), key], [], [], []

    def choose(devices):
        chosen.append(devices[0]["label"])
        return devices[0]["device_id"]

    names = {
        "show": print, "tell": lambda *words: told.append(words), "choose": choose,
        "ask": lambda what: typed.pop(0) if what == "License key" else "desk",
        "bar": lambda name, done, total: bars.append((name, done == total)),
    }  # fmt: skip
    exec(compile(code, str(PAGE), "exec"), names)
    with names["ms"] as ms:
        assert (told, chosen) == ([("Look again at group 4",)], ["the old laptop"])
        assert ms.status().label == "desk"
        assert ("swap.onnx", True) in bars
        assert (tmp_path / "models" / "swap.onnx").exists()
        assert opens(ms, shop.swap)


def test_an_app_finds_everything_in_its_modelseal_toml(shop, tmp_path, monkeypatch):
    folder = tmp_path / "app"
    folder.mkdir()
    shutil.copy(shop.server.trust, folder / "trust.json")
    (folder / "modelseal.toml").write_text(
        f'product = "facefusion"\nserver = "{shop.server.url}"\ntrust = "trust.json"\n'
    )
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    traits = computer("app")
    ports = Ports(traits=lambda: traits, environ={})
    with Client(folder, background=False, ports=ports) as client:
        client.activate(shop.issue()[0])
        assert opens(client, shop.swap)
    assert (tmp_path / "data" / "facefusion" / "lease.jwt").exists()
