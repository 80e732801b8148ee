"""What gives by a relay's newest delegation: its keys, opened, and a small store of its own.

``Budget`` runs the services of the license server over a store in the relay's folder, in which one
license is what was delegated. Normative: ``docs/spec/relay.md``, section 8.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.errors import InputMissing, StateDamaged
from modelseal.ids import Random
from modelseal.keys import Ask, OnlineKeys
from modelseal.license import tokens
from modelseal.license.claims import DelegationClaims
from modelseal.license.plans import Plan
from modelseal.server.relay import keeping
from modelseal.server.relay.box import Box
from modelseal.server.relay.counting import Counting
from modelseal.server.relay.keeping import Kept, Keys
from modelseal.server.services import trusted
from modelseal.server.services.blobs import Blobs
from modelseal.server.services.config import ServerConfig
from modelseal.server.services.context import Context, Delegation
from modelseal.server.services.delegating import DelegatedLicense
from modelseal.server.store import licenses as license_store
from modelseal.server.store import plans as plan_store
from modelseal.server.store import schema
from modelseal.server.store.engine import Store, settle
from modelseal.server.store.rows import LicenseRow, PlanRow
from modelseal.trust import Trust
from modelseal.types import from_numeric

_DATABASE = "sqlite:///budget.sqlite3"
DataKeys = dict[tuple[bytes, int], bytes]


@dataclass(slots=True)
class RelayContext(Context):
    """As a server's, with the one secret that a relay has."""

    held_secret: bytes = field(default=b"", repr=False)

    def secret(self, name: str) -> bytes:
        """The secret by which license keys are hashed here."""
        return self.held_secret


@dataclass(frozen=True, slots=True)
class Opened:
    """One delegation with all that gives by it, opened; ``text`` is what was noted of it."""

    text: str = field(repr=False)
    kept: Kept = field(repr=False)
    by: DelegationClaims
    keys: Keys = field(repr=False)
    trust: Trust
    context: RelayContext
    counting: Counting | None

    def data_keys(self) -> DataKeys:
        """The data keys that leases carry, opened; the caller wipes them."""
        found: DataKeys = {}
        for file_id, section, wrapped in self.kept.keys:
            bound = keeping.bound_to(self.context.server_id, file_id=file_id, section=section)
            found[file_id, section] = self.context.provider.unwrap(wrapped, bound)
        return found


class Budget:
    """The newest delegation of the relay in ``box``, and the services that give by it.

    Raises ``InputMissing`` where there is none, ``KeyStoreUnavailable`` where the hardware does not
    open its keys. Close it when done.
    """

    def __init__(
        self, box: Box, *, now: Callable[[], datetime], random: Random, ask: Ask | None = None
    ) -> None:
        self.box = box
        self.folder = box.folder / keeping.FOLDER
        if not keeping.exists(box):
            raise InputMissing("this relay has no budget", path=str(self.folder))
        self._now, self._random, self._ask = now, random, ask
        self._store = Store(_DATABASE, self.folder)
        self._opened: Opened | None = None
        try:
            schema.migrate(self._store)
            self.read()
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        """Connections are given back."""
        self._store.close()

    def read(self) -> Opened:
        """The delegation as it lies in the folder now; its license is the store's one."""
        text, opened = self.box.noted("budget") or "", self._opened
        if opened is None or text != opened.text:
            opened = self._open(text)
            self._opened = opened
        return opened

    def _open(self, text: str) -> Opened:
        kept, store = keeping.kept_of(self.box, text), self._store
        place, kek = self.folder / kept.place, self.box.noted("kek") or ""
        trust = keeping.trust_of(place)
        by, _kid = tokens.read_delegation(kept.delegation, trust)
        ring, server = keeping.ring_of(kek, place, self._ask), self.box.about.server
        online = OnlineKeys(place / "keys", ring, server_id=server, ask=self._ask)
        keys = _keys(online, place, kek)
        if dict(by.jwk) != dict(keys.signing.jwk) or by.kem != keys.kem.kid:
            raise StateDamaged("the delegation of other keys", path=str(place))
        secret = ring.unwrap(kept.secret, keeping.bound_to(server, keeping.SECRET))
        if not hmac.compare_digest(kept.seal, keeping.seal_of(kept, secret)):
            raise StateDamaged("the delegation's note was altered", path=str(place))
        context = RelayContext(
            home=self.folder,
            folder=self.folder,
            config=ServerConfig(),
            store=store,
            provider=ring,
            online=online,
            blobs=Blobs(self.folder / "blobs", self._random),
            trusted=trusted.TrustRoom(trust, store),
            clock=self._now,
            random=self._random,
            delegation=Delegation(kept.delegation, by, keys.signing),
            held_secret=secret,
        )
        store.write(trusted.seed, trust)
        store.write(_put, context, by, kept.license, kept.key_hash)
        counting = keeping.counting_of(kept, kek, secret, by, self._random)
        return Opened(text, kept, by, keys, trust, context, counting)


def _keys(online: OnlineKeys, place: Path, kek: str) -> Keys:
    found = {entry.use: online.open_key(entry) for entry in online.entries()}
    signing, kem = found.get("lease"), found.get("sealing")
    if not isinstance(signing, SigningKey) or not isinstance(kem, KemPrivateKey):
        raise StateDamaged("the relay's own keys are not there", path=keeping.FOLDER)
    return Keys(signing, kem, place, kek)


def _put(
    tx: Connection, context: Context, by: DelegationClaims, told: DelegatedLicense, key_hash: bytes
) -> None:
    """The one license of this store is what was delegated, and no more."""
    now, row = context.now(), license_store.get(tx, by.lic)
    if row is not None and row.event_id == by.jti:
        return
    terms = msgspec.to_builtins(_terms(told.terms, by))
    plan_store.put(tx, PlanRow(told.plan_id, told.plan, told.pv, terms, now, now, by.jti))
    values: dict[str, Any] = {
        "key_hash": key_hash,
        "plan_id": told.plan_id,
        "plan_version": told.pv,
        "seats": by.seats,
        "state": "active",
        "starts_at": told.starts_at,
        "ends_at": from_numeric(by.exp),
        "event_id": by.jti,
    }
    if row is not None:
        settle(license_store.change(tx, row, rev=row.rev + 1, changed_at=now, **values))
        return
    fresh = LicenseRow(
        license_id=by.lic, customer_id="", label=None, metadata={}, period_seconds=None,
        reason=None, rev=1, version=1, created_at=now, changed_at=now, **values,
    )  # fmt: skip
    license_store.add(tx, fresh)


def _terms(plan: Plan, by: DelegationClaims) -> Plan:
    """The plan as the relay goes by it: what only the license server counts is not in it."""
    return msgspec.structs.replace(
        plan, relay=None, late_payment_seconds=0, period_seconds=None, starts="issue", anomalies=[],
        on_fork="hold", trial_once_per_device=False,
    )  # fmt: skip
