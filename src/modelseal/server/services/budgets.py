"""Budgets of relays on the publisher's side: showing, revoking and restoring them."""

from __future__ import annotations

from sqlalchemy import Connection

from modelseal.admin import BudgetState, Page, RelayBudget
from modelseal.audit import EventKind
from modelseal.errors import Misuse, NotFound
from modelseal.license.status import Status
from modelseal.server.services import acting, recorder, statuses
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import Context
from modelseal.server.services.paging import page_of
from modelseal.server.store import delegations as store
from modelseal.server.store import licenses as license_store
from modelseal.server.store.rows import DelegationRow

_OF_LICENSE = {"suspended": int(Status.SUSPENDED), "revoked": int(Status.REVOKED)}


class Budgets:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, actor: Actor, cursor: str | None) -> Page[RelayBudget]:
        """Relays in the order of their ids."""
        actor.need(Right.READ)
        rows = page_of(self._context, cursor, store.page, lambda row: row.relay)
        return Page(items=[shown(row) for row in rows.items], next_cursor=rows.next_cursor)

    def show(self, actor: Actor, relay: str) -> RelayBudget:
        """One relay's budget as it stands."""
        actor.need(Right.READ)
        return self._context.store.read(lambda tx: shown(_get(tx, relay)))

    def revoke(self, actor: Actor, relay: str, reason: str) -> RelayBudget:
        """No further delegation, and what was given by it is revoked in the status list.

        Its seats stay reserved until the last lease by it has ended.
        """
        actor.need(Right.DEVICES)
        if len(reason) > 512:
            raise Misuse("a reason has at most 512 characters")
        return self._set(actor, relay, BudgetState.REVOKED, reason)

    def restore(self, actor: Actor, relay: str) -> RelayBudget:
        """The relay may ask again; what it gave is as good as its license."""
        actor.need(Right.DEVICES)
        return self._set(actor, relay, BudgetState.ACTIVE, "")

    def _set(self, actor: Actor, relay: str, state: BudgetState, reason: str) -> RelayBudget:
        context, now = self._context, self._context.now()
        known = recorder.fresh(context, now)
        revokes = state is BudgetState.REVOKED
        kind = EventKind.DELEGATION_REVOKED if revokes else EventKind.DELEGATION_RESTORED

        def act(tx: Connection) -> RelayBudget:
            license_store.lock(tx, _get(tx, relay).license_id)
            row = _get(tx, relay)
            if row.state == state:
                return shown(row)
            licensed = acting.license_row(tx, row.license_id).state
            value = int(Status.REVOKED) if revokes else _OF_LICENSE.get(licensed, 0)
            row = store.change(
                tx, row, state=state.value, status_value=value, event_id=known.event_id
            )
            statuses.touch(tx, [row.status_list])
            recorder.record(
                tx, known, kind, at=now, actor=actor.name,
                subjects={"license": row.license_id, "relay": relay},
                params={"delegation": row.delegation_id, "number": row.number},
                personal=recorder.personal(context, reason=reason),
            )  # fmt: skip
            return shown(row)

        return context.store.write(act)

    def release_ended(self) -> None:
        """Seats that waited for relays whose delegations have ended are the license's again."""
        now = self._context.now()
        if not self._context.store.read(store.ended, now):
            return

        def act(tx: Connection) -> None:
            for row in store.ended(tx, now):
                license_store.lock(tx, row.license_id)
                fresh = store.get(tx, row.relay)
                if fresh is not None and fresh.ends_at <= now:
                    store.change(tx, fresh, reserved=0)

        self._context.store.write(act)


def shown(row: DelegationRow) -> RelayBudget:
    """A budget as the admin calls show it."""
    return RelayBudget(
        relay=row.relay,
        license_id=row.license_id,
        device_id=row.device_id,
        delegation_id=row.delegation_id,
        number=row.number,
        state=BudgetState(row.state),
        level=row.level,
        seats=row.seats,
        seats_spent=row.seats_spent,
        renewals=row.renewals,
        renewals_spent=row.renewals_spent,
        overdrawn=row.overdrawn,
        issued_at=row.issued_at,
        expires_at=row.ends_at,
        event_id=row.event_id,
    )


def _get(tx: Connection, relay: str) -> DelegationRow:
    row = store.get(tx, relay)
    if row is None:
        raise NotFound("no relay with a budget has this id", relay=relay[:64])
    return row
