"""Renewals that come together: one transaction, and every rule of one that comes alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.server.world import Computer, Shop

from modelseal import strict_json
from modelseal.crypto import hpke
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import Signer
from modelseal.errors import (
    EvidenceOutdated,
    ModelsealError,
    RateLimited,
    StorageFailed,
    TokenMalformed,
)
from modelseal.license import tokens
from modelseal.license.claims import KemKey, LeaseClaims, P256Point, TpmEvidence
from modelseal.server.services import ordinary, ticks
from modelseal.server.services.ordinary import Asked
from modelseal.server.services.renewal import Renewed
from modelseal.strict_json import JsonInvalid, b64u


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Fleet:
    """Devices of one license that ask at once."""

    def __init__(self, shop: Shop, count: int) -> None:
        self.shop = shop
        shop.plan("basic", "face.swap")
        self.issued = shop.license(seats=count)
        self.devices = [Computer(shop, f"c{n}") for n in range(count)]
        for device in self.devices:
            device.activate(self.issued.license_key)
        self.kems: dict[int, KemPrivateKey] = {}

    def ask(self, number: int, nonce: str | None = None, **told: object) -> Asked:
        device = self.devices[number]
        kem = self.kems.setdefault(number, KemPrivateKey.generate())
        more: dict[str, Any] = {
            "nonce": nonce or b64u(number.to_bytes(32, "big")),
            "kem": device.kem(kem),
        }
        more |= told
        token = device.sign(device.request("renew", **more))
        return Asked(device.device_id or "", token, "local")

    def renew(self, *asked: Asked) -> list[Renewed | ModelsealError | None]:
        return self.shop.server.devices.renew_many(list(asked))


def test_many_devices_get_their_next_leases_in_one_transaction(shop: Shop, tmp_path: Path) -> None:
    shop.publish(tmp_path, "swap.onnx", "face.swap")
    fleet = Fleet(shop, 5)
    commits = []
    real = shop.server.context.store.write
    shop.server.context.store.write = lambda *a, **k: (commits.append(1), real(*a, **k))[1]  # type: ignore[method-assign]
    answers = fleet.renew(*(fleet.ask(n) for n in range(5)))
    assert len(commits) == 1
    for number, answer in enumerate(answers):
        assert isinstance(answer, Renewed)
        device = fleet.devices[number]
        lease = tokens.read(answer.lease, LeaseClaims, shop.trust)
        assert (lease.sub, lease.seq, lease.prev) == (device.device_id, 2, device.prev)
        assert device.opened(lease, fleet.kems[number])
        event = next(e for e in shop.events("lease_renewed") if e.event_id == answer.event_id)
        assert event.params["lease"] == lease.jti
        assert event.subjects["device"] == device.device_id


def test_an_answer_of_a_tick_is_given_again_when_its_reply_is_lost(shop: Shop) -> None:
    fleet = Fleet(shop, 2)
    asked = [fleet.ask(0), fleet.ask(1)]
    first = fleet.renew(*asked)
    again = [shop.server.devices.renew(a.device_id, a.token) for a in asked]
    for one, other in zip(first, again, strict=True):
        assert isinstance(one, Renewed) and one.event_id == other.event_id
        a, b = (tokens.read(x.lease, LeaseClaims, shop.trust) for x in (one, other))
        assert (a.jti, a.seq, a.iat, a.exp) == (b.jti, b.seq, b.iat, b.exp)
    assert len(shop.events("lease_renewed")) == 2


def test_a_device_that_asks_twice_in_a_tick_is_answered_once(shop: Shop) -> None:
    fleet = Fleet(shop, 1)
    asked = fleet.ask(0)
    outcomes = fleet.renew(asked, Asked(asked.device_id, asked.token, "local"))
    assert isinstance(outcomes[0], Renewed) and outcomes[1] is None
    alone = shop.server.devices.renew_alone(asked)
    assert alone.event_id == outcomes[0].event_id


def test_who_is_not_ordinary_is_left_to_be_asked_alone_and_keeps_nobody_waiting(
    shop: Shop,
) -> None:
    fleet = Fleet(shop, 4)
    good, forged, revoked = fleet.ask(0), fleet.ask(1), fleet.ask(2)
    forged = Asked(forged.device_id, forged.token[:-8] + b"AAAAAAAA", "local")
    other = Asked(fleet.devices[3].device_id or "", good.token, "local")
    shop.admin.revoke_device(fleet.devices[2].device_id or "", "lost")
    outcomes = fleet.renew(good, forged, revoked, other, Asked("dev_nobody", b"x", "local"))
    assert isinstance(outcomes[0], Renewed) and outcomes[1:] == [None] * 4
    for asked in (forged, revoked, other):
        with pytest.raises(ModelsealError):
            shop.server.devices.renew_alone(asked)
    assert len(shop.events("lease_renewed")) == 1


def test_a_kem_key_of_small_order_is_refused_and_costs_nobody_else_a_lease(shop: Shop) -> None:
    fleet = Fleet(shop, 3)
    point = b64u(b"\0" * 1216)
    bad = fleet.ask(1, kem=[KemKey(suite=hpke.SUITE, pub=point)])
    outcomes = fleet.renew(fleet.ask(0), bad, fleet.ask(2))
    assert isinstance(outcomes[0], Renewed) and isinstance(outcomes[2], Renewed)
    assert outcomes[1] is None
    with pytest.raises(TokenMalformed):
        shop.server.devices.renew_alone(bad)


def test_a_fault_that_one_request_finds_is_not_that_of_the_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(shop, 3)
    asked = [fleet.ask(number) for number in range(3)]
    usual = ordinary.Ordinary.judge

    def judge(self: ordinary.Ordinary, seen: Any, item: Asked, **how: Any) -> Any:
        if item is asked[1]:
            raise ZeroDivisionError
        return usual(self, seen, item, **how)

    monkeypatch.setattr(ordinary.Ordinary, "judge", judge)
    outcomes = fleet.renew(*asked)
    assert isinstance(outcomes[0], Renewed) and isinstance(outcomes[2], Renewed)
    assert outcomes[1] is None


@pytest.mark.parametrize("act", ["suspend", "device"])
def test_what_is_revoked_between_judging_and_writing_gets_no_lease(shop: Shop, act: str) -> None:
    fleet = Fleet(shop, 2)
    asked = [fleet.ask(0), fleet.ask(1)]
    tick = shop.server.devices.tick(asked)
    tick.look()
    tick.judge()
    assert tick.is_ready and not tick.is_left
    if act == "suspend":
        shop.admin.suspend_license(fleet.issued.license_id, "unpaid")
    else:
        shop.admin.revoke_device(asked[0].device_id, "lost")
    tick.write()
    assert tick.is_done
    first, second = tick.outcomes()
    assert first is None
    assert second is None if act == "suspend" else isinstance(second, Renewed)
    assert len(shop.events("lease_renewed")) == (0 if act == "suspend" else 1)


def test_what_was_judged_under_another_trust_is_judged_anew(shop: Shop, tmp_path: Path) -> None:
    fleet = Fleet(shop, 1)
    tick = shop.server.devices.tick([fleet.ask(0)])
    tick.look()
    tick.judge()
    shop.publish(tmp_path, "swap.onnx", "face.swap")
    tick.write()
    assert tick.is_left and not tick.is_ready and not shop.events("lease_renewed")
    [answer] = ticks.finish(tick)
    assert isinstance(answer, Renewed)
    lease = tokens.read(answer.lease, LeaseClaims, shop.trust)
    assert fleet.devices[0].opened(lease, fleet.kems[0])


def test_whose_trust_changes_each_time_it_is_to_be_written_is_left_to_be_asked_alone(
    shop: Shop, tmp_path: Path
) -> None:
    fleet = Fleet(shop, 1)
    asked = fleet.ask(0)
    tick = shop.server.devices.tick([asked])
    for name in ("one.onnx", "two.onnx"):
        assert not tick.is_done
        tick.look()
        tick.judge()
        shop.publish(tmp_path, name, "face.swap")
        tick.write()
    assert tick.is_done and tick.outcomes() == [None]
    assert shop.server.devices.renew_alone(asked).lease


def test_what_is_judged_a_few_at_a_time_is_answered_as_what_is_judged_at_once(shop: Shop) -> None:
    fleet = Fleet(shop, 5)
    tick = shop.server.devices.tick([fleet.ask(n) for n in range(5)])
    tick.look()
    assert [tick.judge_some(2) for _ in range(3)] == [True, True, False]
    assert tick.is_ready and not tick.is_left
    tick.write()
    assert all(isinstance(outcome, Renewed) for outcome in tick.outcomes())
    assert len(shop.events("lease_renewed")) == 5


def test_a_key_that_is_elsewhere_signs_only_where_waiting_is_allowed(shop: Shop) -> None:
    class Elsewhere:
        def __init__(self, inner: Signer) -> None:
            self.alg, self.jwk, self.kid = inner.alg, inner.jwk, inner.kid
            self._inner = inner

        def sign(self, message: bytes) -> bytes:
            return self._inner.sign(message)

    fleet = Fleet(shop, 2)
    tick = shop.server.devices.tick([fleet.ask(0), fleet.ask(1)])
    tick.look()
    seen = tick._seen
    assert seen is not None and seen.is_quick
    seen.signers = [Elsewhere(signer) for signer in seen.signers]
    assert not tick.judge_some(2) and tick.is_left and not tick.is_ready
    tick.judge()
    tick.write()
    assert all(isinstance(outcome, Renewed) for outcome in tick.outcomes())


def test_what_a_tpm_states_is_judged_where_waiting_is_allowed_and_the_others_do_not_wait_for_it(
    shop: Shop,
) -> None:
    fleet = Fleet(shop, 3)
    point = P256Point(b64u(bytes(32)), b64u(bytes(32)))
    stated = TpmEvidence(
        ak=point, key=point, clock_limit_ms=1, reset_limit=1, attest="AA", signature="AA"
    )
    asked = [fleet.ask(0), fleet.ask(1, tpm=stated), fleet.ask(2)]
    tick = shop.server.devices.tick(asked)
    tick.look()
    assert not tick.judge_some(3)
    assert tick.is_left and tick.is_ready
    tick.judge()
    tick.write()
    first, stating, last = tick.outcomes()
    assert isinstance(first, Renewed) and isinstance(last, Renewed) and stating is None
    with pytest.raises(EvidenceOutdated):
        shop.server.devices.renew_alone(asked[1])


def test_when_the_store_is_gone_everybody_of_the_tick_is_told_so(shop: Shop) -> None:
    fleet = Fleet(shop, 2)
    for step in ("read", "write"):
        tick = shop.server.devices.tick([fleet.ask(0), fleet.ask(1)])
        store = shop.server.context.store
        real = getattr(store, step)

        def gone(*_args: object, **_named: object) -> None:
            raise StorageFailed("the database is gone")

        setattr(store, step, gone)
        try:
            outcomes = ticks.finish(tick)
        finally:
            setattr(store, step, real)
        assert tick.is_done and [type(outcome) for outcome in outcomes] == [StorageFailed] * 2
    assert not shop.events("lease_renewed")


def test_a_floating_seat_and_a_counted_plan_are_left_to_be_asked_alone(shop: Shop) -> None:
    fleet = Fleet(shop, 1)
    shop.plan("floating", floating=True)
    device = Computer(shop, "f")
    device.activate(shop.license("floating").license_key)
    fleet.devices.append(device)
    assert fleet.renew(fleet.ask(1)) == [None]
    assert device.renew().seq == 2


def test_limits_hold_for_renewals_of_a_tick(shop: Shop) -> None:
    fleet = Fleet(shop, 1)
    found = []
    for number in range(70):
        [answer] = fleet.renew(fleet.ask(0, b64u((1000 + number).to_bytes(32, "big"))))
        if isinstance(answer, RateLimited):
            found.append(number)
            continue
        assert isinstance(answer, Renewed)
        device = fleet.devices[0]
        device._accept(answer.lease, answer.license, fleet.kems[0])
    assert found == list(range(60, 70))
    assert ticks.MOST >= 60


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}', b'{"a":1.5}', b'{"a":1e3}', b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":-0}',
        b'{"a":"\xff"}', b'{"a":NaN}', b"[" * 33 + b"]" * 33, b'{"a":"\\u0041"}', b"nul", b"",
        '{"\U0001f600":1,"\uffff":2}'.encode(),
    ],
)  # fmt: skip
def test_what_is_not_canonical_is_refused_by_the_quick_reader_too(data: bytes) -> None:
    with pytest.raises(JsonInvalid):
        strict_json.decode_canonical(data, max_bytes=1000)
