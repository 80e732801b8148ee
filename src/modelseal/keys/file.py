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
from urllib.parse import quote, unquote

from modelseal.errors import ConfigInvalid, KeyStoreUnavailable, SecretNeeded, WrappedKeyInvalid
from modelseal.keys import files, held, passphrase
from modelseal.keys.envelope import KEY_BYTES
from modelseal.keys.held import HeldKey
from modelseal.keys.passphrase import RFC_9106_LOW_MEMORY, Work
from modelseal.keys.provider import Ask
from modelseal.types import Level
from modelseal.wiping import wipe_bytes

MAX_FILE_BYTES = 4096
OPEN_SECONDS = None
_PURPOSE = "key-file"


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


class FileProvider(HeldKey):
    """A 32-byte key, read from its file once. See ``KeyProvider``."""

    __slots__ = ()

    def __init__(self, uri: str, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        super().__init__("file", uri, key, Level.L0, random)

    def describe(self) -> Mapping[str, object]:
        """Kind, key id, level and whether a passphrase protects the file."""
        return {**super().describe(), "passphrase": parse_uri(self.uri).passphrase}


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
    key = _content(data, parsed, path, ask)
    try:
        return FileProvider(uri, key, random)
    finally:
        wipe_bytes(data)
        wipe_bytes(key)


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
        data = held.encode(key)
    files.write_new(_resolve(parsed, base), data)


def read_key(uri: str, *, ask: Ask | None, base: Path | None) -> bytes:
    """The 32 key bytes themselves: for a backup, which encrypts them at once."""
    return open_provider(uri, ask=ask, base=base).reveal()


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
    key = held.decode(data)
    if key is None:
        raise KeyStoreUnavailable("this is no key file of this version", path=str(path))
    return key


def _ask(ask: Ask | None, prompt: str) -> str:
    if ask is None:
        raise SecretNeeded("a passphrase is needed and nobody can be asked")
    return ask(prompt)


def _resolve(parsed: FileUri, base: Path | None) -> Path:
    return parsed.path if base is None else base / parsed.path
