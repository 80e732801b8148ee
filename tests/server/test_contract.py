"""Both doors to the publisher's calls, in process and over HTTPS, over one and the same store.

Each call has a row here; a new call of ``AdminApi`` without one fails the first test.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.attested.machines import Tee, verdict
from tests.server.world import Clock, Computer, Shop, denied

from modelseal import admin
from modelseal.admin import (
    AdminApi,
    AskRelayed,
    IssueLicense,
    LicenseChange,
    LicenseState,
    MessageState,
    NewWebhook,
    PlanDraft,
    PublishModel,
    PutTrust,
    RelayReport,
    Role,
    WebhookChange,
)
from modelseal.desk import sealing
from modelseal.desk import workspace as workspaces
from modelseal.desk.remote import RemoteAdmin
from modelseal.errors import AccessDenied, ModelsealError, NotFound
from modelseal.license.claims import SealedText
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.services import LocalAdmin
from modelseal.server.store import delegations
from modelseal.server.store.rows import DelegationRow
from modelseal.strict_json import unb64u
from modelseal.testing.server import RunningServer

Call = Callable[[AdminApi], object]
NOBODY = "nobody@example.com"
TERMS = Plan(entitlements=[PlanEntitlement(id="face.swap")])
DRAFT = PlanDraft(name="pro", terms=TERMS)
SEALED = SealedText(recipient="x" * 43, suite="none", ct="AAAA")
WISH = PublishModel(blob_digest="0" * 64, sealed_keys=SEALED, targets=b"{}")
TRUST = PutTrust(roots=[], targets=b"{}", keys_role=b"{}", key_list=b"{}")


class Place:
    """The running shop, both doors to it, and a sealed model that is not published."""

    def __init__(self, folder: Path) -> None:
        clock = Clock()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.server = RunningServer(folder, now=clock)
        self.shop = Shop(self.server.home, clock, self.server.services)
        self.shop.plan("basic")
        self.license = self.shop.license()
        self.device = Computer(self.shop)
        self.device.activate(self.license.license_key, label="laptop")
        second = Computer(self.shop, "b")
        self.refused = denied(lambda: second.activate(self.license.license_key), self.shop)[0]
        self.model = self.shop.publish(folder, "swap.onnx", "face.swap")
        self.attested = self._attested()
        self.relay = self._relay()
        self.sealed = folder / "other.sealed"
        plain = folder / "other.onnx"
        plain.write_bytes(b"weights" * 900)
        with workspaces.open(self.shop.home) as desk:
            sealing.seal_paths(desk, [plain], self.sealed, entitlements=["face.swap"], now=clock())

    def _attested(self) -> str:
        """The event of a machine whose evidence the strict policy refused."""
        tee = Tee(self.shop, "tee")
        tee.activate(self.shop.license().license_key)
        sent = tee.ask({unb64u(self.model.file_id): [0, 1]})
        verdict(lambda: tee.send(sent), self.shop)
        return next(e.event_id for e in reversed(self.shop.events()) if "evidence" in e.params)

    def _relay(self) -> str:
        """A relay with a budget."""
        now, relay = self.shop.clock(), "rly_019ca945-0a00-713e-aa37-c7c879c30fc1"
        row = DelegationRow(
            self.license.license_id, relay, self.device.device_id or "", "dlg_0", 1, "active", 2, 3,
            1, 2, 0, 0, 3, now, now, 1, 7, 0, "evt_0",
        )  # fmt: skip
        self.shop.server.context.store.write(delegations.add, row)
        return relay

    def doors(self, role: Role = Role.OWNER) -> tuple[LocalAdmin, RemoteAdmin]:
        token = self.shop.admin.create_token(role, 3600, "contract").token
        actor = self.shop.server.tokens.authenticate(token)
        remote = RemoteAdmin(self.server.url, token, trust=self.shop.trust.raw)
        return LocalAdmin(self.shop.server, actor), remote


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One shop for the module: no call here changes what another one looks at."""
    made = Place(tmp_path_factory.mktemp("contract"))
    with made.server:
        yield made


@pytest.fixture
def doors(place: Place) -> Iterator[tuple[LocalAdmin, RemoteAdmin]]:
    """Both doors for the owner."""
    place.shop.clock.pass_(minutes=1)
    local, remote = place.doors()
    with remote:
        yield local, remote


