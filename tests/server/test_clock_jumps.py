"""A server's clock that jumps: nobody is called a copy, and nothing stays stuck afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.server.receiver import Receiver
from tests.server.test_ticks import Fleet
from tests.server.world import Computer, Shop, denied

from modelseal import audit
from modelseal.admin import IssueLicense, MessageState, NewWebhook, Role
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import IdempotencyMismatch, LicenseExpired, LicenseNotYetValid, RateLimited
from modelseal.license import tokens
from modelseal.license.claims import LeaseClaims, StatusListClaims
from modelseal.server.services import LocalAdmin, addresses
from modelseal.server.services.limits import RENEWAL
from modelseal.server.services.renewal import Renewed
from modelseal.server.services.statuses import TTL_SECONDS
from modelseal.strict_json import b64u
from modelseal.types import from_numeric

WEEK = 7 * 86400
FAR = {"days": 400}


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def back(delta: dict[str, float]) -> dict[str, float]:
    return {name: -value for name, value in delta.items()}


def lasts(shop: Shop, lease: LeaseClaims) -> float:
    """Seconds from now to the end of a lease."""
    return lease.exp - shop.clock().timestamp()


@pytest.mark.parametrize(
    "jump", [{"hours": 3}, FAR, {"hours": -3}, {"days": -2}], ids=["hours", "year", "back", "days"]
)
def test_devices_renew_before_during_and_after_a_jump_and_none_is_called_a_copy(
    shop: Shop, jump: dict[str, float]
) -> None:
    shop.plan()
    issued = shop.license(seats=3, never=True)
    there, here = Computer(shop, "a"), Computer(shop, "b")
    for device in (there, here):
        device.activate(issued.license_key)
    shop.clock.pass_(days=3)
    assert there.renew().seq == here.renew().seq == 2
    shop.clock.pass_(**jump)
    lease = there.renew()
    assert lease.seq == 3 and 0 < lasts(shop, lease) <= WEEK
    shop.clock.pass_(**back(jump))
    shop.clock.pass_(hours=1)
    for device, seq in ((there, 4), (here, 3)):
        after = device.renew()
        assert after.seq == seq and 0 < lasts(shop, after) <= WEEK
        assert from_numeric(after.iat) <= shop.clock()
    assert Computer(shop, "c").activate(issued.license_key).seq == 1
    assert not [e for e in shop.events() if e.kind.startswith("fork") or e.kind == "store_behind"]
    assert shop.admin.show_license(issued.license_id).seats_used == 3
    log_is_whole(shop)


def test_a_tick_that_a_jump_falls_into_is_answered_once_and_repeated_alike(shop: Shop) -> None:
    fleet = Fleet(shop, 3)
    asked = [fleet.ask(n) for n in range(3)]
    real, moved = shop.server.context.store.write, []

    def jumping(*args: object, **more: object) -> object:
        if not moved:
            moved.append(shop.clock.pass_(**FAR))
        return real(*args, **more)  # type: ignore[arg-type]

    shop.server.context.store.write = jumping  # type: ignore[method-assign,assignment]
    answers = fleet.renew(*asked)
    assert moved
    shop.clock.pass_(**back(FAR))
    for item, answer in zip(asked, answers, strict=True):
        again = shop.server.devices.renew(item.device_id, item.token)
        assert isinstance(answer, Renewed) and again.event_id == answer.event_id
        one, other = (tokens.read(x.lease, LeaseClaims, shop.trust) for x in (answer, again))
        assert (one.jti, one.seq, one.exp) == (other.jti, other.seq, other.exp)
    assert len(shop.events("lease_renewed")) == 3


@pytest.mark.parametrize("days", [400, -2])
def test_a_refusal_by_a_wrong_clock_is_over_once_the_clock_is_right(shop: Shop, days: int) -> None:
    shop.plan()
    device = Computer(shop)
    shop.clock.pass_(days=3)
    device.activate(shop.license(expires_in_seconds=30 * 86400).license_key)
    shop.clock.pass_(days=days)
    error, denial = denied(device.renew, shop)
    assert isinstance(error, LicenseExpired if days > 0 else LicenseNotYetValid)
    device.seq, device.prev = denial.seq, denial.jti
    shop.clock.pass_(days=-days)
    assert device.renew().seq == denial.seq + 1 == 3


def test_an_answer_under_an_idempotency_key_stays_over_a_jump_either_way(shop: Shop) -> None:
    shop.plan()
    admin = LocalAdmin(shop.server, idempotency_key=b64u(os.urandom(8)))
    wish = IssueLicense(plan="basic", customer="a")
    first = admin.issue_license(wish)
    for way in ({"hours": 20.0}, {"days": -1.0}):
        shop.clock.pass_(**way)
        assert admin.issue_license(wish) == first
        with pytest.raises(IdempotencyMismatch):
            admin.issue_license(IssueLicense(plan="basic", customer="b"))
        shop.clock.pass_(**back(way))
    assert len(shop.admin.list_licenses().items) == 1


def test_limits_hold_and_keep_nobody_out_after_a_jump(shop: Shop) -> None:
    limiter = shop.server.devices.limiter
    for way in (FAR, back(FAR), back(FAR), FAR):
        for _ in range(RENEWAL.burst):
            limiter.take(RENEWAL, "dev", shop.clock())
        with pytest.raises(RateLimited) as caught:
            limiter.take(RENEWAL, "dev", shop.clock())
        assert caught.value.params["retry_after_seconds"] <= 2
        shop.clock.pass_(**way)
        shop.clock.pass_(seconds=RENEWAL.burst / RENEWAL.per_second)
        if way["days"] < 0:  # what came in by another clock is counted from now on
            with pytest.raises(RateLimited):
                limiter.take(RENEWAL, "dev", shop.clock())
            shop.clock.pass_(seconds=RENEWAL.burst / RENEWAL.per_second)


def test_a_revocation_by_a_clock_that_was_ahead_is_told_at_once(shop: Shop) -> None:
    shop.plan()
    issued = shop.license()
    Computer(shop).activate(issued.license_key)
    shop.clock.pass_(**FAR)
    ahead = status_list(shop)
    shop.clock.pass_(**back(FAR))
    shop.admin.revoke_license(issued.license_id, "chargeback")
    told = status_list(shop)
    assert told.number > ahead.number and told.status_list != ahead.status_list
    assert told.iat == int(shop.clock().timestamp()) and told.ttl == TTL_SECONDS


def status_list(shop: Shop) -> StatusListClaims:
    return tokens.read(shop.server.statuses.token(1).decode(), StatusListClaims, shop.trust)


def test_the_catalog_of_a_clock_that_was_ahead_is_signed_anew(shop: Shop) -> None:
    shop.clock.pass_(**FAR)
    ahead = shop.admin.catalog_state()
    shop.clock.pass_(**back(FAR))
    now = shop.admin.catalog_state()
    for role, days in (("timestamp", 1), ("snapshot", 7)):
        signed, before = getattr(now, role), getattr(ahead, role)
        assert signed.version == before.version + 1
        assert signed.expires_at <= shop.clock() + timedelta(days=days)
    assert shop.admin.catalog_state() == now


def test_an_office_taken_by_a_clock_that_was_ahead_is_taken_over(shop: Shop) -> None:
    other = shop.reopen()
    shop.clock.pass_(**FAR)
    assert shop.server.log.elected() and not other.server.log.elected()
    shop.clock.pass_(**back(FAR))
    assert other.server.log.elected()
    other.server.close()


def test_what_failed_by_a_clock_that_was_ahead_is_sent_soon(shop: Shop, receiver: Receiver) -> None:
    shop.server.webhooks.named = addresses.networks(["127.0.0.0/8"], "webhook_networks")
    hook = shop.admin.create_webhook(NewWebhook(url=receiver.url, events=["license_issued"]))
    shop.plan()
    receiver.statuses = [500]
    shop.clock.pass_(**FAR)
    shop.license(never=True)
    assert shop.server.courier.deliver() == 1
    shop.clock.pass_(**back(FAR))
    receiver.statuses = [200]
    assert shop.server.courier.deliver() == 1
    [message] = shop.admin.list_messages(hook.webhook.webhook_id).items
    assert message.state is MessageState.DELIVERED


def test_tokens_end_by_the_clock_as_it_is(shop: Shop) -> None:
    made = shop.admin.create_token(Role.OWNER, 3600, "jump")
    shop.clock.pass_(days=-1)
    assert shop.server.tokens.authenticate(made.token).role is Role.OWNER
    shop.clock.pass_(days=1)
    assert shop.server.tokens.authenticate(made.token).role is Role.OWNER


def log_is_whole(shop: Shop) -> None:
    keys = [VerifyKey.from_jwk(k.jwk, k.alg) for k in shop.trust.keys("checkpoint")]  # type: ignore[arg-type]
    report = audit.verify_export(list(shop.admin.export_events()), None, keys, None)
    assert report.events == len(shop.events())
