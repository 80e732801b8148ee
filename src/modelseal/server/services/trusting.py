"""The product, and taking in new trust for it: roots, targets and key list, signed in the desk."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from modelseal.admin import Page, ProductRecord, PutTrust, TrustState
from modelseal.audit import EventKind
from modelseal.errors import Misuse, NotFound
from modelseal.server.services import recorder
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.catalog import Catalog
from modelseal.server.services.context import Context


class Trusting:
    """Changing the trust the server works with."""

    def __init__(self, context: Context, catalog: Catalog) -> None:
        self._context = context
        self._catalog = catalog

    def products(self, actor: Actor, cursor: str | None) -> Page[ProductRecord]:
        """The products of this server; a workspace has one."""
        actor.need(Right.READ)
        if cursor is not None:
            raise Misuse("the cursor is not one of ours")
        return Page(items=[self._shown()], next_cursor=None)

    def product(self, actor: Actor, product: str) -> ProductRecord:
        """The product of that name."""
        actor.need(Right.READ)
        if product != self._context.product:
            raise NotFound("no such product", product=product)
        return self._shown()

    def _shown(self) -> ProductRecord:
        context, trust = self._context, self._context.trust
        return ProductRecord(
            product=context.product,
            server_id=context.server_id,
            root_version=trust.root_version,
            keys_version=trust.keys_version,
        )

    def put(self, actor: Actor, trust: PutTrust) -> TrustState:
        """The new trust is in force and served; versions never go back."""
        actor.need(Right.TRUST)
        context = self._context

        def record(tx: Connection, now: datetime) -> str:
            known = recorder.fresh(context, now)
            recorder.record(
                tx, known, EventKind.TRUST_CHANGED, at=now, actor=actor.name,
                subjects={}, params={"roots": len(trust.roots)},
            )  # fmt: skip
            return known.event_id

        event_id = self._catalog.put_trust(trust, record)
        current = context.trust
        return TrustState(
            root_version=current.root_version,
            keys_version=current.keys_version,
            event_id=event_id,
        )
