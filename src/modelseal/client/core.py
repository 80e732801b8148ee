"""What every operation of the client works with: settings, state, trust, identity, connection."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from modelseal import ids, strict_json
from modelseal import trust as trusts
from modelseal.client import catalog, identity
from modelseal.client.catalog import Catalog
from modelseal.client.identity import Identity, Unlocked
from modelseal.client.journal import Journal
from modelseal.client.ports import Ports
from modelseal.client.record import Record
from modelseal.client.runkeys import RunKeys
from modelseal.client.settings import NO_SERVER, NO_TRUST, Settings
from modelseal.client.state import CATALOG, DENIAL, DEVICE_KEY, LEASE, LICENSE, Files, StateStore
from modelseal.client.transport import Transport, TransportSettings
from modelseal.device import Traits
from modelseal.errors import (
    ConfigInvalid,
    InvalidBytes,
    ModelsealError,
    NotActivated,
    StateDamaged,
    TokenKeyUnknown,
    TrustMalformed,
    TrustRollback,
)
from modelseal.license import tokens
from modelseal.license.claims import DenialClaims, LeaseClaims, LicenseClaims
from modelseal.strict_json import JsonInvalid
from modelseal.trust import Trust

if TYPE_CHECKING:
    from modelseal.collect import Surroundings

T = TypeVar("T")
_QUICK_SECONDS = 5.0
_MAX_TOKENS = 16
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Held:
    """The verified contents of the state folder at one moment."""

    license: LicenseClaims | None
    lease: LeaseClaims | None
    denial: DenialClaims | None
    record: Record | None
    lease_token: str | None

    @property
    def latest(self) -> LeaseClaims | DenialClaims | None:
        """The answer with the highest ``seq``: what counts."""
        answers = [a for a in (self.lease, self.denial) if a is not None]
        return max(answers, key=lambda a: a.seq, default=None)

    @property
    def seq(self) -> int:
        """The number this device holds; 0 before the first answer."""
        noted = 0 if self.record is None else self.record.seq
        return max(noted, 0 if self.latest is None else self.latest.seq)

    @property
    def prev(self) -> str | None:
        """The id of the answer with that number."""
        if self.latest is not None and self.latest.seq == self.seq:
            return self.latest.jti
        return None if self.record is None else self.record.prev

    @property
    def device_id(self) -> str | None:
        """The device's id at the server, once there is one."""
        if self.latest is not None:
            return self.latest.sub
        return None if self.record is None else self.record.device_id

    @property
    def license_id(self) -> str | None:
        """The license's id, once there is one."""
        if self.license is not None:
            return self.license.sub
        return None if self.record is None else self.record.license_id


