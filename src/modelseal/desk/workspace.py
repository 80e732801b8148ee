"""The workspace: the publisher's desk and the server's half side by side.

``init`` makes one, ``open`` finds it again. Layout: ``docs/spec/keys.md``.

    trust.json  recovery-kit.txt
    desk/    desk.toml desk.key keys/ tuf/ models/
    server/  server.toml kek.key keys/ tls/ blobs/
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from modelseal import ids, keys
from modelseal import trust as trusts
from modelseal.admin import ServerKeys
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.desk import founding, halves, kit, listing, staging, tls
from modelseal.desk.halves import DESK_PURPOSE
from modelseal.desk.listing import KeyRow
from modelseal.desk.records import ModelRecords
from modelseal.errors import (
    ConfigInvalid,
    InputMissing,
    Misuse,
    StateDamaged,
    WorkspaceMissing,
)
from modelseal.keys import KeyRing, OnlineKeys, files
from modelseal.keys.folder import SECRET_ALG, KeyFolder
from modelseal.keys.provider import Ask, KeyProvider
from modelseal.trust import Trust
from modelseal.types import check_aware

DESK_KEY = "file:desk.key"
LISTEN = "127.0.0.1:8443"
_PRODUCT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_DOCUMENT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Workspace:
    """A workspace on disk. ``product`` and ``server_id`` are those of its ``trust.json``."""

    home: Path
    ask: Ask | None = None

    @property
    def desk(self) -> Path:
        """The folder of the desk."""
        return self.home / "desk"

    @property
    def server(self) -> Path:
        """The folder of the server's half."""
        return self.home / "server"

    @property
    def kit(self) -> Path:
        """Where ``recovery-kit.txt`` lies until it is removed."""
        return self.home / kit.NAME

    @cached_property
    def trust(self) -> Trust:
        """The product's trust, verified."""
        return trusts.parse(read_document(self.home / staging.MARKER))

    @property
    def product(self) -> str:
        """The product's name."""
        return self.trust.product

    @property
    def server_id(self) -> str:
        """The id of the product's server."""
        return self.trust.server_id

    @property
    def has_desk(self) -> bool:
        """True when the desk is here."""
        return (self.desk / "desk.toml").is_file()

    @property
    def has_server(self) -> bool:
        """True when the server's half is here."""
        return (self.server / "server.toml").is_file()

    @cached_property
    def desk_provider(self) -> KeyProvider:
        """The provider that wraps everything in the desk; asks for its passphrase at most once."""
        settings = self._desk_settings()
        return keys.open_provider(settings["key"], ask=self.ask, base=self.desk)

    @cached_property
    def desk_keys(self) -> KeyFolder:
        """The desk's private keys."""
        return KeyFolder(
            self.desk / "keys",
            self.desk_provider,
            server_id=self.server_id,
            purpose=DESK_PURPOSE,
        )

    @property
    def kek_uri(self) -> str:
        """The key URI of the server's key-encryption key."""
        return self._server_settings()["kek"]

    @property
    def kek_old(self) -> list[str]:
        """Key URIs from which an unfinished rotation has not taken over everything yet."""
        path = self.server / "server.toml"
        found = read_toml(path).get("kek_old", [])
        if not isinstance(found, list) or not all(isinstance(uri, str) for uri in found):
            raise ConfigInvalid("kek_old is a list of key URIs", path=str(path))
        return found

    @cached_property
    def server_provider(self) -> KeyRing:
        """The server's key-encryption key, and beside it those from which it takes over."""
        return KeyRing(lambda: [self.kek_uri, *self.kek_old], ask=self.ask, base=self.server)

    @cached_property
    def online_keys(self) -> OnlineKeys:
        """The server's private keys."""
        return OnlineKeys(
            self.server / "keys",
            self.server_provider,
            server_id=self.server_id,
            ask=self.ask,
        )

    @cached_property
    def models(self) -> ModelRecords:
        """What was sealed here, with its data keys."""
        return ModelRecords(self.desk / "models", self.desk_provider, product=self.product)

    def list_keys(
        self, now: datetime | None = None, *, server: ServerKeys | None = None
    ) -> list[KeyRow]:
        """Every private key that is here, desk first; secrets that are no keys are left out.

        ``server`` is what a server somewhere else says of its keys.
        """
        at = check_aware(now or datetime.now(UTC))
        own = self.desk_keys.entries() if self.has_desk else []
        online: Sequence[listing.Held] = () if server is None else server.keys
        if server is None and self.has_server:
            online = self.online_keys.entries()
        return [
            row
            for held, where in ((own, "desk"), (online, "server"))
            for row in listing.rows(
                [key for key in held if key.alg != SECRET_ALG], where, self.trust, at
            )
        ]

    def close(self) -> None:
        """Afterwards no opened key is held here; a later use opens it again."""
        kept = ("desk_provider", "desk_keys", "server_provider", "online_keys", "models", "trust")
        for name in kept:
            self.__dict__.pop(name, None)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def desk_signers(self, use: str, at: datetime) -> list[SigningKey]:
        """The desk's signing keys for ``use`` (root, targets, keys, publisher, endorsement).

        What the trust names decides: a key that was made and is not announced yet signs nothing.
        """
        if use in trusts.DESK_USES:
            held = self.desk_keys.kids(use)
            kids = [key.kid for key in self.trust.signing_set(trusts.Use(use), held, at)]
        else:
            kids = list(self.trust.role_kids(use))
        found = self.desk_keys.keys_of(use, kids)
        return [key for key in found if isinstance(key, SigningKey)]

    def use_trust(self, trust: Trust) -> None:
        """From now on ``trust`` (verified) is the product's: ``trust.json`` holds it."""
        files.replace(self.home / staging.MARKER, trust.raw, mode=0o644)
        self.__dict__["trust"] = trust

    def recovery_key(self, at: datetime, kid: str | None = None) -> KemPrivateKey:
        """The key to which recovery entries are sealed at ``at``, or the one of the id ``kid``.

        Raises ``TokenKeyUnknown`` for a key that is not here.
        """
        folder = self.desk_keys
        found = (
            folder.newest_set("recovery", at) if kid is None else folder.keys_of("recovery", [kid])
        )
        for key in found:
            if isinstance(key, KemPrivateKey):
                return key
        raise StateDamaged("the recovery key is no KEM key", path=str(self.desk))

    def _desk_settings(self) -> dict[str, str]:
        if not self.has_desk:
            raise WorkspaceMissing("the desk is not here", path=str(self.home))
        settings = read_settings(self.desk / "desk.toml", ("product", "server_id", "key"))
        if (settings["product"], settings["server_id"]) != (self.product, self.server_id):
            raise StateDamaged("desk and trust.json are of two products", path=str(self.home))
        return settings

    def _server_settings(self) -> dict[str, str]:
        if not self.has_server:
            raise WorkspaceMissing("the server's half is not here", path=str(self.home))
        return read_settings(self.server / "server.toml", ("kek",))


