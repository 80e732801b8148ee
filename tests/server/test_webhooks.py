"""Webhooks: written with the act, signed, tried again, given up, replayed; over both stores."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.server.receiver import Receiver
from tests.server.world import Computer, Shop

from modelseal.admin import IssuedWebhook, MessageRecord, MessageState, NewWebhook, WebhookChange
from modelseal.audit import EventKind
from modelseal.errors import ConfigInvalid, Misuse, NotFound
from modelseal.license.plans import Anomaly
from modelseal.server.services import addresses, delivering, open_server, outbox, recorder
from modelseal.server.services.delivering import PAUSES, signed
from modelseal.server.services.webhooks import check_url

HOUR = 3600


@pytest.fixture
def shop(shop: Shop) -> Shop:
    """A shop that may tell programs on the loopback."""
    shop.server.webhooks.named = addresses.networks(["127.0.0.0/8"], "webhook_networks")
    return shop


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def hooked(shop: Shop, receiver: Receiver, *kinds: str) -> IssuedWebhook:
    return shop.admin.create_webhook(
        NewWebhook(url=receiver.url, events=list(kinds) or ["license_issued"])
    )


def deliver(shop: Shop) -> int:
    return shop.server.courier.deliver()


def only(shop: Shop, hook: IssuedWebhook, state: MessageState | None = None) -> MessageRecord:
    [message] = shop.admin.list_messages(hook.webhook.webhook_id, state).items
    return message


def test_the_signature_is_that_of_the_specifications_own_example() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_an_act_is_told_once_signed_and_under_its_events_id(shop: Shop, receiver: Receiver) -> None:
    hook = hooked(shop, receiver, "license_issued", "license_revoked")
    shop.plan()
    issued = shop.license()
    shop.admin.suspend_license(issued.license_id)  # not subscribed
    assert deliver(shop) == 1 and deliver(shop) == 0
    [event] = shop.events("license_issued")
    assert receiver.ids == [event.event_id] and receiver.verified_by(hook.secret)
    [message] = receiver.told
    assert message["type"] == "license_issued"
    assert datetime.fromisoformat(message["timestamp"]) == event.at
    assert message["data"]["subjects"] == event.subjects
    assert message["data"]["reference"] == event.reference
    headers, body = receiver.got[0]
    assert headers["content-type"] == "application/json"
    for private in (issued.license_key, "li@example.com", hook.secret):
        assert private.encode() not in body
    told = only(shop, hook)
    assert (told.state, told.attempts, told.status) == (MessageState.DELIVERED, 1, 204)


def test_what_is_rolled_back_is_told_to_nobody(shop: Shop, receiver: Receiver) -> None:
    """The outbox is written in the transaction of the act: both stand, or neither."""
    hook = hooked(shop, receiver, "license_issued")
    context, now = shop.server.context, shop.clock()

    def act(tx: object) -> None:
        known = recorder.fresh(context, now)
        recorder.record(
            tx, known, EventKind.LICENSE_ISSUED, at=now, actor="host", subjects={}, params={}
        )  # type: ignore[arg-type]
        raise Misuse("never mind")

    with pytest.raises(Misuse):
        context.store.write(act)
    assert shop.admin.list_messages(hook.webhook.webhook_id).items == []
    assert deliver(shop) == 0 and receiver.got == []


def test_a_decisions_facts_and_traits_stay_in_the_house(shop: Shop, receiver: Receiver) -> None:
    hooked(shop, receiver, "device_activated", "lease_denied")
    shop.plan()
    issued = shop.license()
    device = Computer(shop)
    device.activate(issued.license_key, label="Li's laptop")
    shop.admin.revoke_license(issued.license_id, "a private reason")
    with pytest.raises(Exception, match="license_revoked"):
        device.renew()
    assert deliver(shop) == 2
    assert [m["data"]["params"].get("code") for m in receiver.told] == [
        "allowed",
        "license_revoked",
    ]
    for body in (body for _headers, body in receiver.got):
        for private in (
            b"facts",
            b"traits",
            b"laptop",
            b"private",
            b"mac",
            device.key.kid.encode(),
        ):
            assert private not in body


def test_what_fails_is_tried_again_later_and_later_and_then_given_up(
    shop: Shop, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500]
    hook = hooked(shop, receiver)
    shop.plan()
    shop.license()
    began = shop.clock()
    for number, pause in enumerate(PAUSES, 1):
        assert deliver(shop) == 1 and deliver(shop) == 0
        message = only(shop, hook, MessageState.WAITING)
        assert (message.attempts, message.status) == (number, 500)
        wait = ((message.due_at or began) - shop.clock()).total_seconds()
        assert 0.8 * pause <= wait <= 1.2 * pause
        shop.clock.now = message.due_at or began
    assert deliver(shop) == 1
    dead = only(shop, hook, MessageState.GIVEN_UP)
    assert (dead.attempts, dead.due_at) == (len(PAUSES) + 1, None)
    assert timedelta(days=2.5) < shop.clock() - began < timedelta(days=5)
    assert len(set(receiver.ids)) == 1 and len({body for _h, body in receiver.got}) == 1
    assert "given up" in caplog.text and hook.secret not in caplog.text
    shop.clock.pass_(days=10)
    assert deliver(shop) == 0
    receiver.statuses = [200]
    assert shop.admin.replay_messages(hook.webhook.webhook_id).messages == 1
    assert deliver(shop) == 1
    assert only(shop, hook).state is MessageState.DELIVERED


def test_pauses_are_drawn_so_that_receivers_are_not_called_in_step(
    shop: Shop, receiver: Receiver
) -> None:
    receiver.statuses = [503]
    hook = hooked(shop, receiver)
    shop.plan()
    for _ in range(6):
        shop.license()
    while deliver(shop):
        continue
    items = shop.admin.list_messages(hook.webhook.webhook_id).items
    assert len({item.due_at for item in items}) == 6


def test_a_receiver_that_names_a_time_is_left_alone_until_then(
    shop: Shop, receiver: Receiver
) -> None:
    receiver.statuses, receiver.headers = [429], {"Retry-After": "900"}
    hook = hooked(shop, receiver)
    shop.plan()
    shop.license()
    deliver(shop)
    assert only(shop, hook).due_at == shop.clock() + timedelta(seconds=900)


def test_named_messages_are_sent_again_and_unknown_ones_are_not(
    shop: Shop, receiver: Receiver
) -> None:
    hook = hooked(shop, receiver)
    shop.plan()
    for _ in range(3):
        shop.license()
    assert deliver(shop) == 3
    again = receiver.ids[1]
    assert shop.admin.replay_messages(hook.webhook.webhook_id, [again]).messages == 1
    assert deliver(shop) == 1 and receiver.ids[-1] == again
    with pytest.raises(NotFound):
        shop.admin.replay_messages(hook.webhook.webhook_id, [again, "evt_no"])
    assert deliver(shop) == 0


def test_for_a_day_after_a_rotation_both_secrets_sign(shop: Shop, receiver: Receiver) -> None:
    hook = hooked(shop, receiver)
    webhook_id = hook.webhook.webhook_id
    shop.plan()
    fresh = shop.admin.rotate_webhook(webhook_id)
    assert fresh.previous_ends_at == shop.clock() + timedelta(days=1)
    shop.license()
    deliver(shop)
    assert receiver.verified_by(hook.secret) and receiver.verified_by(fresh.secret)
    shop.clock.pass_(days=1)
    shop.license()
    deliver(shop)
    assert not receiver.verified_by(hook.secret) and receiver.verified_by(fresh.secret)
    newest = shop.admin.rotate_webhook(webhook_id)
    shop.admin.test_webhook(webhook_id)
    deliver(shop)
    assert receiver.verified_by(newest.secret) and receiver.verified_by(fresh.secret)


def test_secrets_lie_wrapped_and_outlive_another_key_encryption_key(
    shop: Shop, receiver: Receiver
) -> None:
    hook = hooked(shop, receiver)
    raw = base64.b64decode(hook.secret.removeprefix("whsec_"))
    stored = b"".join(p.read_bytes() for p in (shop.home / "server").glob("modelseal.db*"))
    assert raw not in stored and hook.secret.encode() not in stored
    shop.admin.rotate_kek()
    shop.admin.test_webhook(hook.webhook.webhook_id)
    assert deliver(shop) == 1 and receiver.verified_by(hook.secret)


def test_a_disabled_webhook_misses_what_happens_and_a_removed_one_is_gone(
    shop: Shop, receiver: Receiver
) -> None:
    hook = hooked(shop, receiver)
    webhook_id = hook.webhook.webhook_id
    shop.plan()
    shop.admin.change_webhook(webhook_id, WebhookChange(enabled=False))
    shop.license()
    assert deliver(shop) == 0
    with pytest.raises(Misuse):
        shop.admin.test_webhook(webhook_id)
    shop.admin.change_webhook(webhook_id, WebhookChange(enabled=True, events=["plan_created"]))
    shop.license()
    shop.plan("other")
    assert deliver(shop) == 1 and receiver.told[0]["type"] == "plan_created"
    shop.plan("third")
    shop.admin.remove_webhook(webhook_id)
    assert deliver(shop) == 0
    with pytest.raises(NotFound):
        shop.admin.list_messages(webhook_id)
    changes = [event.params["change"] for event in shop.events("webhook_changed")]
    assert changes == ["created", "changed", "changed", "removed"]


def test_a_receiver_that_is_gone_is_asked_no_more(shop: Shop, receiver: Receiver) -> None:
    receiver.statuses = [410]
    hook = hooked(shop, receiver)
    shop.plan()
    shop.license()
    shop.license()
    assert deliver(shop) == 1
    assert not shop.admin.show_webhook(hook.webhook.webhook_id).enabled
    assert only(shop, hook, MessageState.GIVEN_UP).status == 410
    assert [e.actor for e in shop.events("webhook_changed")] == ["host", "system"]


def test_a_rule_that_says_webhook_or_suspend_is_told_and_one_that_flags_is_not(
    shop: Shop, receiver: Receiver
) -> None:
    hooked(shop, receiver, "anomaly", "license_suspended")
    rules = [
        Anomaly(rule="activation_farming", limit=limit, per_seconds=HOUR, action=action)
        for limit, action in ((1, "flag"), (2, "webhook"), (3, "suspend"))
    ]
    shop.plan("watched", anomalies=rules, seats=5)
    issued = shop.license("watched")
    device = Computer(shop)
    for _ in range(4):
        device.activate(issued.license_key)
    deliver(shop)
    told = [(m["type"], m["data"]["params"].get("action")) for m in receiver.told]
    assert told == [("anomaly", "webhook"), ("anomaly", "suspend"), ("license_suspended", None)]
    params = receiver.told[0]["data"]["params"]
    assert params == {
        "rule": "activation_farming", "action": "webhook", "count": 3, "limit": 2,
        "per_seconds": HOUR,
    }  # fmt: skip
    assert receiver.told[0]["data"]["subjects"]["license"] == issued.license_id
    assert shop.admin.show_license(issued.license_id).state == "suspended"


def test_two_processes_send_each_message_once_between_them(shop: Shop, receiver: Receiver) -> None:
    hooked(shop, receiver)
    shop.plan()
    for _ in range(20):
        shop.license()
    other = shop.reopen()
    other.server.webhooks.named = shop.server.webhooks.named
    threads = [threading.Thread(target=deliver, args=(each,)) for each in (shop, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deliver(shop)
    other.server.close()
    assert sorted(receiver.ids) == sorted(e.event_id for e in shop.events("license_issued"))


def test_what_a_killed_process_was_sending_falls_due_again(shop: Shop, receiver: Receiver) -> None:
    hook = hooked(shop, receiver)
    shop.plan()
    shop.license()
    courier = shop.server.courier
    claimed = shop.server.context.store.write(courier._claim, hook.webhook.webhook_id, shop.clock())
    assert claimed is not None and deliver(shop) == 0
    shop.clock.pass_(seconds=91)
    assert deliver(shop) == 1 and only(shop, hook).attempts == 2


def test_a_slow_receiver_delays_no_other(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of its own for each webhook; stopping waits for what is being sent."""
    gate, began = threading.Event(), threading.Event()
    real = delivering.outgoing.post

    def slow(url: str, *args: object, **kwargs: object) -> object:
        if url.endswith("/slow"):
            began.set()
            gate.wait(120)
        return real(url, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(delivering.outgoing, "post", slow)
    shop.admin.create_webhook(
        NewWebhook(url=receiver.url.replace("/hook", "/slow"), events=["license_issued"])
    )
    quick = hooked(shop, receiver)
    shop.plan()
    shop.license()
    shop.server.courier.start_due()
    assert began.wait(60)
    end = time.monotonic() + 60
    while only(shop, quick).state is not MessageState.DELIVERED:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert len(receiver.got) == 1
    gate.set()
    shop.server.courier.close()
    assert len(receiver.got) == 2


def test_old_messages_are_forgotten(shop: Shop, receiver: Receiver) -> None:
    hook = hooked(shop, receiver)
    shop.plan()
    shop.license()
    deliver(shop)
    shop.clock.pass_(days=delivering.DELIVERED_DAYS + 1)
    shop.server.courier.start_due()
    shop.server.courier.close()
    assert shop.admin.list_messages(hook.webhook.webhook_id).items == []


def test_every_kind_but_those_of_every_lease_can_be_told() -> None:
    assert set(EventKind) - outbox.TOLD == {
        EventKind.LEASE_RENEWED, EventKind.KEYS_RELEASED, EventKind.LICENSE_LOOKED_UP,
    }  # fmt: skip


def test_a_server_has_a_bounded_number_of_webhooks(shop: Shop, receiver: Receiver) -> None:
    for _ in range(16):
        hooked(shop, receiver)
    with pytest.raises(Misuse):
        hooked(shop, receiver)


def test_an_odd_network_in_the_configuration_is_refused_at_the_start(shop: Shop) -> None:
    config = shop.home / "server" / "server.toml"
    before = config.read_text()
    config.write_text(before + 'webhook_networks = ["127.0.0.0/99"]\n')
    with pytest.raises(ConfigInvalid):
        open_server(shop.home, now=shop.clock)
    config.write_text(before + 'webhook_networks = ["127.0.0.0/8"]\n')
    with open_server(shop.home, now=shop.clock) as server:
        check_url("http://127.0.0.1/", server.webhooks.named)


def test_no_secret_is_logged(
    shop: Shop, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.statuses = [500]
    hook = shop.admin.create_webhook(
        NewWebhook(url=receiver.url + "?token=in-the-address", events=["license_issued"])
    )
    shop.plan()
    shop.license()
    deliver(shop)
    assert hook.secret not in caplog.text and "in-the-address" not in caplog.text
