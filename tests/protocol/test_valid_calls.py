"""Every call of the OpenAPI document, once made validly, is answered as the document says."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.attested.machines import Makers, Tee, endorse, list_of, set_policy
from tests.oidc import CLIENT, Provider
from tests.server.world import START, Clock, Computer, Shop

from modelseal import admin
from modelseal.admin import Role
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import publishing, sealing
from modelseal.desk import workspace as workspaces
from modelseal.ids import new_id
from modelseal.license import attested as license_attested
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import (
    Confirmation,
    LeaseClaims,
    P256Point,
    RelayKey,
    TpmEndorsement,
)
from modelseal.license.plans import RelayTerms
from modelseal.server.services.attesting import AttestedRequest
from modelseal.strict_json import b64u, unb64u
from modelseal.testing.server import RunningServer

pytest.importorskip("jsonschema", reason="pip install -r requirements/more.txt")

from tests.protocol.valid import Caller

TERMS = {"entitlements": [{"id": "face.swap"}], "seats": 9}
SIGN_IN = """
[sign_in]
issuer = "{issuer}"
client_id = "{client}"
ca = "provider-ca.pem"
allowed_domains = ["example.com"]
roles = {{ sealers = "owner" }}
"""


class Place:
    """A server with everything switched on that a call may need, and a caller of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.makers = folder, Clock(), Makers()
        self.provider = Provider(folder)
        home = folder / "shop"
        workspaces.init(home, "facefusion", now=START, random=os.urandom)
        set_policy(home, self.makers.rules())
        (home / "server" / "provider-ca.pem").write_bytes(self.provider.ca.read_bytes())
        with (home / "server" / "server.toml").open("a") as toml:
            toml.write(SIGN_IN.format(issuer=self.provider.issuer, client=CLIENT))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.server = RunningServer(folder, now=self.clock)
        self.shop = Shop(home, self.clock, self.server.services)
        endorse(self.shop, list_of(self.makers, self.clock))
        self.token = self.shop.admin.create_token(Role.OWNER, 30 * 86400, "valid").token
        context = ssl.create_default_context(cadata=self.shop.trust.tls_ca)
        self.http = httpx.Client(base_url=self.server.url, verify=context, timeout=300)
        self.call = Caller(self.http, self.http.get("/schema/openapi.json").json())

    def admin(self, name: str, body: Any = None, /, **more: Any) -> Any:
        return self.call(f"admin_{name}", body, token=self.token, **more)

    def close(self) -> None:
        self.http.close()
        self.server.stop()
        self.provider.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("valid"))
    yield made
    made.close()


def test_every_call_made_validly_is_answered_as_the_document_says(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of a shop's life; every later step uses what an earlier one gave."""
    served(place)
    plans(place)
    published(place)
    devices(place)
    attested(place)
    a_budget(place)
    without_a_network(place)
    licenses(place)
    webhooks(place)
    people(place)
    the_rest(place)
    monkeypatch.setattr(lease_keys, "MAX_KEYS", 1)
    a_bundle(place)
    assert place.call.done == set(place.call.operations)


def served(at: Place) -> None:
    for name in ("jwks", "discovery", "healthz", "metrics", "readyz", "openapi_page"):
        at.call(name)
    at.call("openapi_document")
    at.call("status_list", number=1)
    at.call("catalog", name="timestamp.json")
    digest = hashlib.sha256(unb64(at.admin("trust_documents")["key_list"])).hexdigest()
    at.call("catalog_target", name=f"{digest}.keys")
    at.admin("catalog_state")
    (product,) = at.admin("list_products")["items"]
    assert at.admin("show_product", product=product["product"]) == product
    at.admin("trust_documents", query={"after_root": "0"})


def unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def plans(at: Place) -> None:
    at.admin("create_plan", {"name": "basic", "terms": TERMS})
    assert at.admin("list_plans")["items"][0]["name"] == "basic"
    plan = at.admin("show_plan", plan="basic")
    once = {"If-Match": f'"{plan["version"]}"', "Idempotency-Key": "plan-2"}
    draft = {"name": "basic", "terms": {**TERMS, "trial_once_per_device": True,
                                        "period_seconds": 86400 * 90}}  # fmt: skip
    assert at.admin("update_plan", draft, headers=once, plan="basic")["version"] == 2


class Wire:
    """The desk's door to the calls that publish, made through the document."""

    def __init__(self, at: Place) -> None:
        self._at = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._at.shop.admin, name)

    def put_blob(self, path: Path, _progress: object = None) -> str:
        data = Path(path).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        return str(self._at.admin("put_blob", data, digest=digest)["digest"])

    def publish_model(self, wish: admin.PublishModel) -> admin.PublishedModel:
        made = self._at.admin("publish_model", msgspec.to_builtins(wish))
        return msgspec.convert(made, admin.PublishedModel)

    def withdraw_model(self, record_id: str, targets: bytes) -> admin.ModelRecord:
        body = {"targets": base64.b64encode(targets).decode()}
        made = self._at.admin("act_on_model_withdraw", body, record_id=record_id)
        return msgspec.convert(made, admin.ModelRecord)


