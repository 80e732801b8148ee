"""``modelseal server relay budget|budgets|revoke|restore``: relays that give by themselves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelseal.cli import context, files, options, tables, talk

if TYPE_CHECKING:
    from modelseal.client import Client
    from modelseal.server.relay.box import Box

RelayId = Annotated[str, typer.Argument(help="The relay's id (rly_…).", metavar="RELAY")]
_ASKS = 2
"""A server that was restored is told again what it forgot, and asked again."""
_COLUMNS = ("relay", "license_id", "state", "level", "seats", "renewals", "overdrawn", "expires_at")


def budget(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The relay's folder.", readable=False)
    ],
    key: Annotated[str, typer.Argument(help="The license key that devices will type.")],
    trust: Annotated[
        Path, typer.Option("--trust", help="The product's trust.json.", readable=False)
    ],
    level: Annotated[str, typer.Option("--level", help="The level to prove: L3 to L5.")] = "L3",
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", help="azure-vtpm, gramine, nitro, tsm, tpm2, nvidia; default: what is here."
        ),
    ] = None,
    kek: Annotated[
        str | None,
        typer.Option(
            "--kek", help="Where hardware keeps the relay's key (default tpm2:?pcrs=sha256:4,7)."
        ),
    ] = None,
    server: options.DeviceServer = None,
    ca: options.Ca = None,
    state: options.State = None,
    json: options.Json = False,
) -> None:
    """Prove this machine, and get leases to give out by itself.

    The machine is a device of the license (`modelseal activate`), whose plan lets relays give
    leases. Where there is a line, before the relay is carried into its network or again. What was
    given meanwhile is told first. A relay that runs by a budget goes by the new one at once.
    """
    from modelseal.server.relay.box import Box

    pinned, wanted = files.read(trust), int(options.level(level))
    with Box(folder) as box, context.client(state, None, server, trust, ca, collectors=by) as asker:
        for _ in range(_ASKS):
            if not _ask(box, asker, pinned, kek, wanted, key):
                break
        told_now = told(box)
    talk.answer(told_now, lambda: show(told_now), as_json=json)


def _ask(box: Box, asker: Client, trust: bytes, kek: str | None, level: int, key: str) -> bool:
    """The relay has a new delegation; True where the server had forgotten what it was told."""
    import msgspec

    from modelseal.client.delegating import Wish
    from modelseal.server.relay import keeping, syncing
    from modelseal.server.relay.given import Given
    from modelseal.server.services.delegating import Delegated

    mine = keeping.prepare(box, trust, kek=kek, now=_now())
    found = asker.delegate(Wish(
        box.about.relay, mine.signing.jwk, mine.kem, level, lambda to: syncing.tell_acts(box, to)
    ))  # fmt: skip
    answer = msgspec.convert(found.answer, Delegated)
    keeping.take(box, mine, answer, found.transcript, found.result, key, random=os.urandom)
    return Given(box).untold() > 0


def budgets(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """The budgets of relays, and what was reported of them."""
    with context.admin(home, server, ca) as api:
        items, following = context.pages(api.list_budgets, everything=everything)
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table(
            "Relays",
            _COLUMNS,
            [
                (
                    each.relay, each.license_id, each.state.value, f"L{each.level}",
                    f"{each.seats_spent} of {each.seats}",
                    f"{each.renewals_spent} of {each.renewals}",
                    each.overdrawn, each.expires_at,
                )
                for each in items
            ],
        ),
        as_json=json,
    )  # fmt: skip


def revoke(
    relay: RelayId,
    reason: options.Reason = "",
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """No further budget for a relay; what it gave is revoked."""
    with context.admin(home, server, ca) as api:
        record = api.revoke_budget(relay, reason)
    talk.answer(record, lambda: talk.said("relay_revoked", relay=relay), as_json=json)


def restore(
    relay: RelayId,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Let a relay ask again; what it gave is good again."""
    with context.admin(home, server, ca) as api:
        record = api.restore_budget(relay)
    talk.answer(record, lambda: talk.said("relay_restored", relay=relay), as_json=json)


def told(box: Box) -> dict[str, object]:
    """What the relay in ``box`` may still give, as it lies there."""
    from modelseal.server.relay import keeping
    from modelseal.server.relay.given import Given

    by, given = keeping.peek(box), Given(box)
    if by is None:
        return {}
    refused, code = given.refused()
    return {
        "budget": {
            "license_id": by.lic,
            "number": by.number,
            "seats": by.seats,
            "seats_spent": given.spent("seats"),
            "renewals": by.renewals,
            "renewals_spent": given.spent("renewals"),
            "unreported": given.untold(),
            "overdrawn": int(box.noted("budget_overdrawn") or 0),
            "overdrawn_why": box.noted("budget_why"),
            "rollback": "prevented" if keeping.is_counted(box) else "found",
            "stopped": box.noted("stopped_why") or None,
            "refused": refused,
            "refused_code": code,
            "state": box.noted("budget_state") or "active",
            "expires_at": datetime.fromtimestamp(by.exp, UTC),
        }
    }


def show(found: Mapping[str, object]) -> None:
    """The budget for a person, where there is one."""
    told_of = found.get("budget")
    if isinstance(told_of, dict):
        talk.said("relay_budget", **{**told_of, "refused": told_of["refused"] or None})


def _now() -> datetime:
    return datetime.now(UTC)
