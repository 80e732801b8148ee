"""Statements of ``docs/spec/protocol.md`` about device calls, each held by the running server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.protocol.test_wire import JWT, problem
from tests.server.world import Computer, Shop

from modelseal.admin import LicenseChange
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import KeyWish, LeaseClaims, LicenseClaims, ReleaseClaims
from modelseal.strict_json import b64u


class Wire:
    """A computer that asks over HTTPS."""

    def __init__(self, http: httpx.Client, shop: Shop, seed: str = "a") -> None:
        self.http, self.shop, self.device = http, shop, Computer(shop, seed)

    def activate(self, key: str, **more: Any) -> httpx.Response:
        """Activates and takes the lease."""
        kem = KemPrivateKey.generate()
        token = self.device.activation(key, kem, **more)
        answer = self.http.post("/v1/devices", content=token, headers=JWT)
        if answer.status_code == 201:
            self.device._accept(answer.json()["lease"], answer.json()["license"], kem)
        return answer

    def ask(self, op: str, kem: KemPrivateKey | None = None, **more: Any) -> httpx.Response:
        """One question of an activated device; a renewal's lease is not taken."""
        device = self.device
        keys = [] if kem is None else device.kem(kem)
        token = device.sign(device.request(op, kem=keys, **more))
        at = f"/v1/devices/{device.device_id}"
        method, path = {
            "renew": ("PUT", f"/v1/leases/{device.device_id}"),
            "return": ("POST", f"{at}:return"),
            "release": ("POST", f"{at}/key-releases"),
        }[op]
        return self.http.request(method, path, content=token, headers=JWT)


@pytest.fixture
def wire(http: httpx.Client, shop: Shop) -> Wire:
    """A computer without a license."""
    return Wire(http, shop)


def test_a_lookup_needs_no_kem_key_and_takes_no_seat(wire: Wire) -> None:
    issued, device = wire.shop.license(), wire.device
    nonce = "B" * 43
    sealed = device.sealed_key(issued.license_key, nonce)
    token = device.sign(device.request("lookup", nonce=nonce, license_key=sealed))
    answer = wire.http.post("/v1/licenses:lookup", content=token, headers=JWT)
    assert (answer.status_code, answer.json()["holders"]) == (200, [])
    assert wire.shop.admin.show_license(issued.license_id).seats_used == 0


def test_another_license_makes_another_device_of_the_same_key(wire: Wire) -> None:
    """And the same license the same device, whose chain goes on."""
    key = wire.shop.license().license_key
    first = wire.activate(key).json()["device_id"]
    assert wire.device.seq == 1
    assert wire.activate(key).json()["device_id"] == first and wire.device.seq == 2
    assert wire.activate(wire.shop.license().license_key).json()["device_id"] != first
    assert wire.device.seq == 1


def test_replacing_what_is_no_device_of_the_license_is_404(wire: Wire) -> None:
    problem(wire.activate(wire.shop.license().license_key, replace="dev_x"), 404, "not_found")


def test_a_license_token_comes_with_a_renewal_where_one_is_needed(wire: Wire) -> None:
    issued = wire.shop.license()
    wire.activate(issued.license_key)
    kem = KemPrivateKey.generate()
    plain = wire.ask("renew", kem)
    assert "license" not in plain.json()
    wire.device._accept(plain.json()["lease"], None, kem)
    without = wire.ask("renew", kem, lic=None)
    assert tokens.read(without.json()["license"], LicenseClaims, wire.shop.trust)
    wire.device._accept(without.json()["lease"], None, kem)
    wire.shop.plan("better", "face.swap", "face.restore", seats=100)
    wire.shop.admin.change_license(issued.license_id, LicenseChange(plan="better"))
    changed = wire.ask("renew", kem).json()
    license_ = tokens.read(changed["license"], LicenseClaims, wire.shop.trust)
    lease = tokens.read(changed["lease"], LeaseClaims, wire.shop.trust)
    assert (
        {e.id for e in license_.ent} == {e.id for e in lease.ent} == {"face.swap", "face.restore"}
    )


