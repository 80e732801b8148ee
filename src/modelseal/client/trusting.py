"""Carrying the trust forward: the catalog brings newer keys and roots, signed by older ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from modelseal.client import catalog as catalogs
from modelseal.client.catalog import Catalog
from modelseal.client.core import Core
from modelseal.client.folder import FOLDER_MODE, translate
from modelseal.client.lock import exclusive
from modelseal.client.state import CATALOG
from modelseal.errors import (
    InvalidBytes,
    ModelsealError,
    NotEntitled,
    TokenKeyUnknown,
    Unavailable,
)
from modelseal.license import tokens
from modelseal.license.claims import LicenseClaims
from modelseal.trust import Use

T = TypeVar("T")
LOCK_SECONDS = 60.0


def refresh(core: Core) -> Catalog:
    """The catalog as the server has it now; newer keys and roots in it are stored as trust.

    Raises ``CatalogInvalid``, ``TrustExpired``, ``TrustRollback``, ``Unavailable`` errors.
    """
    folder = core.store.path / CATALOG
    core.store.folder.create()
    try:
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
    except OSError as error:
        raise translate(error, folder, writing=True) from None
    with exclusive(
        folder, timeout_seconds=LOCK_SECONDS, monotonic=core.ports.monotonic, sleep=core.ports.sleep
    ):
        found = catalogs.refresh(folder, core.trust, core.transport, core.server, core.ports.now())
    if found.trust.raw != core.trust.raw:
        with core.locked(LOCK_SECONDS):
            core.use_trust(found.trust)
        core.journal.write(
            "trust_updated", root=found.trust.root_version, keys=found.trust.keys_version
        )
    return found


def read_token(core: Core, token: str, cls: type[T]) -> T:
    """The verified claims of a token that the server just sent.

    A key that is not known yet may have been rotated in: the catalog is asked once. One that has
    ended signs no answer any more, whatever the time in it.
    """
    return _with_newer_keys(core, lambda: _read(core, token, cls))


def check_listed(core: Core, use: Use, kid: str) -> None:
    """Returns when the trust, or the catalog's newer one, lists the key for ``use`` now;
    ``TokenKeyUnknown`` otherwise."""
    _with_newer_keys(core, lambda: core.trust.verify_keys(use, kid, core.ports.now()))


def _with_newer_keys(core: Core, look: Callable[[], T]) -> T:
    with contextlib.suppress(TokenKeyUnknown):
        return look()
    core.forget_trust()  # another process may have carried it forward
    try:
        return look()
    except TokenKeyUnknown as unknown:
        try:
            refresh(core)
        except ModelsealError as error:
            core.journal.write("catalog_not_read", code=error.code, detail=error.detail)
            raise unknown from None
        return look()


def _read(core: Core, token: str, cls: type[T]) -> T:
    return tokens.read(token, cls, core.trust, now=core.ports.now())  # type: ignore[type-var]


def is_granted(core: Core, file_id: bytes, license_: LicenseClaims | None) -> bool:
    """Whether the catalog has this file and the license grants it; False where it is not read.

    ``NotEntitled`` says what the license lacks.
    """
    try:
        listed = refresh(core).file(file_id)
    except (Unavailable, InvalidBytes) as error:
        core.journal.write("catalog_not_read", code=error.code)
        return False
    if listed is None or license_ is None:
        return False
    lacking = listed.lacking(frozenset(e.id for e in license_.ent))
    if lacking is not None:
        raise NotEntitled(
            "no key for it was ever delivered", entitlement=lacking, model=listed.model
        )
    return True