def published(at: Place) -> None:
    for name in ("swap", "old"):
        (at.folder / name).write_bytes(os.urandom(4000))
        sealed = at.folder / f"{name}.sealed"
        with workspaces.open(at.shop.home) as desk:
            sealing.seal_paths(
                desk, [at.folder / name], sealed, entitlements=["face.swap"], now=at.clock()
            )
            publishing.publish(desk, Wire(at), sealed, now=at.clock())  # type: ignore[arg-type]
    with workspaces.open(at.shop.home) as desk:
        publishing.withdraw(desk, Wire(at), "old", now=at.clock())  # type: ignore[arg-type]
    items = at.admin("list_models")["items"]
    model = at.admin("show_model", model="swap", query={"release": "1"})
    assert model in items
    digest = model["blob_digest"]
    part = {"Range": "bytes=0-9", "If-Range": f'"{digest}"'}
    assert len(at.call("blob", digest=digest, headers=part).content) == 10
    at.call("blob", digest=digest)
    known = at.call("blob", digest=digest, headers={"If-None-Match": f'"{digest}"'})
    assert known.status_code == 304
    at.call("blob_head", digest=digest)
    at.call("blob_urls", digest=digest)


def devices(at: Place) -> None:
    issued = at.admin(
        "issue_license",
        {"plan": "basic", "customer": "li@example.com", "never": True},
        headers={"Idempotency-Key": "one"},
    )
    computer, kem = Computer(at.shop), KemPrivateKey.generate()
    made = at.call("activate", computer.activation(issued["license_key"], kem))
    computer._accept(made["lease"], made["license"], kem)
    device_id = made["device_id"]
    at.clock.pass_(hours=60)
    token = computer.sign(computer.request("renew", kem=computer.kem(kem)))
    computer._accept(at.call("renew", token, device_id=device_id)["lease"], None, kem)
    nonce = b64u(os.urandom(32))
    sealed = computer.sealed_key(issued["license_key"], nonce)
    at.call("look_up", computer.sign(computer.request("lookup", nonce=nonce, license_key=sealed)))
    ak = P256Point(b64u(os.urandom(32)), b64u(os.urandom(32)))
    whose = TpmEndorsement([b64u(at.makers.amd.certificate())], ak)
    at.call("challenge", computer.sign(computer.request("challenge", endorsement=whose)))
    token = computer.sign(computer.request("release", kem=computer.kem(kem)))
    at.call("release_keys", token, device_id=device_id)
    own, kem = Computer(at.shop, "trial"), KemPrivateKey.generate()
    at.call("start_trial", own.sign(own.request("trial", kem=own.kem(kem), plan="basic")))
    at.admin("list_devices", query={"license": issued["license_id"]})
    at.admin("show_device", device_id=device_id)
    at.admin("explain", which=device_id)
    at.call("event", event_id=made["event_id"])
    at.call("return_seat_return", computer.sign(computer.request("return")), device_id=device_id)
    tag = at.http.get(
        f"/v1/admin/devices/{device_id}", headers={"Authorization": f"Bearer {at.token}"}
    ).headers["etag"]
    at.admin(
        "act_on_device_revoke", {"reason": "gone"}, device_id=device_id, headers={"If-Match": tag}
    )