def test_the_same_nonce_with_another_kem_key_is_no_repetition(wire: Wire) -> None:
    key, nonce = wire.shop.license().license_key, "C" * 43
    wire.activate(key, nonce=nonce)
    held = wire.device.seq, wire.device.prev
    wire.device.seq, wire.device.prev = 0, None
    problem(wire.activate(key, nonce=nonce), 422, "idempotency_mismatch")
    wire.device.seq, wire.device.prev = held
    assert wire.ask("renew", KemPrivateKey.generate()).status_code == 200


def test_a_release_gives_of_what_is_wanted_what_is_granted(wire: Wire) -> None:
    """Files and sections that are not granted are left out without a word."""
    wire.activate(wire.shop.license().license_key)
    (file_id, _), *_ = wire.device.keys
    foreign = KeyWish(file=b64u(b"x" * 32), sections=[])

    def sections(*wishes: KeyWish) -> list[int]:
        kem = KemPrivateKey.generate()
        answer = wire.ask("release", kem, want=list(wishes))
        claims = tokens.read(answer.json()["release"], ReleaseClaims, wire.shop.trust)
        assert (claims.seq, claims.lease) == (wire.device.seq, wire.device.prev)
        return sorted(section for item in claims.keys for section in _opened(claims, item, kem))

    assert sections() == [0, 1]
    assert sections(KeyWish(file=b64u(file_id), sections=[]), foreign) == [0, 1]
    assert sections(KeyWish(file=b64u(file_id), sections=[1, 9])) == [1]
    assert sections(foreign) == []


def _opened(claims: ReleaseClaims, sealed: Any, kem: KemPrivateKey) -> list[int]:
    binding = lease_keys.Binding(
        "release", claims.product, claims.lic, claims.sub, claims.lease, claims.seq, claims.exp,
        sealed.level, claims.cnf.jkt, claims.request_nonce,
    )  # fmt: skip
    return [section for _, section in lease_keys.open_keys(sealed, kem, binding)]


def test_a_return_needs_no_kem_key_and_twice_is_once(wire: Wire) -> None:
    wire.activate(wire.shop.license().license_key)
    first, second = wire.ask("return"), wire.ask("return")
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json() and first.json()["event_id"].startswith("evt_")


def test_a_trial_asked_again_is_the_same_trial(http: httpx.Client, shop: Shop) -> None:
    shop.plan("trial", "face.swap", trial_once_per_device=True, period_seconds=86400)
    device, kem, nonce = Computer(shop, "trial"), KemPrivateKey.generate(), "D" * 43
    claims = device.request("trial", nonce=nonce, kem=device.kem(kem), plan="trial")
    first, again = (
        http.post("/v1/trials", content=device.sign(claims), headers=JWT) for _ in range(2)
    )
    assert (first.status_code, again.status_code) == (201, 201)
    same = ("device_id", "license_key", "event_id")
    assert [first.json()[n] for n in same] == [again.json()[n] for n in same]
    fresh = device.sign(device.request("trial", kem=device.kem(kem), plan="trial"))
    refused = http.post("/v1/trials", content=fresh, headers=JWT)
    assert (refused.status_code, refused.json()["code"]) == (403, "trial_used")


def test_the_search_for_the_next_root_ends_with_404(http: httpx.Client, shop: Shop) -> None:
    newest = shop.admin.catalog_state().root.version
    assert http.get(f"/v1/catalog/{newest}.root.json").status_code == 200
    problem(http.get(f"/v1/catalog/{newest + 1}.root.json"), 404, "not_found")


def test_sealed_models_are_blobs_and_no_targets_of_the_catalog(
    http: httpx.Client, shop: Shop
) -> None:
    model = shop.admin.list_models().items[0]
    path = f"/v1/catalog/targets/{model.blob_digest}.{model.name}.sealed"
    problem(http.get(path), 404, "not_found")
    assert http.get(f"/v1/blobs/{model.blob_digest}").status_code == 200