REPORT = RelayReport(relay="rly_019ca945-0a00-713e-aa37-c7c879c30fc9", sync="syn_0")
CALLS: dict[str, tuple[str, Callable[[AdminApi, Place], object]]] = {
    "create_plan": ("plans", lambda api, _: api.create_plan(DRAFT)),
    "list_plans": ("read", lambda api, _: api.list_plans()),
    "show_plan": ("read", lambda api, _: api.show_plan("basic")),
    "update_plan": ("plans", lambda api, _: api.update_plan("nothing", DRAFT)),
    "issue_license": (
        "licenses",
        lambda api, _: api.issue_license(IssueLicense(plan="no", customer=NOBODY)),
    ),
    "list_licenses": ("read", lambda api, _: api.list_licenses()),
    "show_license": ("read", lambda api, at: api.show_license(at.license.license_id)),
    "change_license": ("licenses", lambda api, _: api.change_license("lic_no", LicenseChange())),
    "renew_license": ("licenses", lambda api, _: api.renew_license("lic_no")),
    "suspend_license": ("licenses", lambda api, _: api.suspend_license("lic_no")),
    "resume_license": ("licenses", lambda api, _: api.resume_license("lic_no")),
    "revoke_license": ("licenses", lambda api, _: api.revoke_license("lic_no")),
    "rekey_license": ("licenses", lambda api, _: api.rekey_license("lic_no")),
    "explain": ("read", lambda api, at: api.explain(at.refused.reference or "")),
    "show_attestation": ("read", lambda api, at: api.show_attestation(at.attested)),
    "list_devices": ("read", lambda api, at: api.list_devices(at.license.license_id)),
    "show_device": ("read", lambda api, at: api.show_device(at.device.device_id or "")),
    "revoke_device": ("devices", lambda api, _: api.revoke_device("dev_no")),
    "respond": ("devices", lambda api, _: api.respond(b"no request")),
    "lease_code": ("devices", lambda api, _: api.lease_code("dev_no")),
    "export_customer": ("customers", lambda api, _: api.export_customer(NOBODY)),
    "erase_customer": ("customers", lambda api, _: api.erase_customer(NOBODY)),
    "put_blob": ("models", lambda api, at: api.put_blob(at.sealed)),
    "publish_model": ("models", lambda api, _: api.publish_model(WISH)),
    "list_models": ("read", lambda api, _: api.list_models()),
    "show_model": ("read", lambda api, at: api.show_model(at.model.model, 1)),
    "withdraw_model": ("models", lambda api, _: api.withdraw_model("mod_no", b"{}")),
    "list_products": ("read", lambda api, _: api.list_products()),
    "show_product": ("read", lambda api, _: api.show_product("facefusion")),
    "catalog_state": ("read", lambda api, _: api.catalog_state()),
    "put_trust": ("trust", lambda api, _: api.put_trust(TRUST)),
    "trust_documents": ("read", lambda api, _: api.trust_documents()),
    "server_keys": ("read", lambda api, _: api.server_keys()),
    "make_keys": ("trust", lambda api, _: api.make_keys(["endless"])),
    "rotate_kek": ("trust", lambda api, _: api.rotate_kek("nothing:at-all")),
    "list_events": ("read", lambda api, at: api.list_events(None, at.license.license_id)),
    "export_events": ("read", lambda api, _: next(iter(api.export_events()))),
    "checkpoint": ("read", lambda api, _: api.checkpoint()),
    "create_token": ("tokens", lambda api, _: api.create_token(Role.AUDITOR, 60)),
    "list_tokens": ("tokens", lambda api, _: api.list_tokens()),
    "revoke_token": ("tokens", lambda api, _: api.revoke_token("tok_no")),
    "list_relays": ("read", lambda api, _: api.list_relays()),
    "relayed_leases": (
        "relays",
        lambda api, _: api.relayed_leases(AskRelayed(relay=REPORT.relay)),
    ),
    "sync_relay": ("relays", lambda api, _: api.sync_relay(REPORT)),
    "list_budgets": ("read", lambda api, _: api.list_budgets()),
    "show_budget": ("read", lambda api, at: api.show_budget(at.relay)),
    "revoke_budget": ("devices", lambda api, _: api.revoke_budget("rly_no")),
    "restore_budget": ("devices", lambda api, _: api.restore_budget("rly_no")),
    "create_webhook": ("webhooks", lambda api, _: api.create_webhook(NewWebhook(url="ftp://a"))),
    "list_webhooks": ("webhooks", lambda api, _: api.list_webhooks()),
    "show_webhook": ("webhooks", lambda api, _: api.show_webhook("whk_no")),
    "change_webhook": ("webhooks", lambda api, _: api.change_webhook("whk_no", WebhookChange())),
    "remove_webhook": ("webhooks", lambda api, _: api.remove_webhook("whk_no")),
    "rotate_webhook": ("webhooks", lambda api, _: api.rotate_webhook("whk_no")),
    "test_webhook": ("webhooks", lambda api, _: api.test_webhook("whk_no")),
    "list_messages": ("webhooks", lambda api, _: api.list_messages("whk_no")),
    "replay_messages": ("webhooks", lambda api, _: api.replay_messages("whk_no")),
}
MAY = {
    Role.OWNER: {right for right, _call in CALLS.values()},
    Role.SUPPORT: {"read", "licenses", "devices"},
    Role.AUDITOR: {"read"},
    Role.AUTOMATION: {"read", "licenses", "models"},
    Role.RELAY: {"relays"},
}
CHECKED_FIRST = {"make_keys"}
"""Calls whose odd argument is found before the right is asked for."""


