"""The signed catalog: root, targets and keys come from the desk, snapshot and timestamp from here.

What comes in is verified by the root's keys; versions never go back. What goes out is served
byte for byte as it was signed.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from modelseal import trust as trust_room
from modelseal.admin import CatalogState, PutTrust, SignedMetadata
from modelseal.crypto.jwk import thumbprint
from modelseal.crypto.signing import SigningKey
from modelseal.errors import (
    CatalogInvalid,
    ConfigInvalid,
    Conflict,
    InvalidBytes,
    NotFound,
    TrustRollback,
)
from modelseal.license.plans import STABLE, check_channels
from modelseal.server.services import trusted
from modelseal.server.services.context import Context
from modelseal.server.store import models as model_store
from modelseal.server.store import tokens as token_store
from modelseal.server.store import tuf
from modelseal.server.store.rows import MetadataRow, ModelRow
from modelseal.trust import metadata, writing
from modelseal.trust.metadata import Role

SNAPSHOT_LIFE = timedelta(days=7)
TIMESTAMP_LIFE = timedelta(days=1)
MAX_TARGETS_BYTES = 4 * 1024 * 1024
_NAME = re.compile(r"(?:([1-9][0-9]{0,8})\.(root|snapshot|targets|keys)|(timestamp))\.json")
_LIST = re.compile(r"([0-9a-f]{64})\.keys")


class Catalog:
    """Reading and refreshing the roles, and taking in what the desk signed."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def document(self, name: str) -> bytes:
        """The signed bytes of ``timestamp.json`` or ``N.role.json``; ``NotFound``."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise NotFound("the catalog has no such document")
        self.refresh()
        if found[3]:
            row = self._context.store.read(tuf.newest, "timestamp")
        else:
            row = self._context.store.read(tuf.version, found[2], int(found[1]))
        if row is None:
            raise NotFound("the catalog has no such version")
        return row.data

    def key_list(self, name: str) -> bytes:
        """The key list named ``{sha256}.keys``; ``NotFound``."""
        found = _LIST.fullmatch(name)
        data = self._context.store.read(tuf.file, found[1]) if found else None
        if data is None:
            raise NotFound("the catalog has no such target")
        return data

    def state(self) -> CatalogState:
        """The newest version of every role."""
        self.refresh()

        def read(tx: Connection) -> dict[str, SignedMetadata]:
            names = ("root", "targets", "keys", "snapshot", "timestamp")
            return {name: _shown(_need(tuf.newest(tx, name))) for name in names}

        return CatalogState(**self._context.store.read(read))

    def refresh(self) -> None:
        """Snapshot and timestamp are there, name the newest roles and live half their life more."""
        now = self._context.now()
        if self._context.store.read(_is_fresh, now):
            return

        def act(tx: Connection) -> None:
            if not _is_fresh(tx, now):
                sign_online(self._context, tx, now)

        try:
            self._context.store.write(act)
        except Conflict:
            return  # another process refreshed at the same moment

    def put_trust(self, trust: PutTrust, record: Callable[[Connection, datetime], str]) -> str:
        """The new roles are in force; the id of the event that ``record`` wrote with them.

        Roots before the one in force are taken in, too, where they lead to it: a store that was
        made anew lacks them, and devices that missed a rotation need them.

        Raises the errors of ``trust.update``: ``TrustRollback``, ``TrustSignature`` and others.
        """
        context, now = self._context, self._context.now()
        current = context.trust
        known = current.root_version
        numbers = [metadata.read(root, "root").version for root in trust.roots]
        older = [r for n, r in zip(numbers, trust.roots, strict=True) if n < known]
        trust_room.check_history(current, older)
        new = trust_room.update(
            current,
            roots=trust.roots[len(older) :],
            targets=trust.targets,
            keys_role=trust.keys_role,
            key_list=trust.key_list,
            now=now,
        )

        def act(tx: Connection) -> str:
            for root in trust.roots:
                trusted.put(tx, "root", root)
            check_models_listed(context, tx, trust.targets)
            put_targets(tx, trust.targets)
            trusted.put(tx, "keys", trust.keys_role)
            tuf.put_file(tx, hashlib.sha256(trust.key_list).hexdigest(), trust.key_list)
            token_store.bump(tx, trusted.COUNTER)
            newest = _need(tuf.newest(tx, "root"))
            if newest.version != new.root_version:
                raise Conflict("another root was put in between")
            sign_online(context, tx, now)
            return record(tx, now)

        return context.store.write(act)


def verify_targets(context: Context, data: bytes, now: datetime) -> dict[str, dict[str, Any]]:
    """The entries of a signed targets role, by path.

    Raises ``CatalogInvalid`` unless the root's targets keys signed it, it has not expired, it
    still delegates ``keys`` as the keys role is signed, and every entry is well formed.
    """
    trust = context.trust
    if len(data) > MAX_TARGETS_BYTES:
        raise CatalogInvalid("the targets role is too large", limit=MAX_TARGETS_BYTES)
    try:
        document = metadata.read(data, "targets")
        root = metadata.read(trust.root_bytes, "root")
        document.verify(metadata.top_level_roles(root)["targets"])
        role = _need(context.store.read(tuf.newest, "keys"))
        metadata.read(role.data, "targets").verify(metadata.delegated_role(document, "keys"))
    except InvalidBytes as error:
        raise CatalogInvalid(f"targets: {error.detail}") from None
    if now >= document.expires_at:
        raise CatalogInvalid("the targets role has expired", expires_at=document.expires_at)
    entries = document.signed.get("targets")
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise CatalogInvalid("the targets role lists no targets")
    return entries


def put_targets(tx: Connection, data: bytes) -> None:
    """``data`` (verified) is the newest targets role; ``TrustRollback`` when it is older."""
    document = metadata.read(data, "targets")
    newest = _need(tuf.newest(tx, "targets"))
    if document.version == newest.version:
        if data != newest.data:
            raise Conflict("another targets role of this version is in force")
        return
    if document.version < newest.version:
        raise TrustRollback("a newer targets role is in force", version=newest.version)
    tuf.put(tx, MetadataRow("targets", document.version, data, document.expires_at))
    token_store.bump(tx, trusted.COUNTER)


def listed(entries: dict[str, dict[str, Any]], digest: str) -> tuple[str, dict[str, Any]] | None:
    """Path and entry of the target with this SHA-256."""
    for path, entry in entries.items():
        hashes = entry.get("hashes")
        if isinstance(hashes, dict) and hashes.get("sha256") == digest:
            return path, entry
    return None


def channels(tx: Connection) -> dict[str, frozenset[str]]:
    """Blob digests and the channels their models are published in, as the desk signed them.

    What says so in a form this release does not know is in none.
    """
    found: dict[str, frozenset[str]] = {}
    signed = metadata.read(_need(tuf.newest(tx, "targets")).data, "targets").signed
    for entry in signed.get("targets", {}).values():
        digest = entry.get("hashes", {}).get("sha256")
        try:
            found[digest] = frozenset(check_channels(told(entry).get("channels", STABLE)))
        except ConfigInvalid:
            found[digest] = frozenset()
    return found


def told(entry: dict[str, Any]) -> dict[str, Any]:
    """What an entry says about its sealed model; empty when it says nothing."""
    custom = entry.get("custom")
    about = custom.get("modelseal") if isinstance(custom, dict) else None
    return about if isinstance(about, dict) else {}


def check_models_listed(
    context: Context, tx: Connection, data: bytes, but: ModelRow | None = None
) -> None:
    """Every published model but ``but`` stands in the targets role ``data``; ``CatalogInvalid``."""
    entries = metadata.read(data, "targets").signed.get("targets", {})
    for row in model_store.published(tx, context.product):
        if but is not None and row.record_id == but.record_id:
            continue
        if listed(entries, row.blob_digest) is None:
            raise CatalogInvalid(
                "a published model is missing from the targets role", model=row.model
            )


def sign_online(context: Context, tx: Connection, now: datetime, *, at_least: int = 0) -> None:
    """A new snapshot where a role changed or it ages, and a new timestamp of it.

    Neither has a version below ``at_least``.
    """
    targets, keys = _need(tuf.newest(tx, "targets")), _need(tuf.newest(tx, "keys"))
    roles = _online_roles(tx)
    snapshot = tuf.newest(tx, "snapshot")
    if (
        snapshot is None
        or snapshot.version < at_least
        or _ages(snapshot, SNAPSHOT_LIFE, now)
        or not _signed_by(snapshot, roles["snapshot"])
        or not _names(snapshot.data, {"targets.json": targets, "keys.json": keys})
    ):
        number = max(at_least, 1 if snapshot is None else snapshot.version + 1)
        signed = writing.snapshot(
            number, now + SNAPSHOT_LIFE, targets=targets.data, keys_role=keys.data
        )
        snapshot = _put(context, tx, "snapshot", signed, roles["snapshot"])
    timestamp = tuf.newest(tx, "timestamp")
    number = max(at_least, 1 if timestamp is None else timestamp.version + 1)
    signed = writing.timestamp(number, now + TIMESTAMP_LIFE, snapshot=snapshot.data)
    _put(context, tx, "timestamp", signed, roles["timestamp"])


def _put(
    context: Context, tx: Connection, role: str, signed: dict[str, Any], by: Role
) -> MetadataRow:
    keys = context.online.keys_of(role, [thumbprint(public) for public in by.jwks()])
    data = writing.sign(signed, [key for key in keys if isinstance(key, SigningKey)])
    document = metadata.read(data, role)
    row = MetadataRow(role, document.version, data, document.expires_at)
    if not tuf.put(tx, row):
        raise Conflict("the catalog was refreshed at the same moment")
    return row


def _is_fresh(tx: Connection, now: datetime) -> bool:
    snapshot, timestamp = tuf.newest(tx, "snapshot"), tuf.newest(tx, "timestamp")
    if snapshot is None or timestamp is None:
        return False
    if _ages(snapshot, SNAPSHOT_LIFE, now) or _ages(timestamp, TIMESTAMP_LIFE, now):
        return False
    roles = _online_roles(tx)
    if not all(_signed_by(row, roles[row.role]) for row in (snapshot, timestamp)):
        return False
    targets, keys = _need(tuf.newest(tx, "targets")), _need(tuf.newest(tx, "keys"))
    return _names(snapshot.data, {"targets.json": targets, "keys.json": keys}) and _names(
        timestamp.data, {"snapshot.json": snapshot}
    )


def _online_roles(tx: Connection) -> dict[str, Role]:
    """The roles of the newest root: who signs snapshot and timestamp."""
    return _roles_of(_need(tuf.newest(tx, "root")).data)


@functools.lru_cache(maxsize=4)
def _roles_of(root: bytes) -> dict[str, Role]:
    """Asked twice a second of the same root."""
    return metadata.top_level_roles(metadata.read(root, "root"))


def _signed_by(row: MetadataRow, role: Role) -> bool:
    """True when as many keys of ``role`` signed as it asks for; what is stored was verified."""
    signatures = metadata.read(row.data, row.role).document["signatures"]
    return len(role.keys.keys() & {entry["keyid"] for entry in signatures}) >= role.threshold


def _ages(row: MetadataRow, life: timedelta, now: datetime) -> bool:
    """True when half its life is over, or it has more than any signed now (the clock was ahead)."""
    return not now + life / 2 < row.expires_at <= now + life * 3 / 2


def _names(data: bytes, roles: dict[str, MetadataRow]) -> bool:
    kind = "snapshot" if "targets.json" in roles else "timestamp"
    meta = metadata.read(data, kind).signed["meta"]
    return all(meta[name]["version"] == row.version for name, row in roles.items())


def _need(row: MetadataRow | None) -> MetadataRow:
    if row is None:
        raise CatalogInvalid("the store holds no catalog")
    return row


def _shown(row: MetadataRow) -> SignedMetadata:
    return SignedMetadata(
        role=row.role, version=row.version, expires_at=row.expires_at, data=row.data
    )
