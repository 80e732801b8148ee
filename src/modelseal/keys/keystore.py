"""Key provider for the operating system's keystore. Level L1, declared: no keystore proves it.

    keyring:shop/kek                          entry ``kek`` of the service ``shop``
    keyring:shop/kek?backend=MODULE.CLASS     in a keystore that modelseal does not know by itself

Secret Service (GNOME Keyring, KWallet), KWallet, macOS Keychain and Windows Credential Locker,
through the package ``keyring`` (extra ``keyring``). What another backend would do with the key is
not known, so one is taken only where the URI names it. The entry is a key file's 41 bytes in
base64, far below the 2560 bytes of Windows. The keystore gives the key out to this process, which
holds it in locked memory.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelseal.errors import (
    ConfigInvalid,
    ExtraMissing,
    InputMissing,
    KeyStoreUnavailable,
    ModelsealError,
    OutputExists,
)
from modelseal.keys import held, limits, options
from modelseal.keys.envelope import KEY_BYTES
from modelseal.keys.held import HeldKey
from modelseal.types import Level

if TYPE_CHECKING:
    from pathlib import Path

    from modelseal.keys.provider import Ask

OPEN_SECONDS = None
"""Each call to the keystore is limited by itself; a person may be asked to unlock it."""
MAX_NAME_CHARACTERS = 128
KNOWN = (
    "keyring.backends.SecretService.Keyring",
    "keyring.backends.libsecret.Keyring",
    "keyring.backends.kwallet.DBusKeyring",
    "keyring.backends.kwallet.DBusKeyringKWallet4",
    "keyring.backends.macOS.Keyring",
    "keyring.backends.Windows.WinVaultKeyring",
)
_UNLOCK_SECONDS = 60


@dataclass(frozen=True, slots=True)
class EntryUri:
    """A parsed ``keyring:`` URI."""

    uri: str
    service: str
    name: str
    backend: str | None
    seconds: float


def parse_uri(uri: str) -> EntryUri:
    """The parts of ``uri``; ``ConfigInvalid`` when it is no ``keyring:`` URI."""
    found = options.parse(uri, "keyring", ("backend",))
    service, slash, name = found.name.partition("/")
    good = all(1 <= len(part) <= MAX_NAME_CHARACTERS and part.isprintable()
               for part in (service, name))  # fmt: skip
    if not slash or not good or "/" in name:
        raise ConfigInvalid("a keyring URI is keyring:SERVICE/NAME", uri=uri)
    seconds = found.limit_seconds if "limit_seconds=" in uri else _UNLOCK_SECONDS
    return EntryUri(uri, service, name, found.options.get("backend"), seconds)


def open_provider(uri: str, *, ask: Ask | None = None, base: Path | None = None) -> HeldKey:
    """The key in the entry that ``uri`` names; ``InputMissing`` when there is none."""
    parsed = parse_uri(uri)
    keystore = _keystore(parsed)
    text = _do(parsed, lambda: keystore.get_password(parsed.service, parsed.name))
    if text is None:
        raise InputMissing("the keystore has no such entry", path=uri)
    return HeldKey("keyring", uri, _decode(text, uri), _level(keystore))


def create(
    uri: str,
    *,
    ask: Ask | None = None,
    base: Path | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> HeldKey:
    """A fresh random key in a new entry, read back once; ``OutputExists`` when there is one."""
    parsed = parse_uri(uri)
    keystore, key = _keystore(parsed), random(KEY_BYTES)
    made = HeldKey("keyring", uri, key, _level(keystore))
    place = (parsed.service, parsed.name)
    if _do(parsed, lambda: keystore.get_password(*place)) is not None:
        raise OutputExists("the keystore has such an entry already", path=uri)
    text = base64.b64encode(held.encode(key)).decode("ascii")
    _do(parsed, lambda: keystore.set_password(*place, text))
    if _do(parsed, lambda: keystore.get_password(*place)) != text:
        raise KeyStoreUnavailable("the keystore did not keep the key", uri=uri)
    return made


def erase(uri: str, *, base: Path | None = None) -> None:
    """Afterwards the keystore has no such entry."""
    parsed = parse_uri(uri)
    keystore = _keystore(parsed)
    place = (parsed.service, parsed.name)
    if _do(parsed, lambda: keystore.get_password(*place)) is not None:
        _do(parsed, lambda: keystore.delete_password(*place))


def _keystore(parsed: EntryUri) -> Any:
    """The backend to use; never one that keeps nothing, or nobody knows how."""
    try:
        import keyring
        from keyring.backend import get_all_keyring
    except ModuleNotFoundError:
        raise ExtraMissing("the keystore needs a package", extra="keyring") from None
    chosen = _do(parsed, keyring.get_keyring)
    candidates = list(_each(chosen))
    if parsed.backend is not None:
        candidates += _do(parsed, get_all_keyring)
    wanted = KNOWN if parsed.backend is None else (parsed.backend,)
    for candidate in candidates:
        if _path(candidate) in wanted:
            return candidate
    if parsed.backend is not None:
        raise KeyStoreUnavailable(f"{parsed.backend[:80]} does not work here", uri=parsed.uri)
    if _path(chosen) == "keyring.backends.fail.Keyring":
        raise KeyStoreUnavailable("no keystore of the operating system was found", uri=parsed.uri)
    raise KeyStoreUnavailable(
        f"{_path(chosen)} is configured, which is no keystore of the operating system",
        uri=parsed.uri,
    )


def _each(backend: Any) -> Iterator[Any]:
    """``backend``, or those that it chains."""
    if _path(backend) == "keyring.backends.chainer.ChainerBackend":
        yield from backend.backends
    else:
        yield backend


def _path(backend: Any) -> str:
    return f"{type(backend).__module__}.{type(backend).__qualname__}"


def _level(backend: Any) -> Level:
    return Level.L1 if _path(backend) in KNOWN else Level.L0


def _do(parsed: EntryUri, act: Callable[[], Any]) -> Any:
    """The answer of the keystore within the limit; whatever it raises is ``KeyStoreUnavailable``.

    Locked keystores raise one of several errors, or wait for a prompt that nobody sees.
    """
    try:
        return limits.run(act, parsed.seconds, uri=parsed.uri)
    except ModelsealError:
        raise
    except Exception as error:  # noqa: BLE001 - backends raise errors of their own libraries
        name = type(error).__name__
        locked = any(word in name for word in ("Locked", "Dismissed", "PromptFailed"))
        why = "the keystore is locked" if locked else f"the keystore failed: {name}"
        raise KeyStoreUnavailable(why, uri=parsed.uri) from None


def _decode(text: object, uri: str) -> bytes:
    key = None
    if isinstance(text, str) and text.isascii():
        with suppress(ValueError):
            key = held.decode(base64.b64decode(text, validate=True))
    if key is None:
        raise KeyStoreUnavailable("the entry in the keystore is no key of modelseal", uri=uri)
    return key
