"""Every kind of event has an act that writes it, in the transaction of that act and no other."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text
from tests.server.handing_over import move, successor
from tests.server.world import DAY, Computer, Shop, hardware
from tests.store.snapshots import forget, keep

from modelseal.admin import LicenseChange, PlanDraft, PutTrust, Role
from modelseal.audit import EventKind
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import catalog, publishing
from modelseal.desk import workspace as workspaces
from modelseal.desk.founding import TARGETS_LIFE
from modelseal.errors import ModelsealError, SignInRefused
from modelseal.license import lease_keys
from modelseal.license.plans import Anomaly, Binding, Plan, PlanEntitlement
from modelseal.server.services import LocalAdmin, idtoken, open_server, signin
from modelseal.server.services.config import SignInConfig
from modelseal.server.services.denials import refusal_of
from modelseal.server.services.provider import Provider
from modelseal.server.store import tokens as token_store
from modelseal.strict_json import b64u
from modelseal.trust import Use, keylist, writing

LATER = {
    EventKind.EVIDENCE_APPRAISED: "attestation",
    EventKind.CATALOG_CHANGED: "catalog sign",
    EventKind.SERVER_MIGRATED: "the second version of the schema",
    EventKind.SERVER_BACKED_UP: "server backup",
    EventKind.SERVER_RESTORED: "server restore",
    EventKind.WEBHOOK_CHANGED: "webhooks",
    EventKind.RELAY_SYNCED: "relays",
    EventKind.RELAY_OVERDREW: "relays",
    EventKind.LEASES_MADE_AHEAD: "relays",
    EventKind.DELEGATION_GIVEN: "budgets of relays",
    EventKind.DELEGATION_REVOKED: "budgets of relays",
    EventKind.DELEGATION_RESTORED: "budgets of relays",
}
Act = Callable[[], object]


class Acts:
    """``prepare(kind)`` does what comes before and gives the act itself."""

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop, self.folder = shop, folder
        self.api = shop.admin

    def prepare(self, kind: EventKind) -> Act:
        act: Act = getattr(self, kind.value)()
        return act

    def _license(self, **terms: Any) -> str:
        self.shop.plan("basic", "face.swap", **terms)
        return self.shop.license(seats=1).license_key

    def _device(self, **terms: Any) -> Computer:
        self.key = self._license(**terms)
        device = Computer(self.shop)
        device.activate(self.key)
        return device

    # -- devices and leases

    def device_activated(self) -> Act:
        key = self._license()
        return lambda: Computer(self.shop).activate(key)

    def device_rekeyed(self) -> Act:
        old = self._device()
        return lambda: move(old, successor(old))

    def device_replaced(self) -> Act:
        old = self._device()
        return lambda: Computer(self.shop, "b").activate(self.key, replace=old.device_id)

    def device_returned(self) -> Act:
        return self._device().give_back

    def device_revoked(self) -> Act:
        device = self._device()
        return lambda: self.api.revoke_device(device.device_id or "", "stolen")

    def device_unbound(self) -> Act:
        key = self._license()
        bare = Computer(self.shop, traits=hardware("a", "mac"))
        return lambda: bare.activate(key)

    def lease_renewed(self) -> Act:
        return self._device().renew

    def lease_denied(self) -> Act:
        device = self._device()
        self.api.suspend_license(device.license_id or "")
        return lambda: refused(device.renew)

    def lease_adopted(self) -> Act:
        device, token = self._ahead()
        moment = self.shop.clock()
        self.shop.server.context.store.write(
            token_store.add_restore, "evt_restore", moment - 2 * DAY, moment
        )
        return lambda: device.renew(lease_token=token)

    def lease_responded(self) -> Act:
        device = self._device()
        return lambda: self.api.respond(self._request_file(device, 0))

    def lease_code_given(self) -> Act:
        device = self._device()
        self.api.respond(self._request_file(device, 2))
        return lambda: self.api.lease_code(device.device_id or "")

    def _request_file(self, device: Computer, ahead: int) -> bytes:
        kem = [device.kem(KemPrivateKey.generate())[0] for _ in range(1 + ahead)]
        return device.sign(device.request("renew", kem=kem, next_count=ahead))

    def store_behind(self) -> Act:
        device, token = self._ahead()
        return lambda: refused(lambda: device.renew(lease_token=token))

    def _ahead(self) -> tuple[Computer, str]:
        """A device whose newest lease the store has forgotten, and that lease."""
        device = self._device()
        self.shop.clock.pass_(days=1)
        self.shop.server.close()
        put_back = keep(self.shop.home)
        with open_server(self.shop.home, now=self.shop.clock) as server:
            kem = KemPrivateKey.generate()
            asked = device.sign(device.request("renew", kem=device.kem(kem)))
            answer = server.devices.renew(device.device_id or "", asked)
            device._accept(answer.lease, answer.license, kem)
        put_back()
        self.shop.clock.pass_(days=1)
        return device, answer.lease

    def keys_released(self) -> Act:
        device = self._device(enforcement="online")
        return device.release

    def license_looked_up(self) -> Act:
        key = self._license()
        return lambda: Computer(self.shop).lookup(key)

    def trial_started(self) -> Act:
        self.shop.plan("trial", trial_once_per_device=True)
        return lambda: Computer(self.shop).trial("trial")

    def fork_found(self) -> Act:
        device = self._device()
        copy = device.copy()
        device.renew()
        return lambda: refused(copy.renew)

    def anomaly(self) -> Act:
        rule = Anomaly(rule="activation_farming", limit=1, per_seconds=3600)
        device = self._device(anomalies=[rule])
        return lambda: device.activate(self.key)

    def fork_healed(self) -> Act:
        device = self._device()
        copy = device.copy("other computer")
        copy.traits = copy.traits[:2]
        copy.renew()
        return device.renew

    # -- licenses and plans

    def license_issued(self) -> Act:
        self._license()
        return self.shop.license

    def _on_license(self, name: str, *more: Any) -> Act:
        self.shop.plan("basic", "face.swap", period_seconds=86400)
        license_id = self.shop.license().license_id
        if name == "resume_license":
            self.api.suspend_license(license_id)
        return lambda: getattr(self.api, name)(license_id, *more)

    def license_changed(self) -> Act:
        return self._on_license("change_license", LicenseChange(seats=7))

    def license_renewed(self) -> Act:
        return self._on_license("renew_license")

    def license_suspended(self) -> Act:
        return self._on_license("suspend_license", "unpaid")

    def license_resumed(self) -> Act:
        return self._on_license("resume_license")

    def license_revoked(self) -> Act:
        return self._on_license("revoke_license", "chargeback")

    def license_rekeyed(self) -> Act:
        return self._on_license("rekey_license")

    def plan_created(self) -> Act:
        return self.shop.plan

    def plan_changed(self) -> Act:
        self.shop.plan()
        terms = Plan(entitlements=[PlanEntitlement(id="face.swap")], seats=2)
        return lambda: self.api.update_plan("basic", PlanDraft(name="basic", terms=terms))

    # -- models, keys and trust

    def model_published(self) -> Act:
        self.api.catalog_state()

        def publish() -> object:
            shutil.rmtree(self.shop.home / "desk" / "models", ignore_errors=True)
            (self.shop.home / "desk" / "models").mkdir()
            for path in self.folder.glob("swap*"):
                path.unlink()
            return self.shop.publish(self.folder, "swap.onnx", "face.swap")

        return publish

    def model_withdrawn(self) -> Act:
        model = self.shop.publish(self.folder, "swap.onnx", "face.swap")

        def withdraw() -> object:
            with workspaces.open(self.shop.home) as desk:
                return publishing.withdraw(desk, self.api, model.model, now=self.shop.clock())

        return withdraw

    def bundle_stored(self) -> Act:
        self.shop.publish(self.folder, "swap.onnx", "face.swap")
        return self._device().renew

    def key_rotated(self) -> Act:
        return lambda: self.api.make_keys(["checkpoint"])

    def keys_rewrapped(self) -> Act:
        return lambda: self.api.rotate_kek(None)

    def trust_changed(self) -> Act:
        home, now = self.shop.home, self.shop.clock()
        with workspaces.open(home) as desk:
            old = keylist.read((desk.desk / "tuf" / "keys").read_bytes())
            fresh = SigningKey.generate().verify_key()
            added = keylist.trusted(Use.ENDORSEMENT, fresh, "endorsement-2", not_before=now)
            new = keylist.write(
                keylist.KeyList(2, old.product, old.server_id, old.trait_salt, (*old.keys, added))
            )
            role = writing.sign(
                writing.keys_role(2, now + TARGETS_LIFE, new), desk.desk_signers("keys", now)
            )
            targets = catalog.signed_next(desk, catalog.current(desk), {}, now)
        wish = PutTrust(roots=[], targets=targets, keys_role=role, key_list=new)
        return lambda: self.api.put_trust(wish)

    # -- people

    def customer_exported(self) -> Act:
        self._device()
        return lambda: self.api.export_customer("li@example.com")

    def customer_erased(self) -> Act:
        self._device()
        return lambda: self.api.erase_customer("li@example.com")

    def token_created(self) -> Act:
        return lambda: self.api.create_token(Role.SUPPORT, 60)

    def token_revoked(self) -> Act:
        made = self.api.create_token(Role.SUPPORT, 60)
        return lambda: self.api.revoke_token(made.token_id)

    def access_denied(self) -> Act:
        made = self.api.create_token(Role.AUDITOR, 60)
        actor = self.shop.server.tokens.authenticate(made.token)
        return lambda: LocalAdmin(self.shop.server, actor).record_denied("/v1/admin/plans")

    # -- people who sign in

    def _person(self, **claims: object) -> tuple[str, str]:
        """An ID token of a provider whose one key the server knows, and its proof."""
        key, proof = SigningKey.generate("ES256"), b64u(b"p" * 32)
        now = int(self.shop.clock().timestamp())
        said = {
            "iss": "https://id.example.com", "aud": "c", "sub": "li", "iat": now, "exp": now + 60,
            "nonce": signin.nonce_of(proof), "groups": ["a"], **claims,
        }  # fmt: skip
        held = self.shop.server.signin
        held._config = SignInConfig("https://id.example.com", "c", {"a": Role.OWNER})
        known = [idtoken.ProviderKey(None, "ES256", key.verify_key())]
        held._provider = Provider(held._config, self.shop.home, self.shop.clock)
        held._provider._keys, held._provider._known_at = known, self.shop.clock()
        parts = [b64u(json.dumps(part).encode()) for part in ({"alg": "ES256"}, said)]
        return ".".join([*parts, b64u(key.sign(".".join(parts).encode()))]), proof

    def signed_in(self) -> Act:
        token, proof = self._person()
        return lambda: self.shop.server.signin.open(token, proof, "here")

    def sign_in_refused(self) -> Act:
        token, proof = self._person(aud="other")
        act = self.shop.server.signin.open

        def turned_away() -> None:
            with contextlib.suppress(SignInRefused):
                act(token, proof, "here")

        return turned_away

    def signed_out(self) -> Act:
        made = self.shop.server.signin.open(*self._person(), "here")
        actor = self.shop.server.tokens.authenticate(made.token)
        return lambda: LocalAdmin(self.shop.server, actor).end_session()

    def events_exported(self) -> Act:
        return lambda: list(self.api.export_events())

    # -- the server itself

    def server_initialised(self) -> Act:
        self.shop.server.close()
        forget(self.shop.home)
        open_server(self.shop.home, now=self.shop.clock).close()
        with self.shop.server.context.store.engine.begin() as tx:
            for table in ("tuf_metadata", "tuf_files", "events", "events_pending", "secrets"):
                tx.execute(text(f"DELETE FROM {table}"))
        return lambda: open_server(self.shop.home, now=self.shop.clock).close()


def refused(act: Act) -> None:
    """``act`` is refused, or not decided; what the store does wrong is no refusal."""
    try:
        act()
    except ModelsealError as error:
        if refusal_of(error) is None and error.code != "store_behind":
            raise
        return
    raise AssertionError("nothing was refused")


@pytest.fixture
def acts(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Acts]:
    """The acts of a fresh shop whose leases carry one key; more travel in a bundle."""
    monkeypatch.setattr(lease_keys, "MAX_KEYS", 1)
    yield Acts(shop, tmp_path)


CARRIED = {EventKind.LEASE_RESPONDED}
"""Events about the carrying of an answer, whose act wrote an event of its own before."""
WRITTEN = [kind for kind in EventKind if kind not in LATER]


def test_every_kind_has_an_act_or_is_named_as_later() -> None:
    assert {kind for kind in EventKind if not hasattr(Acts, kind.value)} == set(LATER)


@pytest.mark.parametrize("kind", WRITTEN, ids=str)
def test_an_act_whose_event_cannot_be_written_did_not_happen(acts: Acts, kind: EventKind) -> None:
    act = acts.prepare(kind)
    before, had = rows(acts.shop), count(acts.shop, kind)
    refuse_events(acts.shop, kind)
    with pytest.raises(ModelsealError):
        act()
    assert rows(acts.shop) == before or kind in CARRIED
    allow_events(acts.shop)
    act()
    assert count(acts.shop, kind) == had + 1


def count(shop: Shop, kind: EventKind) -> int:
    return len(shop.events(kind.value))


def rows(shop: Shop) -> dict[str, list[str]]:
    """Every row of the store but those of offices and of what is remade at will."""
    skipped = {"elections", "alembic_version", "secrets", "idempotency", "counters"}
    with shop.server.context.store.engine.begin() as tx:
        names = inspect(tx).get_table_names()
        return {
            name: sorted(repr(tuple(row)) for row in tx.execute(text(f"SELECT * FROM {name}")))
            for name in set(names) - skipped
        }


def refuse_events(shop: Shop, kind: EventKind) -> None:
    with shop.server.context.store.engine.begin() as tx:
        if tx.dialect.name == "postgresql":
            tx.exec_driver_sql(
                f"ALTER TABLE events ADD CONSTRAINT no_event CHECK (kind <> '{kind.value}')"
                " NOT VALID"
            )
            return
        tx.exec_driver_sql(
            f"CREATE TRIGGER no_event BEFORE INSERT ON events WHEN NEW.kind = '{kind.value}'"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )


def allow_events(shop: Shop) -> None:
    with shop.server.context.store.engine.begin() as tx:
        postgres = tx.dialect.name == "postgresql"
        tx.exec_driver_sql(
            "ALTER TABLE events DROP CONSTRAINT no_event" if postgres else "DROP TRIGGER no_event"
        )


def test_a_license_that_a_fork_suspends_has_its_own_event(shop: Shop) -> None:
    shop.plan("strict", on_fork="suspend", binding=Binding(rebinds_per_90d=0))
    device = Computer(shop)
    device.activate(shop.license("strict").license_key)
    copy = device.copy()
    device.renew()
    refused(copy.renew)
    refused(copy.renew)
    (event,) = shop.events("license_suspended")
    assert event.actor == "system" and event.params["why"] == "fork"


def test_the_log_begins_with_the_servers_own_beginning(shop: Shop) -> None:
    first = shop.events()[0]
    assert (first.kind, first.actor) == ("server_initialised", "system")
    assert first.params["product"] == "facefusion" and os.path.exists(shop.home)
    assert shop.clock() - first.at == timedelta(0)
