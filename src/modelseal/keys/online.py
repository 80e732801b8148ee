"""The server's own private keys: one file each, wrapped by the key-encryption key.

``add`` and ``signers`` undo each other. A file is CBOR behind a magic; the private bytes in it are
bound to the context {purpose, server, use, kid}. Normative: ``docs/spec/keys.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.crypto.hpke import SUITE, KemOpener, KemPrivateKey
from modelseal.crypto.signing import Signer, SigningKey
from modelseal.errors import (
    InvalidBytes,
    KeyStoreUnavailable,
    Misuse,
    StateDamaged,
    TokenKeyUnknown,
)
from modelseal.keys import files
from modelseal.keys.provider import KeyProvider
from modelseal.types import check_aware, from_numeric, to_numeric

MAGIC = b"\x89MSO1\r\n\x1a"
VERSION = 1
SECRET = "secret"
SIGNING_USES = ("license", "lease", "status", "checkpoint", "snapshot", "timestamp")
SEALING = "sealing"
_PREFIX = MAGIC + bytes([VERSION])
_MEMBERS = ["alg", "kid", "not_after", "not_before", "server", "set", "use", "wrapped"]


@dataclass(frozen=True, slots=True)
class OnlineKey:
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


class OnlineKeys:
    """The online keys of one server in ``folder``; every private key is opened at its first use."""

    def __init__(self, folder: Path, provider: KeyProvider, *, server_id: str) -> None:
        self._folder = folder
        self._provider = provider
        self._server_id = server_id
        self._opened: dict[str, SigningKey | KemPrivateKey] = {}

    def add(
        self,
        use: str,
        key: SigningKey | KemPrivateKey,
        *,
        not_before: datetime,
        not_after: datetime | None = None,
        set_name: str | None = None,
    ) -> None:
        """Afterwards ``key`` is kept for ``use``; keys of one set sign together."""
        sealing = isinstance(key, KemPrivateKey)
        if sealing != (use == SEALING) or (not sealing and use not in SIGNING_USES):
            raise Misuse(f"no online key is of this kind for {use}")
        private = key.to_bytes() if isinstance(key, KemPrivateKey) else key.to_pkcs8()
        alg = SUITE if isinstance(key, KemPrivateKey) else key.alg
        self._write(use, alg, key.kid, private, not_before, not_after, set_name or key.kid[:8])

    def add_secret(self, name: str, secret: bytes, *, not_before: datetime) -> None:
        """Afterwards the random bytes ``secret`` (a pepper, a MAC key) are kept under ``name``."""
        self._write(SECRET, "raw", name, secret, not_before, None, name)

    def secret(self, name: str) -> bytes:
        """The secret kept under ``name``; ``TokenKeyUnknown`` when there is none."""
        for entry in self.entries():
            if entry.use == SECRET and entry.kid == name:
                return self._unwrap(entry)
        raise TokenKeyUnknown("no such secret among the online keys", use=name)

    def entries(self) -> list[OnlineKey]:
        """Every key in the folder, oldest first; opens none of them."""
        found = list(self._read_all())
        return sorted(found, key=lambda entry: (entry.not_before, entry.set, entry.kid))

    def signers(self, use: str, at: datetime) -> list[Signer]:
        """The newest set of keys for ``use`` that is valid at ``at``: all of them sign.

        Raises ``TokenKeyUnknown`` when there is none.
        """
        moment = check_aware(at)
        valid = [entry for entry in self.entries() if entry.use == use and entry.valid_at(moment)]
        if not valid:
            raise TokenKeyUnknown("no online key is valid for this use now", use=use)
        newest = max(valid, key=lambda entry: (entry.not_before, entry.set)).set
        keys = [self._open(entry) for entry in valid if entry.set == newest]
        return sorted((k for k in keys if isinstance(k, SigningKey)), key=lambda k: k.alg)

    def sealing_openers(self) -> dict[str, KemOpener]:
        """Every sealing key by key id, retired ones too: old publications still open."""
        found: dict[str, KemOpener] = {}
        for entry in self.entries():
            if entry.use == SEALING:
                key = self._open(entry)
                if isinstance(key, KemPrivateKey):
                    found[entry.kid] = key
        return found

    def private_bytes(self, entry: OnlineKey) -> bytes:
        """The private bytes of ``entry``: for a backup, which encrypts them at once."""
        return self._unwrap(entry)

    def check(self) -> int:
        """How many keys there are, after opening each of them."""
        entries = self.entries()
        for entry in entries:
            if entry.use == SECRET:
                self._unwrap(entry)
            else:
                self._open(entry)
        return len(entries)

    def _write(
        self,
        use: str,
        alg: str,
        kid: str,
        private: bytes,
        not_before: datetime,
        not_after: datetime | None,
        set_name: str,
    ) -> None:
        members = {
            "use": use,
            "alg": alg,
            "kid": kid,
            "set": set_name,
            "server": self._server_id,
            "not_before": to_numeric(not_before),
            "not_after": None if not_after is None else to_numeric(not_after),
            "wrapped": self._provider.wrap(private, self._context(use, kid)),
        }
        path = self._folder / f"{use}-{_file_name(kid)}.key"
        files.write_new(path, _PREFIX + cbor.encode(members))

    def _context(self, use: str, kid: str) -> dict[str, str | int | bytes]:
        return {"purpose": "online-key", "server": self._server_id, "use": use, "kid": kid}

    def _read_all(self) -> Iterator[OnlineKey]:
        try:
            paths = sorted(self._folder.glob("*.key"))
        except OSError as error:
            raise files.translated(error, self._folder) from None
        for path in paths:
            entry = _parse(files.read_secret(path), path)
            if entry.server != self._server_id:
                raise StateDamaged("an online key of another server", path=str(path))
            yield entry

    def _open(self, entry: OnlineKey) -> SigningKey | KemPrivateKey:
        found = self._opened.get(entry.kid)
        if found is None:
            private = self._unwrap(entry)
            try:
                kem = entry.alg == SUITE
                found = KemPrivateKey(private) if kem else SigningKey.from_pkcs8(private)
            except InvalidBytes:
                raise KeyStoreUnavailable("the key provider answered with no key") from None
            if found.kid != entry.kid:
                raise KeyStoreUnavailable("the key provider answered with another key")
            self._opened[entry.kid] = found
        return found

    def _unwrap(self, entry: OnlineKey) -> bytes:
        return self._provider.unwrap(entry.wrapped, self._context(entry.use, entry.kid))


def _file_name(kid: str) -> str:
    return hashlib.sha256(kid.encode()).hexdigest()[:16]


def _parse(data: bytes, path: Path) -> OnlineKey:
    where = str(path)
    if not data.startswith(_PREFIX):
        raise StateDamaged("this is no online key file of this version", path=where)
    try:
        members: Any = cbor.decode(data[len(_PREFIX) :], max_bytes=files.MAX_KEY_FILE_BYTES)
    except CborInvalid as error:
        raise StateDamaged(error.detail, path=where) from None
    if not isinstance(members, dict) or sorted(map(str, members)) != _MEMBERS:
        raise StateDamaged("the members of an online key file are others", path=where)
    return _entry(members, where)


def _entry(members: dict[str, Any], where: str) -> OnlineKey:
    texts = [members[name] for name in ("use", "alg", "kid", "set", "server")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(
        members["wrapped"], bytes
    ):
        raise StateDamaged("a member of an online key file has another type", path=where)
    try:
        start = from_numeric(members["not_before"])
        end = None if members["not_after"] is None else from_numeric(members["not_after"])
    except Misuse:
        raise StateDamaged("a time in an online key file is none", path=where) from None
    use, alg, kid, set_name, server = texts
    return OnlineKey(use, alg, kid, set_name, start, end, server, members["wrapped"])