def test_every_call_has_a_row() -> None:
    assert {name for name in vars(AdminApi) if not name.startswith("_")} == set(CALLS)


@pytest.mark.parametrize("door", ["local", "remote"])
@pytest.mark.parametrize("role", list(Role), ids=str)
def test_each_role_may_make_exactly_its_calls(place: Place, role: Role, door: str) -> None:
    place.shop.clock.pass_(minutes=1)
    local, remote = place.doors(role)
    refused = set()
    with remote:
        for name, (_right, call) in CALLS.items():
            try:
                call(local if door == "local" else remote, place)
            except AccessDenied as error:
                assert error.params["role"] == str(role)
                refused.add(name)
            except ModelsealError:
                continue
    wanted = {name for name, (right, _call) in CALLS.items() if right not in MAY[role]}
    assert refused - CHECKED_FIRST == wanted - CHECKED_FIRST


def test_a_call_without_the_right_stands_in_the_log_with_its_address(place: Place) -> None:
    _local, remote = place.doors(Role.AUDITOR)
    with remote, pytest.raises(AccessDenied):
        remote.erase_customer(NOBODY)
    last = place.shop.events("access_denied")[-1]
    assert last.params == {"call": "/v1/admin/customers:erase", "role": "auditor"}


READS = [name for name, (right, _call) in CALLS.items() if right == "read"]


@pytest.mark.parametrize("name", [name for name in READS if name != "export_events"])
def test_both_doors_show_the_same(
    place: Place, doors: tuple[LocalAdmin, RemoteAdmin], name: str
) -> None:
    local, remote = (CALLS[name][1](door, place) for door in doors)
    assert local == remote and local is not None


