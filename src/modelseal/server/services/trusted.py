"""The trust the server works with: pinned in ``trust.json``, carried forward in the store."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

from sqlalchemy import Connection

from modelseal import strict_json
from modelseal import trust as trust_room
from modelseal.errors import CatalogInvalid, WorkspaceMissing
from modelseal.server.store import tokens as token_store
from modelseal.server.store import tuf
from modelseal.server.store.engine import Store
from modelseal.server.store.rows import MetadataRow
from modelseal.trust import Trust, metadata

COUNTER = "trust"
KEYS_TARGET = "keys"


def read_pinned(home: Path) -> Trust:
    """The trust in ``home/trust.json``; ``WorkspaceMissing`` when there is none."""
    try:
        return trust_room.parse((home / "trust.json").read_bytes())
    except OSError:
        raise WorkspaceMissing("there is no trust.json here", path=str(home)) from None


class TrustRoom:
    """``current`` is the trust of the newest roles in the store; read anew when they change."""

    def __init__(self, pinned: Trust, store: Store) -> None:
        self.pinned = pinned
        self._store = store
        self._guard = threading.Lock()
        self._kept: tuple[int, Trust] | None = None
        self._is_old = True

    def current(self) -> Trust:
        """The trust as it stands; one small query when nothing changed."""
        number = self._store.read(token_store.counter, COUNTER)
        with self._guard:
            if self._kept is None or self._kept[0] != number:
                self._kept = (number, self._store.read(self._read))
            self._is_old = False
            return self._kept[1]

    def kept(self) -> Trust:
        """The trust as it was last read; asks the store only when it never was."""
        with self._guard:
            known = self._kept
        return self.current() if known is None else known[1]

    def freshen(self) -> None:
        """What a transaction found to be newer is kept from now on. Call it outside of any.

        A transaction itself keeps nothing: what it sees it may have written, and may take back.
        """
        if self._is_old:
            self.current()

    def within(self, tx: Connection, number: int | None = None) -> Trust:
        """The trust as the transaction ``tx`` sees it; ``number`` is its counter, where read."""
        if number is None:
            number = token_store.counter(tx, COUNTER)
        with self._guard:
            known = self._kept
            self._is_old |= known is None or known[0] != number
        return known[1] if known is not None and known[0] == number else self._read(tx)

    def _read(self, tx: Connection) -> Trust:
        rows = [tuf.newest(tx, role) for role in ("root", "targets", "keys")]
        root, targets, role = rows
        if root is None or targets is None or role is None:
            raise CatalogInvalid("the store holds no catalog")
        content = tuf.file(tx, list_digest(role.data))
        if content is None:
            raise CatalogInvalid("the store holds no key list")
        return trust_room.compose(
            root=root.data,
            targets=targets.data,
            keys_role=role.data,
            key_list=content,
            tls_ca=self.pinned.tls_ca,
        )


def list_digest(keys_role: bytes) -> str:
    """SHA-256 (hex) of the key list that the delegated role names."""
    signed = metadata.read(keys_role, "targets").signed
    return str(signed["targets"][KEYS_TARGET]["hashes"]["sha256"])


def seed(tx: Connection, pinned: Trust) -> bool:
    """A new store holds the roles of ``trust.json``; False for one that holds roles already."""
    if tuf.newest(tx, "root") is not None:
        return False
    value = json.loads(pinned.raw)
    put(tx, "root", pinned.root_bytes)
    put(tx, "targets", strict_json.encode(value["keys"]["targets"]))
    put(tx, "keys", strict_json.encode(value["keys"]["role"]))
    content = strict_json.encode(value["keys"]["list"])
    tuf.put_file(tx, hashlib.sha256(content).hexdigest(), content)
    token_store.bump(tx, COUNTER)
    return True


def advance(tx: Connection, pinned: Trust) -> None:
    """A store whose trust is older than that of ``trust.json`` holds that one too."""
    value = json.loads(pinned.raw)
    there = {role: tuf.newest(tx, role) for role in ("root", "targets", "keys")}
    root, keys = there["root"], there["keys"]
    if root is None or root.version < pinned.root_version:
        put(tx, "root", pinned.root_bytes)
    if keys is None or keys.version < pinned.keys_version:
        put(tx, "keys", strict_json.encode(value["keys"]["role"]))
        content = strict_json.encode(value["keys"]["list"])
        tuf.put_file(tx, hashlib.sha256(content).hexdigest(), content)
    targets = strict_json.encode(value["keys"]["targets"])
    newest = there["targets"]
    if newest is None or newest.version < metadata.read(targets, "targets").version:
        put(tx, "targets", targets)


def put(tx: Connection, role: str, data: bytes) -> bool:
    """One signed role in the store; False when that version is there already."""
    kind = "targets" if role == "keys" else role
    document = metadata.read(data, kind)
    return tuf.put(tx, MetadataRow(role, document.version, data, document.expires_at))
