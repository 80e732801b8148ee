"""Key URI to key provider. The table is the whole list; third parties add an entry point."""

from __future__ import annotations

import re
from importlib import import_module, metadata
from pathlib import Path
from typing import cast

from modelseal.errors import ConfigInvalid
from modelseal.keys.provider import Ask, GuardedProvider, KeyProvider, ProviderModule, call

ENTRY_POINTS = "modelseal.key_providers"
PROVIDERS = {"file": "modelseal.keys.file"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,31}")


def open_provider(uri: str, *, ask: Ask | None = None, base: Path | None = None) -> KeyProvider:
    """The provider at ``uri``, whose key exists, held to the contract of ``KeyProvider``.

    Relative paths mean ``base``; ``ask`` is called with a prompt when a secret is needed. Raises
    ``ConfigInvalid`` for a URI nobody serves, ``KeyStoreUnavailable`` when the key cannot be used,
    ``InputMissing`` when there is none, ``PassphraseWrong``.
    """
    module = _module(uri)
    inner = call(lambda: module.open_provider(uri, ask=ask, base=base), object)
    return GuardedProvider(cast(KeyProvider, inner))


def create(uri: str, *, ask: Ask | None = None, base: Path | None = None) -> KeyProvider:
    """The provider at ``uri`` with a fresh key of its own; ``OutputExists`` when there is one."""
    module = _module(uri)
    inner = call(lambda: module.create(uri, ask=ask, base=base), object)
    return GuardedProvider(cast(KeyProvider, inner))


def erase(uri: str, *, base: Path | None = None) -> bool:
    """Afterwards the key at ``uri`` is gone, if it ever was; False when only its owner can do that.

    A provider whose module has no function ``erase`` keeps its keys.
    """
    act = getattr(_module(uri), "erase", None)
    if act is None:
        return False
    call(lambda: act(uri, base=base) is None, bool)
    return True


def schemes() -> tuple[str, ...]:
    """The URI schemes that somebody serves here."""
    found = {point.name for point in metadata.entry_points(group=ENTRY_POINTS)}
    return tuple(sorted(found | set(PROVIDERS)))


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