ODD: dict[str, Call] = {
    "unknown plan": lambda api: api.show_plan("no such plan?x=1&y=%2F#z"),
    "plan name taken": lambda api: api.create_plan(
        PlanDraft(name="basic", terms=msgspec.structs.replace(TERMS, seats=9))
    ),
    "odd plan name": lambda api: api.create_plan(PlanDraft(name="a b", terms=TERMS)),
    "odd entitlement": lambda api: api.create_plan(
        PlanDraft(name="odd", terms=Plan(entitlements=[PlanEntitlement(id="UPPER")]))
    ),
    "no entitlement": lambda api: api.create_plan(
        PlanDraft(name="odd", terms=Plan(entitlements=[]))
    ),
    "no seats": lambda api: api.create_plan(
        PlanDraft(name="odd", terms=msgspec.structs.replace(TERMS, seats=0))
    ),
    "renamed plan": lambda api: api.update_plan("basic", PlanDraft(name="other", terms=TERMS)),
    "two ends": lambda api: api.issue_license(
        IssueLicense(plan="basic", customer="a", never=True, expires_in_seconds=5)
    ),
    "past end": lambda api: api.issue_license(
        IssueLicense(plan="basic", customer="a", expires_at=datetime(2001, 1, 1, tzinfo=UTC))
    ),
    "end without zone": lambda api: api.issue_license(
        IssueLicense(plan="basic", customer="a", expires_at=datetime(2031, 1, 1))
    ),
    "no customer": lambda api: api.issue_license(IssueLicense(plan="basic", customer="")),
    "long label": lambda api: api.issue_license(
        IssueLicense(plan="basic", customer="a", label="x" * 65)
    ),
    "too many seats": lambda api: api.issue_license(
        IssueLicense(plan="basic", customer="a", seats=10**7)
    ),
    "long idempotency key": lambda api: api.issue_license(
        IssueLicense(plan="basic", customer="a", idempotency_key="x" * 129)
    ),
    "forged cursor": lambda api: api.list_licenses("forged"),
    "long cursor": lambda api: api.list_events("x" * 300),
    "nobody's licenses": lambda api: api.list_licenses(None, NOBODY, LicenseState.ACTIVE),
    "unknown license": lambda api: api.show_license("lic_no:revoke"),
    "change of nothing known": lambda api: api.change_license("lic_no", LicenseChange(seats=2)),
    "long reason": lambda api: api.suspend_license("lic_no", "x" * 600),
    "long reason for a device": lambda api: api.revoke_device("dev_no", "x" * 600),
    "unknown reference": lambda api: api.explain("ZZZZZZZZ"),
    "odd reference": lambda api: api.explain("ü …"),
    "verdict of nothing": lambda api: api.show_attestation("evt_no"),
    "unknown device": lambda api: api.show_device("dev_no"),
    "no request": lambda api: api.respond(b"nothing of ours"),
    "code for nobody": lambda api: api.lease_code("dev_no"),
    "nobody": lambda api: api.export_customer(NOBODY),
    "nobody to erase": lambda api: api.erase_customer(NOBODY),
    "empty customer": lambda api: api.export_customer(""),
    "missing file": lambda api: api.put_blob(Path("/nowhere/at-all.sealed")),
    "no sealed model": lambda api: api.put_blob(Path(__file__)),
    "blob that never came": lambda api: api.publish_model(WISH),
    "odd digest": lambda api: api.publish_model(
        msgspec.structs.replace(WISH, blob_digest="../../etc/passwd")
    ),
    "unknown model": lambda api: api.show_model("no model;a=b"),
    "endless release": lambda api: api.show_model("swap", 2**70),
    "unknown release": lambda api: api.show_model("swap", 99),
    "negative release": lambda api: api.show_model("swap", -1),
    "nothing to withdraw": lambda api: api.withdraw_model("mod_no", b"{}"),
    "odd trust": lambda api: api.put_trust(TRUST),
    "odd root": lambda api: api.put_trust(msgspec.structs.replace(TRUST, roots=[b"\xff"])),
    "endless version of a root": lambda api: api.trust_documents(2**70),
    "odd version of a root": lambda api: api.trust_documents(-1),
    "odd use": lambda api: api.make_keys(["endless"]),
    "no use": lambda api: api.make_keys([]),
    "odd key URI": lambda api: api.rotate_kek("nothing:at-all"),
    "token for no time": lambda api: api.create_token(Role.AUDITOR, 0),
    "token for ever": lambda api: api.create_token(Role.AUDITOR, 10**10),
    "token with a long label": lambda api: api.create_token(Role.AUDITOR, 60, "x" * 65),
    "unknown token": lambda api: api.revoke_token("tok_no"),
    "webhook to nowhere": lambda api: api.create_webhook(NewWebhook(url="ftp://a")),
    "webhook to this computer": lambda api: api.create_webhook(
        NewWebhook(url="https://127.0.0.1/hook")
    ),
    "webhook of no kind": lambda api: api.create_webhook(
        NewWebhook(url="https://hooks.example.com/", events=["lease_renewed"])
    ),
    "unknown webhook": lambda api: api.show_webhook("whk_no"),
    "change of an unknown webhook": lambda api: api.change_webhook(
        "whk_no", WebhookChange(enabled=False)
    ),
    "removal of an unknown webhook": lambda api: api.remove_webhook("whk_no"),
    "messages of nobody": lambda api: api.list_messages("whk_no", MessageState.GIVEN_UP),
    "replay of nothing": lambda api: api.replay_messages("whk_no", ["evt_no"]),
}


@pytest.mark.parametrize("call", ODD.values(), ids=list(ODD))
def test_both_doors_refuse_alike_and_change_nothing(
    place: Place, doors: tuple[LocalAdmin, RemoteAdmin], call: Call
) -> None:
    before = len(place.shop.events())
    local, remote = (outcome(call, door) for door in doors)
    assert local == remote
    assert len(place.shop.events()) == before


def outcome(call: Call, api: AdminApi) -> tuple[Any, ...]:
    """What came of it: the answer, or everything a caller can tell about the error."""
    try:
        return ("answered", call(api))
    except ModelsealError as error:
        params = msgspec.json.decode(msgspec.json.encode(error.params))
        return (type(error).__name__, error.code, params)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../plans", "a/../../healthz", "/"])
def test_a_name_that_would_be_another_path_is_nothing_at_either_door(
    doors: tuple[LocalAdmin, RemoteAdmin], name: str
) -> None:
    for door in doors:
        for call in (door.show_plan, door.show_license, door.explain, door.revoke_device):
            with pytest.raises(NotFound):
                call(name)


def test_odd_calls_are_refused_and_only_questions_are_answered(place: Place) -> None:
    local, remote = place.doors()
    remote.close()
    answered = {name for name, call in ODD.items() if outcome(call, local)[0] == "answered"}
    assert answered == {"nobody's licenses"}
    assert admin.Page(items=[]) == local.list_licenses(None, NOBODY)
