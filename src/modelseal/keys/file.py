"""Key provider for files. Level L0: whoever reads the file (and knows the passphrase) has the key.

    file:kek.key                       a file beside the configuration that names it
    file:/etc/modelseal/kek.key        an absolute path
    file:kek.key?passphrase=ask        the key inside is protected by Argon2id of a passphrase

``provider = keys.create("file:kek.key", base=folder)`` makes 32 random bytes, mode 0600. A URI
never holds the passphrase itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, unquote

from modelseal.errors import ConfigInvalid, KeyStoreUnavailable, WrappedKeyInvalid
from modelseal.keys import envelope, files, passphrase
from modelseal.keys.envelope import KEY_BYTES, Context
from modelseal.keys.passphrase import RFC_9106_LOW_MEMORY, Work
from modelseal.keys.provider import Ask
from modelseal.types import Level

MAGIC = b"\x89MSK1\r\n\x1a"
VERSION = 1
MAX_FILE_BYTES = 4096
_PURPOSE = "key-file"
_PREFIX = MAGIC + bytes([VERSION])


@dataclass(frozen=True, slots=True)
class FileUri:
    """A parsed ``file:`` URI."""

    path: Path
    passphrase: bool

    def __str__(self) -> str:
        return f"file:{quote(str(self.path))}" + ("?passphrase=ask" if self.passphrase else "")


def parse_uri(uri: str) -> FileUri:
    """The parts of ``uri``; ``ConfigInvalid`` when it is no ``file:`` URI of the grammar above."""
    scheme, _, rest = uri.partition(":")
    path, question, query = rest.partition("?")
    if path.startswith("//"):
        if not path.startswith("///"):
            raise ConfigInvalid("a file URI names no host")
        path = path[2:]
    if scheme != "file" or not path or "\x00" in unquote(path) or "#" in path:
        raise ConfigInvalid("a file URI is file:PATH or file:PATH?passphrase=ask")
    if question and query not in ("passphrase", "passphrase=ask"):
        raise ConfigInvalid("the only option of a file URI is passphrase=ask, never a passphrase")
    return FileUri(Path(unquote(path)), bool(question))


class FileProvider:
    """A 32-byte key in this process's memory, read from its file once. See ``KeyProvider``."""

    __slots__ = ("_key", "_random", "_uri", "level")

    def __init__(self, uri: str, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        if len(key) != KEY_BYTES:
            raise KeyStoreUnavailable("a key file holds 32 bytes")
        self._uri = uri
        self._key = key
        self._random = random
        self.level = Level.L0

    @property
    def uri(self) -> str:
        """The key URI."""
        return self._uri

    def wrap(self, plaintext: bytes, context: Context) -> bytes:
        """``plaintext`` wrapped and bound to ``context``."""
        return envelope.seal(self._key, plaintext, context, self._random)

    def unwrap(self, wrapped: bytes, context: Context) -> bytes:
        """The plaintext; ``WrappedKeyInvalid`` under another key or context."""
        return envelope.open_(self._key, wrapped, context)

    def owns(self, wrapped: bytes) -> bool:
        """True when this key wrapped these bytes."""
        return envelope.owner(wrapped) == envelope.key_id(self._key)

    def describe(self) -> Mapping[str, object]:
        """Kind, key id, level and whether a passphrase protects the file."""
        return {
            "kind": "file",
            "uri": self._uri,
            "key_id": envelope.key_id(self._key).hex(),
            "level": int(self.level),
            "passphrase": parse_uri(self._uri).passphrase,
        }

    def __repr__(self) -> str:
        return f"FileProvider({self._uri})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key provider cannot be pickled or copied")


def open_provider(
    uri: str,
    *,
    ask: Ask | None = None,
    base: Path | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> FileProvider:
    """The provider of an existing key file; see ``files.read_secret`` for what is refused."""
    parsed = parse_uri(uri)
    path = _resolve(parsed, base)
    data = files.read_secret(path, max_bytes=MAX_FILE_BYTES)
    return FileProvider(uri, _content(data, parsed, path, ask), random)


def create(
    uri: str,
    *,
    ask: Ask | None = None,
    base: Path | None = None,
    random: Callable[[int], bytes] = os.urandom,
    work: Work = RFC_9106_LOW_MEMORY,
) -> FileProvider:
    """A fresh random key in a new file, mode 0600; raises ``OutputExists`` when there is one."""
    key = random(KEY_BYTES)
    put_back(uri, key, ask=ask, base=base, random=random, work=work)
    return FileProvider(uri, key, random)


def put_back(
    uri: str,
    key: bytes,
    *,
    ask: Ask | None = None,
    base: Path | None = None,
    random: Callable[[int], bytes] = os.urandom,
    work: Work = RFC_9106_LOW_MEMORY,
) -> None:
    """Afterwards the new file at ``uri`` holds ``key``: how a backup puts a key back."""
    parsed = parse_uri(uri)
    FileProvider(uri, key, random)
    if parsed.passphrase:
        secret = _ask(ask, f"New passphrase for {parsed.path.name}: ")
        data = passphrase.protect(key, secret, _PURPOSE, random=random, work=work)
    else:
        data = _PREFIX + key
    files.write_new(_resolve(parsed, base), data)


def read_key(uri: str, *, ask: Ask | None, base: Path | None) -> bytes:
    """The 32 key bytes themselves: for a backup, which encrypts them at once."""
    return open_provider(uri, ask=ask, base=base)._key


def erase(uri: str, *, base: Path | None = None) -> None:
    """Afterwards there is no key file at ``uri``; its bytes were overwritten first.

    A file system that copies on write, a snapshot or a backup may still hold them.
    """
    files.erase(_resolve(parse_uri(uri), base))


def _content(data: bytes, parsed: FileUri, path: Path, ask: Ask | None) -> bytes:
    protected = passphrase.is_protected(data)
    if protected != parsed.passphrase:
        has = "has" if protected else "has no"
        raise KeyStoreUnavailable(f"the key file {has} passphrase, unlike its URI", path=str(path))
    if protected:
        secret = _ask(ask, f"Passphrase for {path.name}: ")
        try:
            return passphrase.reveal(data, secret, _PURPOSE)
        except WrappedKeyInvalid as error:
            raise KeyStoreUnavailable(error.detail, path=str(path)) from None
    if not data.startswith(_PREFIX) or len(data) != len(_PREFIX) + KEY_BYTES:
        raise KeyStoreUnavailable("this is no key file of this version", path=str(path))
    return data[len(_PREFIX) :]


def _ask(ask: Ask | None, prompt: str) -> str:
    if ask is None:
        raise KeyStoreUnavailable("a passphrase is needed and nobody can be asked")
    return ask(prompt)


def _resolve(parsed: FileUri, base: Path | None) -> Path:
    return parsed.path if base is None else base / parsed.path