class Core:
    """One client's shared parts, made at first use. Safe for several threads."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self.settings = settings
        self.ports = ports
        self.store = StateStore(settings.state, ports)
        self.journal = Journal(self.store.folder, ports.now)
        self._guard = threading.RLock()
        self._trust: Trust | None = None
        self._unlocked: tuple[bytes, Unlocked] | None = None
        self._judged = False
        self._catalog: tuple[tuple[int, int, int], Catalog | None] | None = None
        self._tokens: dict[tuple[type, str], tuple[Trust, Any]] = {}
        self._last: tuple[Files, Trust | None, Held] | None = None
        self._holding = threading.local()
        self._transport: Transport | None = None
        self._traits: Traits | None = None
        self._surroundings: Surroundings | None = None
        self.run_keys = RunKeys()
        self.contacts = 0

    # -- trust

    @property
    def trust(self) -> Trust:
        """The pinned trust, carried forward by what the catalog brought before.

        Raises ``ConfigInvalid`` when none is named and none is stored.
        """
        with self._guard:
            if self._trust is None:
                self._trust = self._load_trust()
            return self._trust

    @property
    def has_trust(self) -> bool:
        """Whether there is any trust to work with."""
        return self.settings.pinned is not None or self.store.trust() is not None

    def use_trust(self, trust: Trust) -> None:
        """From now on ``trust`` counts; it is stored. Under the lock."""
        with self._guard:
            if trust.raw != self._stored_bytes():
                self.store.write_trust(trust.raw)
            self._trust = trust

    def forget_trust(self) -> None:
        """The next ``trust`` is read anew: another process may have carried it forward."""
        with self._guard:
            self._trust = None

    def _load_trust(self) -> Trust:
        pinned = self.settings.pinned
        if pinned is None:
            stored = self.store.trust()
            if stored is None:
                raise ConfigInvalid(NO_TRUST)
            return self._stored_trust(stored)
        stored = self._stored_bytes()
        if stored is None or stored == pinned.raw:
            return pinned
        try:
            return self._carried(pinned, stored)
        except TrustRollback:
            return pinned  # the app brought a newer trust than the folder has
        except InvalidBytes as error:
            self.journal.write("trust_ignored", code=error.code, detail=error.detail)
            return pinned

    def _stored_bytes(self) -> bytes | None:
        """The stored trust, None also where something else has its name."""
        try:
            return self.store.trust()
        except StateDamaged:
            self.journal.write("state_damaged", file="trust.json")
            return None

    def _stored_trust(self, stored: bytes) -> Trust:
        path = str(self.store.path / "trust.json")
        try:
            found = trusts.parse(stored)
        except InvalidBytes as error:
            raise type(error)(error.detail, path=path) from None
        if self.settings.product not in (None, found.product):
            raise ConfigInvalid(f"the state folder belongs to '{found.product}'", path=path)
        return found

    def _carried(self, pinned: Trust, stored: bytes) -> Trust:
        """The stored trust, but only as far as the pinned root reaches it by signatures.

        Expiry is not judged (the moment is 1970): a device offline must not be bricked by it.
        """
        try:
            keys = strict_json.decode(stored, max_bytes=trusts.MAX_BYTES)["keys"]
            parts = {name: strict_json.encode(keys[name]) for name in ("targets", "role", "list")}
            named = (keys["list"]["product"], keys["list"]["server_id"])
        except (JsonInvalid, LookupError, TypeError):
            raise TrustMalformed("no trust.json in the state folder") from None
        if named != (pinned.product, pinned.server_id):
            raise ConfigInvalid(
                f"the state folder belongs to another product than '{pinned.product}'",
                path=str(self.store.path),
            )
        return trusts.update(
            pinned,
            roots=catalog.roots_after(self.store.path / CATALOG, pinned.root_version),
            targets=parts["targets"],
            keys_role=parts["role"],
            key_list=parts["list"],
            now=_LONG_AGO,
        )

    # -- state

    def held(self, *, tolerant: bool = False) -> Held:
        """What the folder holds, every token verified.

        A file that does not hold raises ``StateDamaged`` naming it; with ``tolerant`` it counts as
        absent, for the operations that replace it.
        """
        self._finish_move()
        files = self.store.read(tolerant=tolerant)
        last = self._last
        if last is not None and last[0] is files and last[1] is self._trust:
            return last[2]
        found = self._verified(files, tolerant=tolerant)
        if not tolerant:  # else a damaged token may be missing in it
            self._last = (files, self._trust, found)
        return found

    def _verified(self, files: Files, *, tolerant: bool) -> Held:
        if files.license is None and files.lease is None and files.denial is None:
            return Held(None, None, None, files.record, None)
        license_ = self._read(files.license, LicenseClaims, LICENSE, tolerant=tolerant)
        lease = self._read(files.lease, LeaseClaims, LEASE, tolerant=tolerant)
        denial = self._read(files.denial, DenialClaims, DENIAL, tolerant=tolerant)
        if lease is not None and license_ is not None and lease.lic != license_.sub:
            lease = None  # a crash between the two files; the question is still pending
        token = files.lease if lease is not None else None
        return Held(license_, lease, denial, files.record, token)

    def read_token(self, token: str, cls: type[T]) -> T:
        """The verified claims of ``token``; trust is read anew once for an unknown key.

        The same token under the same trust is verified once: it has no other answer.
        """
        trust = self.trust
        known = self._tokens.get((cls, token))
        if known is not None and known[0] is trust:
            return known[1]  # type: ignore[no-any-return]
        try:
            claims = _held(token, cls, trust)
        except TokenKeyUnknown:
            self.forget_trust()
            trust = self.trust
            claims = _held(token, cls, trust)
        with self._guard:
            if len(self._tokens) >= _MAX_TOKENS:
                self._tokens.clear()
            self._tokens[cls, token] = (trust, claims)
        return claims

    def _read(self, token: str | None, cls: type[T], name: str, *, tolerant: bool) -> T | None:
        if token is None:
            return None
        try:
            return self.read_token(token, cls)
        except InvalidBytes as error:
            if tolerant:
                self.journal.write("state_damaged", file=name, code=error.code)
                return None
            if isinstance(error, TokenKeyUnknown):
                raise
            path = str(self.store.path / name)
            raise StateDamaged(f"{name}: {error.code}", path=path, cause=error.code) from None

    # -- identity

    def traits(self) -> Traits:
        """This computer's traits, read once per run."""
        with self._guard:
            if self._traits is None:
                self._traits = self.ports.traits()
            return self._traits

    def surroundings(self) -> Surroundings:
        """Whether this computer is virtual or a container, asked once per run."""
        with self._guard:
            if self._surroundings is None:
                self._surroundings = self.ports.surroundings()
            return self._surroundings

    def unlock(self, *, asking: bool = False) -> Identity:
        """The device's identity, unlocked by this computer's traits or TPM, once per run and file.

        Changes of the computer since the last contact count as drift, except when ``asking``: the
        server is about to judge them. Raises ``NotActivated`` without a device key,
        ``DeviceChanged``, ``KeyRefused``, ``KeyStoreUnavailable``, ``StateDamaged``,
        ``StateNotReadable``.
        """
        self._finish_move()
        data = self.store.device_key()
        if data is None:
            raise NotActivated("there is no device key", path=str(self.store.path))
        with self._guard:
            known = self._unlocked
            if known is None or known[0] != data:
                known = (data, self.unlocked(data))
                self._unlocked, self._judged = known, False
            judged = self._judged
        if not asking and not judged:
            self._keep_wrapping(contact=False)
        return known[1].identity

    def unlocked(self, data: bytes) -> Unlocked:
        """The identity in ``data``, the bytes of a ``device.key``; raises as ``unlock`` does."""
        return identity.unlock(
            data,
            self.traits,
            str(self.store.path / DEVICE_KEY),
            uri=self.settings.device_key,
            policy=self.store.device_policy(),
        )

    def _finish_move(self) -> None:
        """A device key that was moved, but not to the end, is so now; see ``StateStore.locked``."""
        if self.store.is_moving():
            with contextlib.suppress(ModelsealError), self.locked(_QUICK_SECONDS):
                pass

    def adopt(self) -> None:
        """Another device key was just written; the next ``unlock`` reads it."""
        with self._guard:
            self._unlocked = None

    def contact_made(self) -> None:
        """The server just answered: changes of the computer are enrolled. Under the lock."""
        self.contacts += 1
        self._keep_wrapping(contact=True)

    def _keep_wrapping(self, *, contact: bool) -> None:
        with self._guard:
            if self._unlocked is None:
                return
            data, unlocked = self._unlocked
        new = unlocked.refreshed(self.ports.random, contact=contact)
        with self._guard:
            self._judged = True
        if new is None:
            return
        with contextlib.suppress(ModelsealError), self.locked(_QUICK_SECONDS):
            # a folder that is read-only or busy keeps the old one
            if self.store.device_key() == data:
                self.store.write_device_key(new)
                fresh = self.unlocked(new)
                with self._guard:
                    self._unlocked = (new, fresh)

    # -- connection

    @property
    def server(self) -> str:
        """The license server's URL; ``ConfigInvalid`` where none was ever named."""
        known = self.known_server
        if not known:
            raise ConfigInvalid(NO_SERVER)
        return known

    @property
    def known_server(self) -> str | None:
        """The license server's URL: from the settings, else as noted at activation.

        None or empty on a device that was activated over an air gap without one.
        """
        if self.settings.server is not None:
            return self.settings.server
        noted = self.store.read().record
        return None if noted is None else noted.server

    @property
    def transport(self) -> Transport:
        """The connection to the server, opened at first use."""
        with self._guard:
            if self._transport is None:
                self._transport = self.ports.transport(
                    TransportSettings(self.server, self.trust.tls_ca, self.settings.ca)
                )
            return self._transport

    def after_fork(self) -> None:
        """In a forked child: locks of threads that are not here, and sockets, are left behind."""
        self._guard = threading.RLock()
        self._holding = threading.local()
        self._transport = None
        self.run_keys.after_fork()

    def close(self) -> None:
        """The connection is closed; keys that were released for this run are wiped."""
        self.run_keys.close()
        with self._guard:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    def stored_catalog(self) -> Catalog | None:
        """What the last refresh of the catalog found; read anew only when its file changed."""
        folder = self.store.path / CATALOG
        try:
            at = (folder / "targets.json").stat()
        except OSError:
            return None
        stamp = (at.st_mtime_ns, at.st_size, at.st_ino)
        with self._guard:
            if self._catalog is None or self._catalog[0] != stamp:
                self._catalog = (stamp, catalog.stored(folder, self.trust))
            return self._catalog[1]

    # -- small things

    @contextlib.contextmanager
    def locked(self, seconds: float) -> Iterator[None]:
        """See ``StateStore.locked``; a thread that holds the lock may take it again."""
        depth: int = getattr(self._holding, "depth", 0)
        if depth:
            yield
            return
        with self.store.locked(seconds):
            self._holding.depth = 1
            try:
                yield
            finally:
                self._holding.depth = 0

    def new_id(self, prefix: str) -> str:
        """A fresh id."""
        return ids.new_id(prefix, self.ports.now(), self.ports.random)

    def note(self, **changes: Any) -> Record:
        """``state.json`` with ``changes``; made when it is not there. Under the lock."""
        known = self.store.read(tolerant=True).record
        if known is None:
            known = Record(product=self.trust.product, server=self.known_server or "")
        return self.store.note(known, **changes)


def _held(token: str, cls: type[T], trust: Trust) -> T:
    """The claims of a stored token; a lease is over when its key ends."""
    if cls is LeaseClaims:
        return tokens.read_held(token, trust)  # type: ignore[return-value]
    return tokens.read(token, cls, trust)  # type: ignore[type-var]
