"""Key URI to key provider. The table is the whole list; third parties add an entry point."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import cast

from modelseal.crypto.signing import SigningKey
from modelseal.errors import ConfigInvalid
from modelseal.keys import limits
from modelseal.keys.provider import Ask, GuardedProvider, KeyProvider, ProviderModule, call
from modelseal.keys.reference import Reference

ENTRY_POINTS = "modelseal.key_providers"
PROVIDERS = {
    "file": "modelseal.keys.file",
    "keyring": "modelseal.keys.keystore",
    "tpm2": "modelseal.keys.tpm2",
    "pkcs11": "modelseal.keys.pkcs11",
    "awskms": "modelseal.keys.awskms",
    "gcpkms": "modelseal.keys.gcpkms",
    "azurekv": "modelseal.keys.azurekv",
    "vault": "modelseal.keys.vault",
}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,31}")


def open_provider(uri: str, *, ask: Ask | None = None, base: Path | None = None) -> KeyProvider:
    """The provider at ``uri``, whose key exists, held to the contract of ``KeyProvider``.

    Relative paths mean ``base``; ``ask`` is called with a prompt when a secret is needed. Raises
    ``ConfigInvalid`` for a URI nobody serves, ``KeyStoreUnavailable`` when the key cannot be used,
    ``InputMissing`` when there is none, ``PassphraseWrong``.
    """
    module = _module(uri)
    inner = _timed(module, uri, ask, lambda asked: module.open_provider(uri, ask=asked, base=base))
    return GuardedProvider(cast(KeyProvider, inner))


def create(uri: str, *, ask: Ask | None = None, base: Path | None = None) -> KeyProvider:
    """The provider at ``uri`` with a fresh key of its own; ``OutputExists`` when there is one."""
    module = _module(uri)
    inner = _timed(module, uri, ask, lambda asked: module.create(uri, ask=asked, base=base))
    return GuardedProvider(cast(KeyProvider, inner))


def create_signer(
    uri: str, alg: str, label: str, *, ask: Ask | None = None
) -> tuple[Reference, SigningKey]:
    """A fresh signing key in the hardware at ``uri``, and where it is.

    Raises ``ConfigInvalid`` when the scheme keeps no signing keys, or none of ``alg``.
    """
    module = _module(uri)
    act = _signing(module, "create_signer", uri)
    made = _timed(module, uri, ask, lambda asked: act(uri, alg, label, ask=asked))
    return cast(tuple[Reference, SigningKey], made)


def open_signer(where: Reference, *, ask: Ask | None = None) -> SigningKey:
    """The signing key at ``where``, proved to be the one whose public half is known."""
    module = _module(where.uri)
    act = _signing(module, "open_signer", where.uri)
    return cast(SigningKey, _timed(module, where.uri, ask, lambda asked: act(where, ask=asked)))


def _signing(module: ProviderModule, name: str, uri: str) -> Callable[..., object]:
    act: Callable[..., object] | None = getattr(module, name, None)
    if act is None:
        scheme = uri.partition(":")[0]
        raise ConfigInvalid(f"{scheme} key URIs keep no signing keys; pkcs11 does")
    return act


def erase(uri: str, *, base: Path | None = None) -> bool:
    """Afterwards the key at ``uri`` is gone, if it ever was; False when only its owner can do that.

    A provider whose module has no function ``erase`` keeps its keys.
    """
    module = _module(uri)
    act = getattr(module, "erase", None)
    if act is None:
        return False
    _timed(module, uri, None, lambda _asked: act(uri, base=base))
    return True


def schemes() -> tuple[str, ...]:
    """The URI schemes that somebody serves here."""
    found = {point.name for point in metadata.entry_points(group=ENTRY_POINTS)}
    return tuple(sorted(found | set(PROVIDERS)))


def _timed(
    module: ProviderModule, uri: str, ask: Ask | None, act: Callable[[Ask | None], object]
) -> object:
    """The answer of ``act`` within the module's limit; the time a person takes is not counted."""
    seconds = getattr(module, "OPEN_SECONDS", limits.DEFAULT_SECONDS)
    return call(lambda: limits.run_asking(act, seconds, ask, uri=uri), object, uri)


def _module(uri: str) -> ProviderModule:
    scheme = uri.partition(":")[0]
    if ":" not in uri or not _SCHEME.fullmatch(scheme):
        raise ConfigInvalid("a key URI begins with its scheme, like file:kek.key")
    if scheme in PROVIDERS:
        return cast(ProviderModule, import_module(PROVIDERS[scheme]))
    points = tuple(metadata.entry_points(group=ENTRY_POINTS, name=scheme))
    if len(points) > 1:
        raise ConfigInvalid(f"two installed packages serve {scheme} key URIs")
    if not points:
        raise ConfigInvalid(f"nothing here serves {scheme} key URIs", candidates=schemes())
    return cast(ProviderModule, call(points[0].load, object))