def attested(at: Place) -> None:
    at.shop.plan("tee", "face.swap", enforcement="online")
    key = at.shop.license("tee", customer="tee").license_key
    tee = Tee(at.shop, "tee", makers=at.makers)
    tee.activate(key)
    asked = tee.sign(tee.request("nonce"))
    given = at.call("release_nonce", asked, device_id=tee.device_id)

    class Nonce:
        nonce, server_key = given["nonce"], given["server_key"]

    file_id = unb64u(at.admin("show_model", model="swap")["file_id"])
    sent = tee.ask({file_id: [0, 1]}, nonce=Nonce)
    evidence = tee.evidence(sent.transcript)
    body = msgspec.to_builtins(AttestedRequest(sent.token, evidence, tee.beside))
    released = at.call("attested_release", body, device_id=tee.device_id)
    at.admin("show_attestation", event_id=released["event_id"])


def a_budget(at: Place) -> None:
    """A relay asks for a budget; what it gave is booked; the publisher revokes and restores it."""
    terms = RelayTerms(seats=2, renewals=2, max_seconds=20 * 86400)
    at.shop.plan("relay", "face.swap", seats=9, relay=terms)
    key = at.shop.license("relay", customer="relay").license_key
    tee, relay = Tee(at.shop, "relay", makers=at.makers), "rly_019ca945-0a00-713e-aa37-c7c879c30fc2"
    tee.activate(key)
    given = at.call("release_nonce", tee.sign(tee.request("nonce")), device_id=tee.device_id)
    signing, kem = SigningKey.generate(), KemPrivateKey.generate()
    claims = tee.request(
        "delegate", kem=tee.kem(kem), server_nonce=given["nonce"], level=3,
        server_key=given["server_key"], delegate=RelayKey(relay, dict(signing.jwk)),
    )  # fmt: skip
    token = tee.sign(claims).decode()
    evidence = tee.evidence(license_attested.of(claims, token))
    body = msgspec.to_builtins(AttestedRequest(token, evidence, tee.beside))
    by = at.call("delegate", body, device_id=tee.device_id)["delegation"]
    claims, _kid = tokens.read_delegation(by, at.shop.trust)
    device, nonce, now = Computer(at.shop, "site"), b64u(os.urandom(32)), claims.iat
    asked = device.activation(key, KemPrivateKey.generate(), nonce)
    lease = LeaseClaims(
        iss=claims.iss, aud=claims.aud, sub=new_id("dev", at.clock(), os.urandom), lic=claims.lic,
        product=claims.product, pv=claims.pv, jti=new_id("lea", at.clock(), os.urandom), iat=now,
        nbf=now, exp=now + 86400, renew_after_at=now + 3600, seq=1, request_nonce=nonce,
        cnf=Confirmation(device.key.kid), ent=claims.ent, enforcement="software", keys=[], level=0,
        status=claims.status, delegation=by,
    )  # fmt: skip
    act = {"request": asked.decode(), "lease": tokens.sign(lease, [signing])}
    assert at.call("book", act, relay_id=relay)["state"] == "booked"
    assert at.call("book", act, relay_id=relay)["state"] == "again"
    assert relay in [each["relay"] for each in at.admin("list_budgets")["items"]]
    assert at.admin("show_budget", relay_id=relay)["seats_spent"] == 1
    assert at.admin("act_on_budget_revoke", {"reason": "x"}, relay_id=relay)["state"] == "revoked"
    assert at.admin("act_on_budget_restore", {}, relay_id=relay)["state"] == "active"


def without_a_network(at: Place) -> None:
    key = at.shop.license("basic", customer="gap").license_key
    computer, kems = Computer(at.shop, "gap"), [KemPrivateKey.generate() for _ in range(3)]
    nonce = b64u(os.urandom(32))
    sealed = computer.sealed_key(key, nonce)
    asked = [public for kem in kems for public in computer.kem(kem)]
    more = {"kem": asked, "license_key": sealed, "next_count": 2}
    token = computer.sign(computer.request("activate", nonce=nonce, **more))
    answer = at.admin("respond", {"request": base64.b64encode(token).decode()})
    assert answer["next_count"] == 2
    wish = {"device": answer["device_id"], "further": False}
    at.admin("lease_code", wish, headers={"Idempotency-Key": "code"})