def init(
    home: Path | str,
    product: str,
    *,
    token_alg: str = "Ed25519",  # noqa: S107 - an algorithm, no secret
    desk_key: str = DESK_KEY,
    kek: str = halves.KEK,
    hosts: Sequence[str] = tls.DEFAULT_HOSTS,
    listen: str = LISTEN,
    ask: Ask | None = None,
    now: datetime | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> Workspace:
    """A new workspace at ``home`` with fresh keys throughout; a failure leaves nothing behind.

    ``token_alg`` is Ed25519, ES256, RS256 or hybrid; ``desk_key`` the key URI under which the desk
    is encrypted (``file:desk.key?passphrase=ask`` asks for a passphrase); ``kek`` the key URI of
    the server's key-encryption key; ``hosts`` the names and addresses in the server's development
    certificate. Raises ``WorkspaceExists``,
    ``OutputExists``, ``InputMissing`` (no parent folder), ``Misuse``, ``StateNotWritable``,
    ``DiskFull``.
    """
    at = check_aware(now or datetime.now(UTC))
    if not _PRODUCT.fullmatch(product):
        raise Misuse("a product is up to 64 letters, digits, dots, dashes and underscores")
    if not hosts:
        raise Misuse("the server's certificate needs at least one host")
    home = Path(home)
    with staging.new_folder(home) as folder:
        server_id = ids.new_id("srv", at, random)
        founded = founding.found(
            product, server_id, token_alg=token_alg, hosts=hosts, now=at, random=random
        )
        passphrase = kit.generate(random)
        halves.write_desk(folder / "desk", founded, passphrase, key=desk_key, at=at, ask=ask)
        halves.write_server(folder / "server", founded, listen=listen, kek=kek, ask=ask)
        text = kit.render(passphrase, product=product, server_id=server_id, created_at=at)
        files.write_new(folder / kit.NAME, text.encode())
        files.write_new(folder / staging.MARKER, founded.trust.raw, mode=0o644)
    return Workspace(home, ask)


def open(home: Path | str, *, ask: Ask | None = None) -> Workspace:
    """The workspace at ``home``, its trust verified; ``WorkspaceMissing`` when there is none.

    ``ask`` is called when a passphrase is needed, at the first use of a key.
    """
    workspace = Workspace(Path(home), ask)
    try:
        found = workspace.trust
    except InputMissing:
        raise WorkspaceMissing("no trust.json here", path=str(home)) from None
    if not (workspace.has_desk or workspace.has_server):
        raise WorkspaceMissing("neither desk nor server is here", path=str(home))
    if found.tls_ca is not None:
        listed = trusts.Use.TLS
        if not any(tls.matches(found.tls_ca, key.jwk) for key in found.keys(listed)):
            raise StateDamaged("tls_ca is not the authority that was signed", path=str(home))
    return workspace


def read_document(path: Path) -> bytes:
    """The bytes of a public document of the workspace, at most 8 MiB."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise files.translated(error, path) from None
    if len(data) > _MAX_DOCUMENT_BYTES:
        raise StateDamaged("longer than any such document", path=str(path))
    return data


def read_toml(path: Path) -> dict[str, Any]:
    """The TOML file at ``path``; ``ConfigInvalid`` when it is none."""
    try:
        return tomllib.loads(read_document(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(str(error)[:200], path=str(path)) from None


def read_settings(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The texts ``names`` of a TOML file; ``ConfigInvalid`` when one is missing or no text."""
    values = read_toml(path)
    for name in names:
        if not isinstance(values.get(name), str):
            raise ConfigInvalid(f"{name} is missing or no text", path=str(path))
    return {name: values[name] for name in names}
