"""A folder of private keys, one wrapped file each: the server's online keys, the desk's keys.

``add`` and ``open_key`` undo each other. A file is CBOR behind a magic; the private bytes in it are
bound to the context {purpose, server, use, kid}. Normative: ``docs/spec/keys.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.crypto.hpke import SUITE, KemPrivateKey
from modelseal.crypto.signing import ALGORITHMS, SigningKey
from modelseal.errors import (
    InvalidBytes,
    KeyStoreUnavailable,
    Misuse,
    StateDamaged,
    TokenKeyUnknown,
)
from modelseal.keys import dispatch, files, reference
from modelseal.keys.envelope import Context
from modelseal.keys.provider import Ask, KeyProvider
from modelseal.keys.reference import Reference
from modelseal.keys.ring import KeyRing
from modelseal.types import check_aware, from_numeric, to_numeric

MAGIC = b"\x89MSO1\r\n\x1a"
VERSION = 1
SECRET_ALG = "raw"
_PREFIX = MAGIC + bytes([VERSION])
_MEMBERS = ["alg", "kid", "not_after", "not_before", "server", "set", "use", "wrapped"]

PrivateKey = SigningKey | KemPrivateKey


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What a file says about its key, without opening it."""

    use: str
    alg: str
    kid: str
    set: str
    not_before: datetime
    not_after: datetime | None
    server: str
    wrapped: bytes

    def valid_at(self, at: datetime) -> bool:
        """True from ``not_before`` on and before ``not_after``."""
        return self.not_before <= at and (self.not_after is None or at < self.not_after)


class KeyFolder:
    """The keys of one owner in ``folder``; every private key is opened at its first use.

    ``purpose`` (``online-key``, ``desk-key``) keeps a file of one folder from opening in another.
    """

    def __init__(
        self,
        folder: Path,
        provider: KeyProvider,
        *,
        server_id: str,
        purpose: str,
        ask: Ask | None = None,
    ) -> None:
        self._ask = ask
        self._folder = folder
        self._provider = provider
        self._server_id = server_id
        self._purpose = purpose
        self._opened: dict[tuple[str, str], PrivateKey] = {}

    def add_key(
        self,
        use: str,
        key: PrivateKey,
        *,
        not_before: datetime,
        not_after: datetime | None = None,
        set_name: str | None = None,
    ) -> None:
        """Afterwards ``key`` is kept for ``use``, in the set ``set_name``."""
        private = key.to_bytes() if isinstance(key, KemPrivateKey) else key.to_pkcs8()
        alg = SUITE if isinstance(key, KemPrivateKey) else key.alg
        self.add_private(use, alg, key.kid, private, not_before, not_after, set_name or key.kid[:8])

    def make_in(
        self, uri: str, use: str, alg: str, *, not_before: datetime, set_name: str
    ) -> SigningKey:
        """A fresh signing key in the hardware at ``uri``; what is kept here says where it is."""
        where, key = dispatch.create_signer(uri, alg, f"modelseal {use} {set_name} {alg}",
                                            ask=self._ask)  # fmt: skip
        self.add_private(use, alg, key.kid, reference.encode(where), not_before, None, set_name)
        return key

    def add_secret(self, name: str, secret: bytes, *, not_before: datetime) -> None:
        """Afterwards the bytes ``secret`` (a pepper, a passphrase) are kept under ``name``."""
        self.add_private("secret", SECRET_ALG, name, secret, not_before, None, name)

    def add_private(
        self,
        use: str,
        alg: str,
        kid: str,
        private: bytes,
        not_before: datetime,
        not_after: datetime | None,
        set_name: str,
    ) -> None:
        """Like ``add_key``, for private bytes as a backup holds them."""
        wrapped = self._provider.wrap(private, self._context(use, kid))
        entry = KeyEntry(use, alg, kid, set_name, not_before, not_after, self._server_id, wrapped)
        files.write_new(self._path(use, kid), _encode(entry))

    def erase_key(self, use: str, kid: str) -> None:
        """Afterwards the private key is not here any more, if it ever was."""
        self._opened.pop((use, kid), None)
        files.erase(self._path(use, kid))

    def replace_secret(self, name: str, secret: bytes, *, not_before: datetime) -> None:
        """Afterwards the bytes ``secret`` are kept under ``name`` in place of what was."""
        wrapped = self._provider.wrap(secret, self._context("secret", name))
        entry = KeyEntry(
            "secret", SECRET_ALG, name, name, not_before, None, self._server_id, wrapped
        )
        files.replace(self._path("secret", name), _encode(entry))

    def secret(self, name: str) -> bytes:
        """The secret kept under ``name``; ``TokenKeyUnknown`` when there is none."""
        for entry in self.entries():
            if entry.alg == SECRET_ALG and entry.kid == name:
                return self.private_bytes(entry)
        raise TokenKeyUnknown("no such secret in this folder", use=name)

    def entries(self) -> list[KeyEntry]:
        """Every key in the folder, oldest first; opens none of them."""
        found = list(self._read_all())
        return sorted(found, key=lambda entry: (entry.not_before, entry.set, entry.kid))

    def newest_set(self, use: str, at: datetime) -> list[PrivateKey]:
        """The newest set of keys for ``use`` that is valid at ``at``, by algorithm.

        Ed25519 stands first where there is one. Raises ``TokenKeyUnknown`` when there is none.
        """
        moment = check_aware(at)
        valid = [entry for entry in self.entries() if entry.use == use and entry.valid_at(moment)]
        if not valid:
            raise TokenKeyUnknown("no key is valid for this use now", use=use)
        newest = max(valid, key=lambda entry: (entry.not_before, entry.set)).set
        return self._opened_all([entry for entry in valid if entry.set == newest])

    def kids(self, use: str) -> frozenset[str]:
        """The ids of every key for ``use`` that is here."""
        return frozenset(entry.kid for entry in self.entries() if entry.use == use)

    def keys_of(self, use: str, kids: Collection[str]) -> list[PrivateKey]:
        """Those of the keys ``kids`` that are here for ``use``, Ed25519 first.

        Raises ``TokenKeyUnknown`` when none of them is.
        """
        found = [entry for entry in self.entries() if entry.use == use and entry.kid in kids]
        if not found:
            raise TokenKeyUnknown("the key that signs for this use now is not here", use=use)
        return self._opened_all(found)

    def rewrap(self, ring: KeyRing) -> int:
        """How many files another key than the current one of ``ring`` had wrapped; none has now.

        Each file is replaced whole: after a crash every key opens with one of the ring's keys.
        """
        count = 0
        for entry in self.entries():
            if ring.is_current(entry.wrapped):
                continue
            context = self._context(entry.use, entry.kid)
            again = replace(entry, wrapped=ring.wrap(ring.unwrap(entry.wrapped, context), context))
            files.replace(self._path(entry.use, entry.kid), _encode(again))
            count += 1
        return count

    def _opened_all(self, entries: list[KeyEntry]) -> list[PrivateKey]:
        order = (*ALGORITHMS, SUITE)
        return [self.open_key(entry) for entry in sorted(entries, key=lambda e: order.index(e.alg))]

    def open_key(self, entry: KeyEntry) -> PrivateKey:
        """The private key of ``entry``, checked against its key id."""
        found = self._opened.get((entry.use, entry.kid))
        if found is None:
            found = load(entry, self.private_bytes(entry), self._open_reference)
            self._opened[entry.use, entry.kid] = found
        return found

    def _open_reference(self, where: Reference) -> SigningKey:
        return dispatch.open_signer(where, ask=self._ask)

    def private_bytes(self, entry: KeyEntry) -> bytes:
        """The private bytes of ``entry``: for a backup, which encrypts them at once."""
        return self._provider.unwrap(entry.wrapped, self._context(entry.use, entry.kid))

    def check(self) -> int:
        """How many keys there are, after opening each of them."""
        entries = self.entries()
        for entry in entries:
            if entry.alg == SECRET_ALG:
                self.private_bytes(entry)
            else:
                self.open_key(entry)
        return len(entries)

    def _path(self, use: str, kid: str) -> Path:
        return self._folder / f"{use}-{_file_name(kid)}.key"

    def _context(self, use: str, kid: str) -> Context:
        return {"purpose": self._purpose, "server": self._server_id, "use": use, "kid": kid}

    def _read_all(self) -> Iterator[KeyEntry]:
        try:
            paths = sorted(path for path in self._folder.iterdir() if path.suffix == ".key")
        except OSError as error:
            raise files.translated(error, self._folder) from None
        for path in paths:
            entry = _parse(files.read_secret(path), str(path))
            if entry.server != self._server_id:
                raise StateDamaged("a key of another server", path=str(path))
            yield entry