def licenses(at: Place) -> None:
    made = at.admin("issue_license", {"plan": "basic", "customer": "wang", "never": True})
    which = {"license_id": made["license_id"]}
    query = {"customer": "wang", "state": "active"}
    assert len(at.admin("list_licenses", query=query)["items"]) == 1
    version = at.admin("show_license", **which)["version"]
    match = {"If-Match": f'"{version}"'}
    version = at.admin("change_license", {"label": "desk"}, headers=match, **which)["version"]
    once = {"If-Match": f'"{version}"', "Idempotency-Key": "renew"}
    at.admin("act_on_license_renew", {}, headers=once, **which)
    at.admin("act_on_license_suspend", {"reason": "unpaid"}, **which)
    at.admin("act_on_license_resume", {}, **which)
    at.admin("act_on_license_rekey", {}, headers={"Idempotency-Key": "rekey"}, **which)
    at.admin("act_on_license_revoke", {"reason": "chargeback"}, **which)
    at.admin("export_customer", {"customer": "wang"})
    at.admin("erase_customer", {"customer": "wang"})


def webhooks(at: Place) -> None:
    wish = {"url": "https://example.com/hook", "events": ["license_issued"]}
    made = at.admin("create_webhook", wish, headers={"Idempotency-Key": "hook"})["webhook"]
    which = {"webhook_id": made["webhook_id"]}
    at.admin("list_webhooks")
    at.admin("show_webhook", **which)
    match = {"If-Match": f'"{made["event_id"]}"'}
    at.admin("change_webhook", {"label": "shop"}, headers=match, **which)
    for verb in ("rotate", "test", "replay"):
        at.admin(f"act_on_webhook_{verb}", {}, headers={"Idempotency-Key": verb}, **which)
    at.admin("list_messages", query={"state": "waiting"}, **which)
    at.admin("remove_webhook", **which)


def people(at: Place) -> None:
    at.call("sign_in_offer")
    proof, now = os.urandom(32), int(at.clock().timestamp())
    nonce = b64u(hashlib.sha256(b"modelseal sign-in v1\n" + proof).digest())
    token = at.provider.token(nonce=nonce, iat=now, exp=now + 300)
    session = at.call("open_session", {"id_token": token, "proof": b64u(proof)})
    at.call("admin_end_session", {}, token=session["token"])
    wish = {"role": "auditor", "expires_in_seconds": 60, "label": "audit"}
    made = at.admin("create_token", wish, headers={"Idempotency-Key": "token"})
    assert made["token_id"] in [t["token_id"] for t in at.admin("list_tokens")["items"]]
    at.admin("act_on_token_revoke", {}, token_id=made["token_id"])


def the_rest(at: Place) -> None:
    relay = at.shop.admin.create_token(Role.RELAY, 3600, "relay").token
    report = {"relay": "rly_019ca945-0a00-713e-aa37-c7c879c30fc9", "sync": "syn_0"}
    assert at.call("admin_sync_relay", report, token=relay)["state"] == "first"
    asked = {"relay": report["relay"], "held": [{"device": "dev_x", "base": "lea_x"}]}
    assert at.call("admin_relayed_leases", asked, token=relay)["ended"]
    (shown,) = at.admin("list_relays")["items"]
    assert (shown["relay"], shown["state"]) == (report["relay"], "first")
    known = at.admin("trust_documents")
    at.admin("put_trust", {**known, "roots": []})
    at.admin("make_keys", {"uses": ["lease"]})
    at.admin("server_keys")
    at.admin("rotate_kek", {})
    event = at.admin("list_events", query={"subject": "nobody"})
    assert event["items"] == []
    at.admin("export_events")
    size = at.admin("checkpoint")["size"]
    assert at.call("checkpoint").text.splitlines()[1] == str(size)
    assert len(at.call("tile", path=f"0/000.p/{size}").content) == 32 * size


def a_bundle(at: Place) -> None:
    computer = Computer(at.shop, "bundle")
    lease = computer.activate(at.shop.license("basic", customer="many").license_key)
    assert lease.bundle is not None
    at.call("bundle", digest=unb64u(lease.bundle.digest).hex())
