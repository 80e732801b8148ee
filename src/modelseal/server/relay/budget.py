"""What a relay may give by itself: its keys, its delegation and a small store of its own.

``Budget`` runs the services of the license server over a store in the relay's folder, in which one
license is what was delegated. Every private and data key lies there wrapped by a key-encryption key
that hardware keeps. Normative: ``docs/spec/relay.md``, section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from modelseal import trust as trusts
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    AnswerInvalid,
    InputMissing,
    InvalidBytes,
    KeyStoreUnavailable,
    OutputExists,
    StateDamaged,
    StateNotWritable,
)
from modelseal.keys import Ask, KeyRing, OnlineKeys, dispatch, files
from modelseal.license import jws, lease_keys, license_key, tokens
from modelseal.license.claims import DelegationClaims, SealedKeys
from modelseal.license.lease_keys import Binding
from modelseal.license.plans import Plan
from modelseal.server.relay.box import Box
from modelseal.server.relay.given import Given
from modelseal.server.services import trusted
from modelseal.server.services.blobs import Blobs
from modelseal.server.services.config import ServerConfig
from modelseal.server.services.context import Context, Delegation
from modelseal.server.services.delegating import Delegated, DelegatedLicense, binding_of
from modelseal.server.services.licensing import hash_key
from modelseal.server.store import licenses as license_store
from modelseal.server.store import plans as plan_store
from modelseal.server.store import schema
from modelseal.server.store.engine import Store, settle
from modelseal.server.store.rows import LicenseRow, PlanRow
from modelseal.trust import Trust
from modelseal.types import Level, from_numeric

FOLDER = "budget"
LEAST_KEK = Level.L2
DEFAULT_KEK = "tpm2:?pcrs=sha256:4,7"
"""Boot loader and secure boot."""
_DATABASE = "sqlite:///budget.sqlite3"
_SET = "relay-1"
DataKeys = dict[tuple[bytes, int], bytes]


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a relay keeps of its newest delegation; ``keys`` are file id, section, wrapped key.

    ``license`` and ``key_hash`` are what its store has by it.
    """

    delegation: str
    keys: list[tuple[bytes, int, bytes]]
    license: DelegatedLicense | None = None
    key_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a relay asks by: the key it is to sign with, and the one that opens what it gets."""

    signing: SigningKey
    kem: KemPrivateKey


def prepare(
    box: Box, trust: bytes, *, kek: str | None, now: datetime, ask: Ask | None = None
) -> Keys:
    """The relay's own keys, made in its folder where they are not; ``trust`` is stored beside.

    ``kek`` is the URI of the key-encryption key that wraps them, made where there is none. Raises
    ``KeyStoreUnavailable`` for one that no hardware keeps, or a TPM in any state of its machine.
    """
    folder = box.folder / FOLDER
    try:
        (folder / "keys").mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StateNotWritable(error.strerror or "", path=str(folder)) from None
    pinned = trusts.parse(trust)
    if (pinned.server_id, pinned.product) != (box.about.server, box.about.product):
        raise StateDamaged("the trust of another server or product", path=str(folder))
    known = box.noted("kek")
    if known is None:
        known = _made(kek or DEFAULT_KEK, folder, ask)
        Given(box).note(kek=known)
    files.replace(folder / "trust.json", trust)
    online = _online(box, known, ask)
    if not online.entries():
        online.add("lease", SigningKey.generate(), not_before=now, set_name=_SET)
        online.add("sealing", KemPrivateKey.generate(), not_before=now, set_name=_SET)
    return _keys(online)


def _made(kek: str, folder: Path, ask: Ask | None) -> str:
    try:
        provider = dispatch.create(kek, ask=ask, base=folder)
    except OutputExists:
        provider = dispatch.open_provider(kek, ask=ask, base=folder)
    if provider.level < LEAST_KEK:
        raise KeyStoreUnavailable("a budget needs a key-encryption key in hardware", uri=kek)
    told = provider.describe()
    if told.get("kind") == "tpm2" and not told.get("pcrs"):
        raise KeyStoreUnavailable("the key is bound to no measured state: name pcrs", uri=kek)
    return kek


def _online(box: Box, kek: str, ask: Ask | None) -> OnlineKeys:
    folder = box.folder / FOLDER
    ring = KeyRing(lambda: [kek], ask=ask, base=folder)
    return OnlineKeys(folder / "keys", ring, server_id=box.about.server, ask=ask)


def _keys(online: OnlineKeys) -> Keys:
    found = {entry.use: online.open_key(entry) for entry in online.entries()}
    signing, kem = found.get("lease"), found.get("sealing")
    if not isinstance(signing, SigningKey) or not isinstance(kem, KemPrivateKey):
        raise StateDamaged("the relay's own keys are not there", path=FOLDER)
    return Keys(signing, kem)


def exists(box: Box) -> bool:
    """Whether a delegation was ever taken in here."""
    return box.noted("budget") is not None


def peek(box: Box) -> DelegationClaims | None:
    """What the delegation in ``box`` says; nothing is opened, and nothing proved anew."""
    text = box.noted("budget")
    if text is None:
        return None
    token = _kept(box, text).delegation
    try:
        return msgspec.convert(jws.parse(token, max_bytes=len(token)).payload, DelegationClaims)
    except (InvalidBytes, msgspec.ValidationError):
        raise StateDamaged("the delegation is not readable", path=str(box.folder)) from None


def _kept(box: Box, text: str) -> Kept:
    try:
        return msgspec.json.decode(text, type=Kept)
    except msgspec.DecodeError:
        raise StateDamaged("the delegation is not readable", path=str(box.folder)) from None


class Budget:
    """The newest delegation of the relay in ``box``, and the services that give by it.

    Raises ``InputMissing`` where there is none, ``KeyStoreUnavailable`` where the hardware does not
    open its keys. Close it when done.
    """

    def __init__(
        self,
        box: Box,
        *,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
        ask: Ask | None = None,
    ) -> None:
        self.box = box
        self.folder = box.folder / FOLDER
        kek = box.noted("kek")
        if kek is None:
            raise InputMissing("this relay has no budget", path=str(self.folder))
        self._kept: Kept | None = None
        self._text = ""
        self._online = _online(box, kek, ask)
        self.keys = _keys(self._online)
        try:
            self.trust: Trust = trusts.parse((self.folder / "trust.json").read_bytes())
        except OSError as error:
            raise StateDamaged(error.strerror or "", path=str(self.folder)) from None
        store = Store(_DATABASE, self.folder)
        self.context = Context(
            home=self.folder,
            folder=self.folder,
            config=ServerConfig(),
            store=store,
            provider=KeyRing(lambda: [kek], ask=ask, base=self.folder),
            online=self._online,
            blobs=Blobs(self.folder / "blobs", random),
            trusted=trusted.TrustRoom(self.trust, store),
            clock=now,
            random=random,
        )
        try:
            schema.migrate(store)
            store.write(trusted.seed, self.trust)
            self.read()
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Connections are given back."""
        self.context.store.close()

    @property
    def by(self) -> DelegationClaims | None:
        """The newest delegation; None before the first."""
        return None if self.context.delegation is None else self.context.delegation.claims

    def read(self) -> None:
        """The delegation is the one that lies in the folder now."""
        text = self.box.noted("budget")
        if text is None or (self._kept is not None and text == self._text):
            return
        kept = _kept(self.box, text)
        claims, _kid = tokens.read_delegation(kept.delegation, self.trust)
        if kept.license is not None:  # a stop may have come between the note and this
            self.context.store.write(self._put, claims, kept.license, kept.key_hash)
        self.context.delegation = Delegation(kept.delegation, claims, self.keys.signing)
        self._kept, self._text = kept, text

    def take(self, answer: Delegated, transcript: bytes, result: bytes, key: str) -> None:
        """What the license server answered is in force: delegation, license and data keys.

        ``key`` is the license key that devices will type. Raises ``AnswerInvalid`` and token errors
        for an answer that is not to this relay; then nothing has changed.
        """
        claims, _kid = tokens.read_delegation(answer.delegation, self.trust)
        before = self.by
        if claims.sub != self.box.about.relay or dict(claims.jwk) != dict(self.keys.signing.jwk):
            raise AnswerInvalid("a delegation to another relay")
        if claims.kem != self.keys.kem.kid or claims.lic != answer.license.license_id:
            raise AnswerInvalid("a delegation for another key or license")
        newer = before is None or (claims.iat, claims.number) > (before.iat, before.number)
        if not newer:  # a server that was restored counts anew
            raise AnswerInvalid("a delegation that is not newer than what is held")
        wrapped = self._wrapped(answer.keys, binding_of(claims, transcript, result))
        hashed = hash_key(self.context, license_key.parse(key))
        kept = Kept(
            delegation=answer.delegation, keys=wrapped, license=answer.license, key_hash=hashed
        )
        Given(self.box).take(
            msgspec.json.encode(kept).decode(),
            seats=answer.seats_spent,
            renewals=answer.renewals_spent,
        )
        self.read()

    def data_keys(self) -> DataKeys:
        """The data keys that leases carry, opened; the caller wipes them."""
        found: DataKeys = {}
        for file_id, section, wrapped in self._kept.keys if self._kept else []:
            bound = _bound(self.context, file_id, section)
            found[file_id, section] = self.context.provider.unwrap(wrapped, bound)
        return found

    def _wrapped(
        self, sealed: Iterable[SealedKeys], binding: Binding
    ) -> list[tuple[bytes, int, bytes]]:
        found: list[tuple[bytes, int, bytes]] = []
        for part in sealed:
            with lease_keys.wiped(lease_keys.open_keys(part, self.keys.kem, binding)) as keys:
                for (file_id, section), key in keys.items():
                    bound = _bound(self.context, file_id, section)
                    found.append((file_id, section, self.context.provider.wrap(key, bound)))
        return found

    def _put(
        self, tx: Connection, by: DelegationClaims, told: DelegatedLicense, key_hash: bytes
    ) -> None:
        """The one license of this store is what was delegated, and no more."""
        now = self.context.now()
        terms = msgspec.to_builtins(_terms(told.terms, by))
        plan_store.put(tx, PlanRow(told.plan_id, told.plan, told.pv, terms, now, now, by.jti))
        row = license_store.get(tx, by.lic)
        if row is not None and row.event_id == by.jti:
            return
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


def _bound(context: Context, file_id: bytes, section: int) -> Mapping[str, str | int | bytes]:
    return context.wrap_context("relay-data-key", file_id=file_id, section=section)
