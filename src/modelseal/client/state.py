"""The state folder: its files, its lock, and the orders of writing that survive a crash anywhere.

Each file is replaced as a whole. Where several belong together the order is chosen so that a
reader between any two writes finds either the old state, or the new one, or the old one with its
question still pending, which is answered with the same lease again. Normative:
``docs/spec/state-folder.md``.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from modelseal.client import leasekey, moves, record
from modelseal.client.folder import Folder
from modelseal.client.identity import Identity
from modelseal.client.leasekey import LeaseKeys, LeaseSecret
from modelseal.client.lock import exclusive
from modelseal.client.ports import Ports
from modelseal.client.record import Record
from modelseal.errors import DiskFull, ModelsealError, StateDamaged

LICENSE = "license.jwt"
LEASE = "lease.jwt"
DENIAL = "denial.jwt"
DEVICE_KEY = "device.key"
BUNDLE = "lease.bundle"
NEXT = "next.key"
SUCCESSOR = "successor.key"
POLICY = DEVICE_KEY + ".policy"
TRUST = "trust.json"
PREVIOUS = "previous"
CATALOG = "catalog"
_TOKEN_BYTES = 16384
_DEVICE_KEY_BYTES = 4 << 20
_BUNDLE_BYTES = 1 << 20
_TRUST_BYTES = 8 << 20
_POLICY_BYTES = 64 * 1024
_MOVED = (DEVICE_KEY, SUCCESSOR, leasekey.FILE_NAME, LICENSE, LEASE, DENIAL, BUNDLE, NEXT)


@dataclass(frozen=True, slots=True)
class Files:
    """The tokens and the record as they lay in the folder at one moment, not verified yet."""

    license: str | None
    lease: str | None
    denial: str | None
    record: Record | None


class StateStore:
    """One state folder. Methods that write want the caller to hold ``locked``."""

    def __init__(self, folder_path: Any, ports: Ports) -> None:
        self.folder = ports.folder(folder_path)
        self.path = self.folder.path
        self._ports = ports
        self._last: tuple[tuple[bytes | None, ...], Files] | None = None

    @contextlib.contextmanager
    def locked(self, timeout_seconds: float) -> Iterator[None]:
        """Exclusive use of the folder, which exists afterwards; ``StateBusy`` after the timeout.

        A device key that was moved, but not to the end, is so now.
        """
        self.folder.create()
        with exclusive(
            self.path,
            timeout_seconds=timeout_seconds,
            monotonic=self._ports.monotonic,
            sleep=self._ports.sleep,
        ):
            self.folder.sweep()
            if self.is_moving():
                moves.finish(self.folder)
            yield

    # -- reading

    def read(self, *, tolerant: bool = False) -> Files:
        """What the folder holds; a folder that is not there holds nothing.

        Raises ``StateNotReadable`` when this user may not look, ``StateDamaged`` for files that
        are no text or too large; with ``tolerant`` such a file counts as absent.
        """
        if not self.folder.exists():
            return Files(None, None, None, None)
        sizes = dict.fromkeys((LICENSE, LEASE, DENIAL), 4 * _TOKEN_BYTES)
        sizes[record.FILE_NAME] = record.MAX_BYTES
        found = tuple(self._bytes(name, size, tolerant) for name, size in sizes.items())
        last = self._last
        if last is not None and all(a is b for a, b in zip(last[0], found, strict=True)):
            return last[1]  # nothing was written since
        license_, lease, denial, noted = found
        files = Files(
            license=self._token(license_, LICENSE, tolerant=tolerant),
            lease=self._token(lease, LEASE, tolerant=tolerant),
            denial=self._token(denial, DENIAL, tolerant=tolerant),
            record=self._record(noted, tolerant=tolerant),
        )
        if not tolerant:
            self._last = (found, files)
        return files

    def device_key(self) -> bytes | None:
        """The wrapped device key."""
        return self.folder.read(DEVICE_KEY, _DEVICE_KEY_BYTES)

    def device_policy(self) -> bytes | None:
        """Signed approvals of states of this computer, for a device key in its TPM."""
        return self.folder.read(POLICY, _POLICY_BYTES)

    def successor(self) -> bytes | None:
        """The device key that is to follow the present one, once the server agrees."""
        return self.folder.read(SUCCESSOR, _DEVICE_KEY_BYTES)

    def is_moving(self) -> bool:
        """Whether a move of the device key was decided and is not carried out to the end."""
        return self.folder.has(moves.FILE_NAME)

    def trust(self) -> bytes | None:
        """The trust as last updated from the catalog."""
        return self.folder.read(TRUST, _TRUST_BYTES) if self.folder.exists() else None

    def bundle(self, digest: bytes) -> bytes | None:
        """The stored key bundle when its SHA-256 is ``digest``."""
        data = self.folder.read(BUNDLE, _BUNDLE_BYTES)
        return data if data is not None and hashlib.sha256(data).digest() == digest else None

    def lease_key_file(self) -> bytes | None:
        """``lease.key`` as it lies there."""
        return self.folder.read(leasekey.FILE_NAME, leasekey.MAX_BYTES)

    def lease_keys(self, identity: Identity) -> LeaseKeys:
        """The contents of ``lease.key``, empty when there is none; ``StateDamaged``."""
        data = self.lease_key_file()
        if data is None:
            return LeaseKeys()
        path = str(self.path / leasekey.FILE_NAME)
        return leasekey.open_(data, identity.storage_key, device=identity.kid, path=path)

    # -- writing, under the lock

    def write_device_key(self, wrapped: bytes) -> None:
        """The wrapped device key is stored."""
        self.folder.write(DEVICE_KEY, wrapped)

    def write_successor(self, wrapped: bytes) -> None:
        """The device key that is to follow is stored."""
        self.folder.write(SUCCESSOR, wrapped)

    def drop_successor(self) -> None:
        """No device key is to follow."""
        self.folder.remove(SUCCESSOR)

    def write_trust(self, data: bytes) -> None:
        """The trust is stored."""
        self.folder.write(TRUST, data)

    def write_bundle(self, data: bytes) -> None:
        """The key bundle is stored beside the lease that names it."""
        self.folder.write(BUNDLE, data)

    def write_lease_keys(self, identity: Identity, keys: LeaseKeys) -> None:
        """``lease.key`` holds exactly ``keys``; what it held before is no longer reachable."""
        sealed = leasekey.seal(
            keys, identity.storage_key, device=identity.kid, random=self._ports.random
        )
        self.folder.write(leasekey.FILE_NAME, sealed)

    def note(self, known: Record, **changes: object) -> Record:
        """``state.json`` is ``known`` with ``changes``; written only when something changed."""
        new = msgspec.structs.replace(known, **changes)
        if self.read(tolerant=True).record != new:
            self.folder.write(record.FILE_NAME, record.encode(new))
        return new

    def accept_lease(
        self, identity: Identity, keys: LeaseKeys, *, lease: str, license_: str | None
    ) -> LeaseKeys:
        """The answered question's lease is the current one and every older key is erased.

        Order: license, lease, keys, denial. Until the lease is written the question stays
        pending; from then on either reading of ``lease.key`` opens it.
        """
        if license_ is not None:
            self.folder.write(LICENSE, license_.encode("utf-8"))
        self.folder.write(LEASE, lease.encode("utf-8"))
        current = keys.current if keys.pending is None else keys.pending.secret()
        new = LeaseKeys(current, None)
        self.write_lease_keys(identity, new)
        if self.folder.has(DENIAL):
            self.folder.remove(DENIAL)
        return new

    def accept_move(
        self,
        identity: Identity,
        wrapped: bytes,
        secret: LeaseSecret,
        *,
        lease: str,
        license_: str | None,
    ) -> None:
        """``identity``, stored in ``wrapped``, is the device's from now on, and has this lease.

        All of it is written in one file first, so that a crash anywhere leaves the old device key
        with its question pending, or the whole move, which the next lock carries out.
        """
        keys = leasekey.seal(
            LeaseKeys(secret, None),
            identity.storage_key,
            device=identity.kid,
            random=self._ports.random,
        )
        moves.decide(self.folder, moves.Move(wrapped, keys, lease, license_))
        moves.finish(self.folder)

    def accept_denial(
        self, identity: Identity, keys: LeaseKeys, *, denial: str, erase: bool
    ) -> LeaseKeys:
        """The denial is stored, the question answered, and the lease's keys erased if it says so.

        Order: denial first, so that a crash in between is finished at the next start. On a full
        disk the lease goes first, which makes room and ends it in any case.
        """
        try:
            self.folder.write(DENIAL, denial.encode("utf-8"))
        except DiskFull:
            if erase:
                self.folder.remove(LEASE)
                self.folder.remove(BUNDLE)
            self.folder.write(DENIAL, denial.encode("utf-8"))
        new = LeaseKeys(None if erase else keys.current, None)
        self.write_lease_keys(identity, new)
        if erase:
            self.folder.remove(NEXT)
            self.folder.remove(BUNDLE)
            self.folder.remove(LEASE)
        return new

    def accept_code(
        self, identity: Identity, keys: LeaseKeys, secret: LeaseSecret, lease: str
    ) -> None:
        """A lease that was made ahead is the current one; a pending question stays as it was."""
        coming = LeaseKeys(keys.current, keys.pending, secret)
        self.write_lease_keys(identity, coming)
        self.folder.write(LEASE, lease.encode("utf-8"))
        self.write_lease_keys(identity, LeaseKeys(secret, keys.pending))
        if self.folder.has(DENIAL):
            self.folder.remove(DENIAL)

    def erase_keys(self, identity: Identity | None) -> None:
        """Nothing in the folder opens the current lease; a pending question is kept."""
        if identity is None:
            self.folder.remove(leasekey.FILE_NAME)
        else:
            keys = self._lease_keys_or_none(identity)
            self.write_lease_keys(identity, LeaseKeys(None, keys.pending))
        self.folder.remove(BUNDLE)

    def set_aside(self) -> None:
        """An activation whose device key cannot be used lies in ``previous/``, not lost."""
        known = self.read(tolerant=True).record
        aside = self._aside()
        aside.create()
        for name in _MOVED:
            self.folder.move(name, aside)
        if self.folder.move(record.FILE_NAME, aside) and known is not None:
            fresh = Record(product=known.product, server=known.server)
            self.folder.write(record.FILE_NAME, record.encode(fresh))

    def put_back(self) -> None:
        """What ``set_aside`` moved is in its place again; nothing changes when it moved nothing."""
        aside = self._aside()
        if not aside.exists():
            return
        for name in (*reversed(_MOVED), record.FILE_NAME):
            if not aside.move(name, self.folder):
                self.folder.remove(name)
        self.drop_previous()

    def drop_previous(self) -> None:
        """Nothing is kept of an activation that was replaced."""
        aside = self._aside()
        if aside.exists():
            aside.sweep()
            for name in (*_MOVED, record.FILE_NAME):
                aside.remove(name)
            with contextlib.suppress(OSError):
                aside.path.rmdir()

    def drop_lease(self) -> None:
        """License and lease are gone, and what opened them; the device key stays.

        The keys go first, so that a crash in between leaves nothing that opens a model.
        """
        self.folder.remove(leasekey.FILE_NAME)
        self.drop_tokens()

    def drop_tokens(self) -> None:
        """License, lease and denial are gone, and what opened leases made ahead."""
        for name in (NEXT, BUNDLE, LEASE, LICENSE, DENIAL):
            self.folder.remove(name)

    def forget(self) -> None:
        """The activation is gone; journal, trust and sealed models stay."""
        self.drop_lease()
        self.folder.remove(DEVICE_KEY)
        self.drop_successor()
        self.drop_previous()
        self.folder.remove(record.FILE_NAME)

    def _aside(self) -> Folder:
        return self._ports.folder(self.path / PREVIOUS)

    def _lease_keys_or_none(self, identity: Identity) -> LeaseKeys:
        try:
            return self.lease_keys(identity)
        except ModelsealError:
            return LeaseKeys()

    def _bytes(self, name: str, max_bytes: int, tolerant: bool) -> bytes | None:
        try:
            return self.folder.read(name, max_bytes)
        except StateDamaged:
            if tolerant:
                return None
            raise

    def _record(self, data: bytes | None, *, tolerant: bool) -> Record | None:
        try:
            where = str(self.path / record.FILE_NAME)
            return None if data is None else record.decode(data, where)
        except StateDamaged:
            if tolerant:
                return None
            raise

    def _token(self, data: bytes | None, name: str, *, tolerant: bool) -> str | None:
        try:
            return None if data is None else data.decode("ascii").strip()
        except UnicodeDecodeError:
            if tolerant:
                return None
            raise StateDamaged("no token in it", path=str(self.path / name)) from None
