"""What refuses and what does not: only a signed denial that answers the question."""

from __future__ import annotations

import pytest
from tests.client.activated import MODEL, keys_of

from modelseal import errors
from modelseal.client.transport import Answer
from modelseal.errors import (
    AnswerUnsigned,
    LicenseRevoked,
    LicenseSuspended,
    ModelsealError,
)


@pytest.mark.parametrize(
    ("state", "error", "shown"),
    [
        ("revoked", LicenseRevoked, "REVOKED"),
        ("suspended", LicenseSuspended, "SUSPENDED"),
        ("expired", errors.LicenseExpired, "EXPIRED"),
    ],
)
def test_a_signed_denial_ends_the_lease_and_erases_its_keys(
    active, world, key, state, error, shown
):
    world.server.license_of(key).state = state
    with pytest.raises(error) as caught:
        active.renew()
    assert active.status().state == shown
    assert active.status().last_refusal.reference == caught.value.reference
    left = {p.name for p in world.state.iterdir()}
    assert "denial.jwt" in left
    assert not left & {"lease.jwt", "lease.bundle"}
    with pytest.raises(error):
        keys_of(active)


def test_a_resumed_license_works_again_with_the_next_renewal(active, world, key):
    world.server.license_of(key).state = "suspended"
    with pytest.raises(LicenseSuspended):
        active.renew()
    world.server.license_of(key).state = "active"
    active.renew()
    assert active.status().state == "ACTIVE"
    assert keys_of(active) == MODEL.keys
    assert not (world.state / "denial.jwt").exists()


def _portal(method, path):
    return Answer(200, {"content-type": "text/html"}, b"<title>Hotel</title>")


@pytest.mark.parametrize(
    "instead",
    [
        _portal,
        lambda m, p: Answer(403, {"content-type": "text/plain"}, b"blocked"),
        lambda m, p: Answer(401, {"content-type": "application/problem+json"},
                            b'{"code":"license_revoked"}'),
        lambda m, p: Answer(302, {"location": "https://evil.example/"}, b""),
        lambda m, p: Answer(500, {}, b""),
        lambda m, p: Answer(200, {"content-type": "application/json"}, b"{}"),
        lambda m, p: Answer(403, {"content-type": "application/problem+json"},
                            b'{"code":"license_revoked","denial":"a.b.c"}'),
    ],
)  # fmt: skip
def test_whatever_is_not_signed_changes_nothing(active, world, instead):
    before = {p.name: p.read_bytes() for p in world.state.iterdir() if p.suffix in (".jwt",)}
    world.server.instead = instead
    with pytest.raises(ModelsealError) as caught:
        active.renew()
    assert not isinstance(caught.value, errors.Refused)
    assert {n: (world.state / n).read_bytes() for n in before} == before
    assert keys_of(active) == MODEL.keys
    world.server.instead = None
    active.renew()
    assert active.status().lease.seq == 2


def test_a_captive_portal_is_named_as_what_it_is(active, world):
    world.server.instead = _portal
    with pytest.raises(AnswerUnsigned) as caught:
        active.renew()
    assert "Hotel" in caught.value.params["saw"]
    with pytest.raises(AnswerUnsigned):
        active.pull()


def test_a_denial_to_another_question_is_not_believed(active, world, key, tmp_path):
    """An old denial replayed on the network locks no payer out."""
    world.server.license_of(key).state = "suspended"
    recorded = []
    original = world.server._answer

    def record(method, path, body):
        answer = original(method, path, body)
        recorded.append(answer)
        return answer

    world.server._answer = record
    with pytest.raises(LicenseSuspended):
        active.renew()
    world.server.license_of(key).state = "active"
    active.renew()
    world.server.instead = lambda method, path: recorded[0]
    with pytest.raises(errors.AnswerInvalid):
        active.renew()
    assert active.status().state == "ACTIVE"
    assert keys_of(active) == MODEL.keys


def test_an_old_lease_replayed_by_the_network_is_not_believed(active, world):
    recorded = []
    original = world.server._answer

    def record(method, path, body):
        recorded.append(original(method, path, body))
        return recorded[-1]

    world.server._answer = record
    active.renew()
    world.server.instead = lambda method, path: recorded[0]
    with pytest.raises(errors.AnswerInvalid):
        active.renew()
    assert active.status().lease.seq == 2
