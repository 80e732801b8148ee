"""``modelseal webhook``: where the server tells the publisher's own programs what happens."""

from __future__ import annotations

from typing import Annotated

import typer

from modelseal.admin import MessageState, NewWebhook, WebhookChange
from modelseal.cli import context, options, tables, talk
from modelseal.errors import Misuse

app = typer.Typer(
    no_args_is_help=True, help="Where the server tells your own programs what happens."
)

WebhookId = Annotated[str, typer.Argument(help="The webhook's id (whk_…).", metavar="WEBHOOK_ID")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="A kind of event it is told of (docs/spec/webhooks.md); repeat."),
]
Label = Annotated[str | None, typer.Option("--label", help="What it is for.")]


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="Where messages are sent (https://…).")],
    event: Events = None,
    label: Label = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Make a webhook; its secret is shown this once. Told of `anomaly` unless --event says else."""
    wish = NewWebhook(url=url, events=event or ["anomaly"], label=label or "")
    with context.admin(home, server, ca) as api:
        made = api.create_webhook(wish)

    def human() -> None:
        talk.write(f"{made.secret}\n")
        talk.said("webhook_made", webhook_id=made.webhook.webhook_id)

    talk.answer(made, human, as_json=json)


@app.command("list")
def list_(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """Webhooks without their secrets."""
    with context.admin(home, server, ca) as api:
        items, following = context.pages(api.list_webhooks, everything=everything)
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table(
            "Webhooks",
            ("webhook", "label", "enabled", "events", "url"),
            [(w.webhook_id, w.label, w.enabled, w.events, w.url) for w in items],
        ),
        as_json=json,
    )


@app.command()
def show(
    webhook_id: WebhookId,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """One webhook."""
    with context.admin(home, server, ca) as api:
        record = api.show_webhook(webhook_id)
    talk.answer(record, lambda: tables.pairs(list(talk.plain(record).items())), as_json=json)


@app.command()
def change(
    webhook_id: WebhookId,
    url: Annotated[str | None, typer.Option("--url", help="Another address.")] = None,
    event: Events = None,
    label: Label = None,
    enabled: Annotated[
        bool | None,
        typer.Option("--enable/--disable", help="A disabled webhook misses what happens."),
    ] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Change what is named; --event replaces all kinds."""
    wish = WebhookChange(url=url, events=event or None, label=label, enabled=enabled)
    if wish == WebhookChange():
        raise Misuse("nothing to change was named")
    with context.admin(home, server, ca) as api:
        record = api.change_webhook(webhook_id, wish)
    talk.answer(record, lambda: tables.pairs(list(talk.plain(record).items())), as_json=json)


@app.command()
def remove(
    webhook_id: WebhookId,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """End a webhook; what waits for it is gone."""
    with context.admin(home, server, ca) as api:
        record = api.remove_webhook(webhook_id)
    talk.answer(record, lambda: talk.said("webhook_removed", webhook_id=webhook_id), as_json=json)


@app.command()
def rotate(
    webhook_id: WebhookId,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """A new secret, shown this once; the old one signs for a day too."""
    with context.admin(home, server, ca) as api:
        made = api.rotate_webhook(webhook_id)

    def human() -> None:
        talk.write(f"{made.secret}\n")
        talk.said("webhook_rotated", ends=talk.plain(made.previous_ends_at))

    talk.answer(made, human, as_json=json)


@app.command()
def test(
    webhook_id: WebhookId,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Send one message; `webhook messages` shows what became of it."""
    with context.admin(home, server, ca) as api:
        done = api.test_webhook(webhook_id)
    talk.answer(done, lambda: talk.said("webhook_tested", webhook_id=webhook_id), as_json=json)


@app.command()
def messages(
    webhook_id: WebhookId,
    state: Annotated[
        MessageState | None, typer.Option("--state", help="waiting, delivered or given_up.")
    ] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """What became of each event; dead letters: `--state given_up`."""
    with context.admin(home, server, ca) as api:
        items, following = context.pages(
            lambda cursor: api.list_messages(webhook_id, state, cursor), everything=everything
        )
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table(
            "Messages",
            ("event", "kind", "at", "state", "attempts", "met", "next attempt"),
            [
                (m.event_id, m.kind, m.at, m.state, m.attempts, m.failure or m.status, m.due_at)
                for m in items
            ],
        ),
        as_json=json,
    )


@app.command()
def replay(
    webhook_id: WebhookId,
    event_ids: Annotated[
        list[str] | None,
        typer.Argument(help="Which messages; none: all that were given up.", metavar="[EVENT_ID]…"),
    ] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Send messages again, under the ids they had."""
    with context.admin(home, server, ca) as api:
        done = api.replay_messages(webhook_id, event_ids or None)
    talk.answer(done, lambda: talk.said("webhook_replayed", count=done.messages), as_json=json)
