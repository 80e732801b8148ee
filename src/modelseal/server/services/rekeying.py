"""Another key-encryption key: every row and key file rewrapped, no sealed model touched.

Each step can be the last one before a crash: ``server.toml`` names old and new key until nothing
is wrapped by the old one, and the same call again goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from modelseal import keys
from modelseal.admin import RewrappedKeys
from modelseal.audit import EventKind
from modelseal.errors import Misuse, OutputExists, StateDamaged
from modelseal.keys import KeyProvider
from modelseal.keys.ring import same_key
from modelseal.server.services import config as configs
from modelseal.server.services import recorder
from modelseal.server.services.actors import Actor, Right
from modelseal.server.services.context import KEK_COUNTER, Context
from modelseal.server.services.models import Models
from modelseal.server.store import tokens as token_store
from modelseal.server.store import wrapped as store
from modelseal.server.store.wrapped import WrappedRow

STEP = 256
_MAX_NUMBER = 10_000
Progress = Callable[[str], None]


class Rekeying:
    """See the module. ``on_step`` is told each step before it begins; tests stop there."""

    def __init__(self, context: Context, models: Models) -> None:
        self._context = context
        self._models = models
        self.on_step: Progress = lambda _step: None

    def rotate(self, actor: Actor, to: str | None) -> RewrappedKeys:
        """The key at ``to``, or a fresh key file, wraps everything; the old one is erased.

        An unfinished rotation is finished: without ``to``, or with its own, that is all. ``Misuse``
        when ``to`` is the key in force.
        """
        actor.need(Right.TRUST)
        self._context.provider.reload(anew=True)  # another process may have rotated before
        config = configs.load(self._context.folder)
        resumed = bool(config.kek_old)
        if resumed:
            done = self._finish(actor, resumed=True)
            if to is None or to == config.kek:
                return done
        self._begin(to)
        return self._finish(actor, resumed=resumed)

    def _begin(self, to: str | None) -> None:
        context, folder = self._context, self._context.folder
        before = configs.load(folder)
        self.on_step("make")
        uri, provider = self._made(to)
        if same_key(provider, context.provider.current):
            raise Misuse("this key wraps everything already", key_uri=uri)
        self.on_step("name")
        configs.set_kek(folder, uri, [before.kek])
        context.provider.reload()

    def _made(self, to: str | None) -> tuple[str, KeyProvider]:
        ring = self._context.provider
        if to is not None:
            try:
                return to, ring.create(to)
            except OutputExists:
                return to, ring.open(to)
        for number in range(2, _MAX_NUMBER):
            uri = f"file:kek-{number}.key"
            try:
                return uri, ring.create(uri)
            except OutputExists:
                continue  # never a key that somebody may have put back
        raise Misuse("there is no free name for a key file; name one with --to")

    def _finish(self, actor: Actor, *, resumed: bool) -> RewrappedKeys:
        context, folder = self._context, self._context.folder
        config = configs.load(folder)
        context.provider.reload()
        self.on_step("fence")
        context.store.write(token_store.bump, KEK_COUNTER)
        self.on_step("files")
        files = context.online.rewrap(context.provider)
        rows = self._rows()
        self.on_step("record")
        known = recorder.fresh(context, context.now())
        key_id = str(context.provider.describe().get("key_id", ""))

        def act(tx: Connection) -> None:
            if any(not context.provider.is_current(row.wrapped) for row in store.every(tx, STEP)):
                raise StateDamaged("a row is wrapped by a key that is gone", path=str(folder))
            recorder.record(
                tx, known, EventKind.KEYS_REWRAPPED, at=context.now(), actor=actor.name,
                subjects={}, params={"rows": rows, "files": files, "key_id": key_id},
            )  # fmt: skip

        context.store.write(act)
        self.on_step("erase")
        kept = [uri for uri in config.kek_old if not keys.erase(uri, base=folder)]
        self.on_step("forget")
        configs.set_kek(folder, config.kek, [])
        context.provider.reload()
        return RewrappedKeys(
            kek=config.kek, kek_id=key_id, previous=list(config.kek_old), rows=rows, files=files,
            kept=kept, resumed=resumed, event_id=known.event_id,
        )  # fmt: skip

    def _rows(self) -> int:
        count = 0
        for name in store.TABLES:
            after: Mapping[str, Any] | None = None
            while True:
                self.on_step(f"rows {name}")
                rows, changed = self._context.store.write(self._batch, name, after)
                count += changed
                if not rows:
                    break
                after = rows[-1].key
        return count

    def _batch(
        self, tx: Connection, name: str, after: Mapping[str, Any] | None
    ) -> tuple[list[WrappedRow], int]:
        ring, changed = self._context.provider, 0
        rows = store.page(tx, name, after, STEP)
        for row in rows:
            if ring.is_current(row.wrapped):
                continue
            bound = self._bound(row)
            store.replace(tx, row, ring.wrap(ring.unwrap(row.wrapped, bound), bound))
            changed += 1
        return rows, changed

    def _bound(self, row: WrappedRow) -> dict[str, str | int | bytes]:
        """What the row's value is bound to, the same as where it was wrapped first."""
        if row.table == "section_keys":
            return self._models.key_context(bytes(row.key["file_id"]), int(row.key["section"]))
        purpose = {
            "secrets": "secret",
            "idempotency": "idempotency",
            "prepared_leases": "lease-code",
            "webhook_secrets": "webhook",
        }[row.table]
        return self._context.wrap_context(purpose, **row.key)