def load(
    entry: KeyEntry, private: bytes, opened: Callable[[Reference], SigningKey] = reference.absent
) -> PrivateKey:
    """The key in ``private``; ``KeyStoreUnavailable`` unless it is the one ``entry`` names.

    ``opened`` gets a key that is in hardware; by itself that is its public half only.
    """
    key: PrivateKey
    try:
        if entry.alg == SUITE:
            key = KemPrivateKey(private)
        elif reference.is_reference(private):
            key = opened(reference.decode(private))
        else:
            key = SigningKey.from_pkcs8(private)
    except InvalidBytes:
        raise KeyStoreUnavailable("the key provider answered with no key") from None
    if key.kid != entry.kid:
        raise KeyStoreUnavailable("the key provider answered with another key")
    return key


def _file_name(kid: str) -> str:
    return hashlib.sha256(kid.encode()).hexdigest()[:16]


def _encode(entry: KeyEntry) -> bytes:
    members = {
        "use": entry.use,
        "alg": entry.alg,
        "kid": entry.kid,
        "set": entry.set,
        "server": entry.server,
        "not_before": to_numeric(entry.not_before),
        "not_after": None if entry.not_after is None else to_numeric(entry.not_after),
        "wrapped": entry.wrapped,
    }
    return _PREFIX + cbor.encode(members)


def _parse(data: bytes, where: str) -> KeyEntry:
    if not data.startswith(_PREFIX):
        raise StateDamaged("this is no wrapped key file of this version", path=where)
    try:
        members: Any = cbor.decode(data[len(_PREFIX) :], max_bytes=files.MAX_KEY_FILE_BYTES)
    except CborInvalid as error:
        raise StateDamaged(error.detail, path=where) from None
    if not isinstance(members, dict) or sorted(map(str, members)) != _MEMBERS:
        raise StateDamaged("the members of a wrapped key file are others", path=where)
    return _entry(members, where)


def _entry(members: dict[str, Any], where: str) -> KeyEntry:
    texts = [members[name] for name in ("use", "alg", "kid", "set", "server")]
    wrapped = members["wrapped"]
    if not all(isinstance(text, str) for text in texts) or not isinstance(wrapped, bytes):
        raise StateDamaged("a member of a wrapped key file has another type", path=where)
    use, alg, kid, set_name, server = texts
    if alg not in (*ALGORITHMS, SUITE, SECRET_ALG):
        raise StateDamaged("a wrapped key file names an unknown algorithm", path=where)
    try:
        start = from_numeric(members["not_before"])
        end = None if members["not_after"] is None else from_numeric(members["not_after"])
    except Misuse:
        raise StateDamaged("a time in a wrapped key file is none", path=where) from None
    return KeyEntry(use, alg, kid, set_name, start, end, server, wrapped)
