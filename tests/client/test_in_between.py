"""Something else answers in the server's place: a portal, a proxy, a blocking gateway.

For every call and every such answer: an error of ours that is no refusal and says what was seen,
nothing has changed, and the very next call works.
"""

from __future__ import annotations

import pytest
from tests.client.world import World, seal

from modelseal.client.transport import Answer
from modelseal.errors import AnswerInvalid, AssuranceNotReached, ModelsealError, Refused

MODEL = seal()
HTML = {"content-type": "text/html; charset=utf-8"}
JSON = {"content-type": "application/json"}
PROBLEM = {"content-type": "application/problem+json"}
PLACES = {
    "portal": Answer(200, HTML, b"<html><title>Hotel Wi-Fi</title>"),
    "redirect": Answer(302, {"location": "http://portal.example/login?from=secret"}, b""),
    "moved": Answer(308, {"location": "https://elsewhere.example/"}, b""),
    "blocked": Answer(403, HTML, b"<title>Blocked by policy</title>"),
    "unauthorized": Answer(401, {"www-authenticate": "Basic"}, b""),
    "proxy": Answer(407, {"proxy-authenticate": "Basic"}, b""),
    "network": Answer(511, HTML, b"<title>Log in</title>"),
    "gateway": Answer(502, HTML, b"<title>Bad gateway</title>"),
    "missing": Answer(404, HTML, b"<title>Not found</title>"),
    "gone": Answer(410, {}, b""),
    "teapot": Answer(418, PROBLEM, b'{"code":"internal_error"}'),
    "refusal": Answer(403, PROBLEM, b'{"code":"license_revoked"}'),
    "json": Answer(200, JSON, b'{"lease":"a.b.c","license":"a.b.c"}'),
    "empty": Answer(200, {}, b""),
    "text": Answer(200, {"content-type": "text/plain"}, b"OK"),
}  # fmt: skip
CALLS = ["activate", "lookup", "renew", "pull", "release", "return", "status list", "trial"]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "home")
    made.server.publish(MODEL)
    return made


def _poll(client):
    from modelseal.client import revocation

    return revocation.check(client._core, client.standing().held, client._clock.now())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_not_the_servers_refuses_nothing_and_changes_nothing(world, tmp_path, call, place):
    if call == "release":
        world.server.enforcement = "online"
    key, again = world.server.issue("face.swap"), world.server.issue("face.swap")
    with world.client() as client, world.client(tmp_path / "new") as new:
        client.activate(key)
        calls = {
            "activate": lambda: new.activate(again),
            "lookup": lambda: new.lookup(again),
            "trial": lambda: new.start_trial("trial"),
            "renew": client.renew,
            "pull": lambda: client.pull(tmp_path / "models"),
            "release": lambda: client.keys_for(MODEL.file_id, [1]),
            "return": client.deactivate,
            "status list": lambda: _poll(client),
        }
        before = {n: (world.state / n).read_bytes() for n in ("license.jwt", "lease.jwt")}
        world.server.instead = lambda method, path: PLACES[place]
        with pytest.raises(ModelsealError) as caught:
            calls[call]()
        error = caught.value
        assert not isinstance(error, (Refused, AssuranceNotReached))
        assert error.exit_code == 5 or isinstance(error, AnswerInvalid) or place == "json"
        assert error.next_step
        assert "secret" not in str(error) + str(error.params)
        if place == "portal":
            assert "Hotel Wi-Fi" in str(error.params["saw"])
        assert {n: (world.state / n).read_bytes() for n in before} == before
        assert client.status().state == "ACTIVE"
        world.server.instead = None
        calls[call]()
    assert all(device.state != "forked" for device in world.server.devices.values())


def test_a_portal_in_the_middle_of_a_renewal_costs_no_number(world):
    """The server did its work and the portal answered: the same lease comes with the next try."""
    with world.client() as client:
        client.activate(world.server.issue("face.swap"))
        hooked = []

        def swap(when, method, path):
            if when == "after" and not hooked:
                hooked.append(path)
                from modelseal.errors import AnswerUnsigned

                raise AnswerUnsigned("a page", server="x", status=200, saw="a page")

        world.server.hooks.append(swap)
        with pytest.raises(ModelsealError):
            client.renew()
        assert client.renew().lease.seq == 2
