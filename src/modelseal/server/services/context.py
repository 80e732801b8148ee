"""What every service works with: store, keys, trust, clock and randomness, all given from outside.

One clock: every time that is stored or compared comes from ``now``.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from modelseal import ids
from modelseal.crypto.hpke import KemOpener
from modelseal.crypto.signing import Signer
from modelseal.errors import KeyStoreUnavailable, SealedKeyInvalid
from modelseal.keys import KeyRing, OnlineKeys
from modelseal.license.claims import DelegationClaims
from modelseal.server.services.blobs import Blobs
from modelseal.server.services.bucket import BucketBlobs
from modelseal.server.services.config import ServerConfig
from modelseal.server.services.trusted import TrustRoom
from modelseal.server.store import tokens as token_store
from modelseal.server.store.engine import Store
from modelseal.trust import Trust, Use
from modelseal.types import check_aware

_KEY_CACHE = timedelta(seconds=30)
_SECRET_BYTES = 32
_DRAWN_BYTES = 4096
KEK_COUNTER = "kek"


@dataclass(frozen=True, slots=True)
class Delegation:
    """By what a relay signs in place of the server: the token, what it says, the key in it."""

    token: str = field(repr=False)
    claims: DelegationClaims
    signer: Signer = field(repr=False)


class NotDelegated(Exception):
    """A relay says yes and nothing else: what the law refuses is for the server to say.

    It ends the act, of which nothing remains, and leaves the room of the relay never.
    """


@dataclass(slots=True)
class Context:
    """Everything a service may use. ``home`` is the workspace, ``folder`` its server half.

    ``delegation`` is there in a relay, whose services give leases by it and nothing else.
    """

    home: Path
    folder: Path
    config: ServerConfig
    store: Store
    provider: KeyRing
    online: OnlineKeys
    blobs: Blobs | BucketBlobs
    trusted: TrustRoom
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]
    delegation: Delegation | None = None
    _keys: dict[str, tuple[datetime, Any]] = field(default_factory=dict)
    _signers: dict[str, tuple[Trust, datetime, Sequence[Signer]]] = field(default_factory=dict)
    _kek_number: int = -1
    _secrets: dict[str, bytes] = field(default_factory=dict)
    _counted: tuple[int, int] = (0, 0)
    _drawn: tuple[bytes, int] = (b"", 0)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> datetime:
        """The time, aware and in UTC."""
        return check_aware(self.clock()).astimezone(UTC)

    @property
    def trust(self) -> Trust:
        """The trust as it stands in the store."""
        return self.trusted.current()

    @property
    def product(self) -> str:
        """The product of this workspace."""
        return self.trusted.pinned.product

    @property
    def server_id(self) -> str:
        """``iss`` of our tokens, ``aud`` of requests."""
        return self.trusted.pinned.server_id

    def new_id(self, prefix: str, now: datetime) -> str:
        """A fresh id."""
        return ids.new_id(prefix, now, self.drawn)

    def drawn(self, size: int) -> bytes:
        """Random bytes for what is no secret, such as an id.

        Each question to the system lets another thread in, for which this one then has to wait.
        """
        with self._guard:
            noise, at = self._drawn
            if at + size > len(noise):
                noise, at = self.random(max(size, _DRAWN_BYTES)), 0
            self._drawn = (noise, at + size)
        return noise[at : at + size]

    def event_id(self, now: datetime) -> str:
        """A fresh event id; those of one process within a millisecond sort as they were made.

        RFC 9562, section 6.2, method 1: the twelve bits after the time count.
        """
        with self._guard:
            moment, count = self._counted
            tick = int(now.timestamp() * 1000)
            count = min(count + 1, 0xFFF) if tick == moment else 0
            self._counted = (tick, count)
        return ids.new_id("evt", now, lambda size: count.to_bytes(2, "big") + self.drawn(size - 2))

    def signers(self, use: str, now: datetime, trust: Trust | None = None) -> Sequence[Signer]:
        """The keys that sign for ``use`` at ``now``: the newest that the trust lists.

        Looked up anew twice a minute and whenever the trust changed. Where a transaction writes
        what is signed, ``trust`` is what it sees, so that no token is signed by a key whose last
        one was already counted.
        """
        if self.delegation is not None:
            return (self.delegation.signer,)
        trust = self.trusted.kept() if trust is None else trust
        with self._guard:
            kept = self._signers.get(use)
        if kept is None or kept[0] is not trust or not kept[1] <= now < kept[1] + _KEY_CACHE:
            kept = (trust, now, self.online.signers(use, now, trust))
            with self._guard:
                self._signers[use] = kept
        return kept[2]

    def wrap(self, tx: Connection, plaintext: bytes, context: Mapping[str, Any]) -> bytes:
        """``plaintext`` wrapped by the key-encryption key that is in force within ``tx``.

        A rotation moves a counter, after whoever wraps just then; whoever sees it moved reads the
        key URIs anew, so that nothing is wrapped by a key that is about to be erased.
        """
        number = token_store.held_counter(tx, KEK_COUNTER)
        if number != self._kek_number:
            self.provider.reload(anew=True)
            self._kek_number = number
        return self.provider.wrap(plaintext, context)

    def opener(self, recipient: str, now: datetime) -> KemOpener:
        """Our sealing key ``recipient``; ``SealedKeyInvalid`` when we have none of that id."""
        found = self._cached("sealing", now, self.online.sealing_openers)
        if recipient not in found and self._is_listed(recipient):  # rotated in since
            with self._guard:
                self._keys.pop("sealing", None)
            found = self._cached("sealing", now, self.online.sealing_openers)
        opener: KemOpener | None = found.get(recipient)
        if opener is None:
            raise SealedKeyInvalid("sealed to a key this server does not have")
        return opener

    def _is_listed(self, recipient: str) -> bool:
        return any(key.kid == recipient for key in self.trust.keys(Use.SEALING))

    def _cached(self, name: str, now: datetime, look: Callable[[], Any]) -> Any:
        with self._guard:
            kept = self._keys.get(name)
            if kept is None or not kept[0] <= now < kept[0] + _KEY_CACHE:
                kept = (now, look())
                self._keys[name] = kept
            return kept[1]

    def secret(self, name: str) -> bytes:
        """32 random bytes of this store, made at the first use, wrapped by the KEK at rest."""
        with self._guard:
            found = self._secrets.get(name)
        if found is not None:
            return found
        context = self.wrap_context("secret", name=name)
        wrapped = self.store.read(token_store.secret, name)
        if wrapped is None:
            wrapped = self.store.write(self._ensure_secret, name, context)
        secret = self.provider.unwrap(wrapped, context)
        if len(secret) != _SECRET_BYTES:
            raise KeyStoreUnavailable("a secret of the store has another length")
        with self._guard:
            self._secrets[name] = secret
        return secret

    def _ensure_secret(self, tx: Connection, name: str, context: Mapping[str, Any]) -> bytes:
        fresh = self.wrap(tx, self.random(_SECRET_BYTES), context)
        return token_store.ensure_secret(tx, name, fresh)

    def keyed_hash(self, name: str, data: bytes) -> bytes:
        """HMAC-SHA256 of ``data`` under the store's secret ``name``."""
        return hmac.new(self.secret(name), data, hashlib.sha256).digest()

    def wrap_context(self, purpose: str, **more: str | int | bytes) -> dict[str, str | int | bytes]:
        """The context that binds a wrapped value to this server and one purpose."""
        return {"purpose": purpose, "server": self.server_id, **more}


def plain(value: object) -> Any:
    """``value`` as what JSON knows."""
    return msgspec.to_builtins(value)
