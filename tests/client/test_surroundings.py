"""Containers and virtual machines before a real server: what a plan allows, and who names them."""

from __future__ import annotations

import json

import pytest

from modelseal.admin import PlanDraft
from modelseal.client import Ports, operator
from modelseal.collect import Surroundings
from modelseal.device import Traits, gather
from modelseal.errors import ConfigInvalid, DeviceUnbound, NoFreeSeat, PlatformNotAllowed
from modelseal.license.plans import Allow, Binding, Plan, PlanEntitlement
from modelseal.strict_json import b64u, encode

NOTHING: Traits = gather([])
SWAP = [PlanEntitlement(id="face.swap")]


@pytest.fixture(scope="module")
def plans(shop):
    for name, terms in {
        "bound": Plan(entitlements=SWAP, seats=2, binding=Binding(allow_unbound=False)),
        "floating": Plan(entitlements=SWAP, floating=True, binding=Binding(allow_unbound=False)),
        "metal": Plan(entitlements=SWAP, seats=9, allow=Allow(vm=False, container=False)),
    }.items():
        shop.server.admin.create_plan(PlanDraft(name=name, terms=terms))
    return shop


@pytest.fixture
def pod(make):
    """A client in a container without a trait; what the operator says is its environment."""

    def client(state="pod", **environ):
        return make(state, ports=Ports(traits=lambda: NOTHING, environ=environ))

    return client


def test_a_container_without_traits_is_refused_until_its_operator_names_it(plans, pod):
    key = plans.issue("bound")[0]
    with pytest.raises(DeviceUnbound):
        pod().activate(key)
    named = pod(MODELSEAL_DEVICE_ID="render-0")
    assert named.activate(key).state == "ACTIVE"
    assert named.renew().state == "ACTIVE"
    shown = named.status()
    assert shown.binding in ("unbound", "copyable")


def test_a_mounted_secret_and_a_projected_token_name_it_too(plans, pod, tmp_path):
    key = plans.issue("bound")[0]
    secret = tmp_path / "device-id"
    secret.write_text("render-0\n")
    assert pod("a", MODELSEAL_DEVICE_ID_FILE=str(secret)).activate(key).state == "ACTIVE"
    secret.write_text(projected(exp=1))
    assert pod("b", MODELSEAL_DEVICE_ID_FILE=str(secret)).activate(key).state == "ACTIVE"


def test_a_floating_plan_asks_for_no_name_and_gives_the_seat_on(plans, pod):
    key = plans.issue("floating")[0]
    first = pod("first")
    first.activate(key)
    with pytest.raises(NoFreeSeat):
        pod("second").activate(key)
    first.deactivate()
    assert pod("second").activate(key).state == "ACTIVE"


@pytest.mark.parametrize("around", [
    Surroundings(vm=True, container=False), Surroundings(vm=False, container=True), Surroundings(),
])  # fmt: skip
def test_a_plan_for_real_computers_refuses_what_is_none_or_does_not_tell(plans, make, around):
    key = plans.issue("metal")[0]
    traits = make("metal")._core.ports.traits
    here = make("not", ports=Ports(traits=traits, environ={}, surroundings=lambda: around))
    with pytest.raises(PlatformNotAllowed):
        here.activate(key)
    real = Surroundings(vm=False, container=False)
    there = make("real", ports=Ports(traits=traits, environ={}, surroundings=lambda: real))
    assert there.activate(key).state == "ACTIVE"


# -- what names a device


def projected(pod="render-0", **more):
    """A service account's token as Kubernetes projects it; nobody verifies it here."""
    about = {"namespace": "ml", "serviceaccount": {"name": "render", "uid": "u"}, "pod": {
        "name": pod, "uid": "p"}}  # fmt: skip
    claims = {"iss": "https://k8s.example", "sub": "s", "kubernetes.io": about, **more}
    return f"{b64u(b'{}')}.{b64u(encode(claims))}.{b64u(b'signature')}"


def given(tmp_path, text):
    (tmp_path / "id").write_text(text)
    return operator.given({"MODELSEAL_DEVICE_ID_FILE": str(tmp_path / "id")})


def test_a_token_names_the_same_pod_after_it_was_renewed(tmp_path):
    first = given(tmp_path, projected(exp=1, iat=1))
    assert first == given(tmp_path, projected(exp=3600, iat=3600))
    assert first != given(tmp_path, projected(pod="render-1"))
    assert b"render-0" in (first or b"")


def test_what_is_no_projected_token_is_taken_as_it_stands(tmp_path):
    assert given(tmp_path, " render-0\n") == b"render-0"
    for odd in ("a.b.c", f"x.{b64u(b'[]')}.y", f"x.{b64u(json.dumps({'iss': 1}).encode())}.y"):
        assert given(tmp_path, odd) == odd.encode()
    assert operator.given({}) is None
    assert operator.given({"MODELSEAL_DEVICE_ID": ""}) is None
    both = {"MODELSEAL_DEVICE_ID": "a", "MODELSEAL_DEVICE_ID_FILE": str(tmp_path / "id")}
    assert operator.given(both) == b"a"


@pytest.mark.parametrize("text", ["", " \n", "x" * 257, "a\0b", "a\nb", "\x1b[31m", "x" * 20_000])
def test_what_cannot_name_a_device_is_told(tmp_path, text):
    with pytest.raises(ConfigInvalid):
        given(tmp_path, text)
    with pytest.raises(ConfigInvalid):
        operator.given({"MODELSEAL_DEVICE_ID_FILE": str(tmp_path / "gone")})
    with pytest.raises(ConfigInvalid):
        operator.given({"MODELSEAL_DEVICE_ID_FILE": str(tmp_path)})


def test_explaining_shows_the_name_as_it_would_be_sent(plans, pod):
    shown = {each.kind: each for each in pod(MODELSEAL_DEVICE_ID="render-0").traits()}
    assert len(shown["operator"].sent) == 1 and shown["operator"].weight == 0
    other = {each.kind: each for each in pod(MODELSEAL_DEVICE_ID="render-1").traits()}
    assert shown["operator"].sent != other["operator"].sent
