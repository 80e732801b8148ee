"""Every setting of one client, resolved once: argument, environment, ``modelseal.toml``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from modelseal import trust as trusts
from modelseal.client import config, identity
from modelseal.client.config import AppConfig
from modelseal.errors import ConfigInvalid, InvalidBytes
from modelseal.trust import Trust

NO_TRUST = "no trust is named (--trust, MODELSEAL_TRUST or modelseal.toml)"
NO_SERVER = "no server is named (--server, MODELSEAL_SERVER or modelseal.toml)"
PathLike: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Settings:
    """What this client works with. ``server`` and ``pinned`` may be known to the state only.

    ``device_key`` is where a new device key is made: a key URI, None for the state folder.
    """

    state: Path
    product: str | None
    server: str | None
    pinned: Trust | None
    ca: Path | None
    app: AppConfig | None
    device_key: str | None = None

    @property
    def eula_digest(self) -> str | None:
        """The digest of the agreement that the app ships; None when it names none."""
        return None if self.app is None or self.app.eula is None else self.app.eula.digest

    @property
    def mirrors(self) -> tuple[str, ...]:
        """Where sealed models may be fetched before the server is asked."""
        return () if self.app is None else self.app.mirrors

    @property
    def sealed(self) -> tuple[str, ...]:
        """Patterns of what must be sealed under ``modelseal run``."""
        return () if self.app is None else self.app.sealed


def resolve(
    *,
    app: PathLike | None,
    state: PathLike | None,
    server: str | None,
    trust: PathLike | bytes | None,
    ca: PathLike | None,
    environ: Mapping[str, str],
    device_key: str | None = None,
) -> Settings:
    """The settings; ``ConfigInvalid`` says which one is wrong or missing and where it came from."""
    found = config.find(app, environ)
    pinned = _pinned(trust, environ, found)
    product = _product(found, pinned)
    place = state if state is not None else environ.get("MODELSEAL_STATE") or None
    if place is None and product is None:
        raise ConfigInvalid("no modelseal.toml is here, and neither --state nor --trust is given")
    named = ca if ca is not None else environ.get("MODELSEAL_CA") or None
    return Settings(
        state=Path(place) if place is not None else config.default_state(str(product)),
        product=product,
        server=_server(server, environ, found),
        pinned=pinned,
        ca=None if named is None else Path(named),
        app=found,
        device_key=_device_key(device_key, environ, found),
    )


def _device_key(
    given: str | None, environ: Mapping[str, str], found: AppConfig | None
) -> str | None:
    named = given or environ.get("MODELSEAL_DEVICE_KEY") or (found.device_key if found else None)
    return None if named is None else identity.check_uri(named)


def _server(given: str | None, environ: Mapping[str, str], found: AppConfig | None) -> str | None:
    if given is not None:
        return config.check_server(given)
    named = environ.get("MODELSEAL_SERVER")
    if named:
        return config.check_server(named)
    return None if found is None else found.server


def _pinned(
    given: PathLike | bytes | None, environ: Mapping[str, str], found: AppConfig | None
) -> Trust | None:
    if isinstance(given, bytes):
        return _parse(given, "trust")
    named = os.fspath(given) if given is not None else environ.get("MODELSEAL_TRUST")
    if named:
        return _parse(config.read_trust(named, Path()), named)
    if found is None or found.trust is None:
        return None
    return _parse(found.trust, str(found.path))


def _parse(data: bytes, path: str) -> Trust:
    try:
        return trusts.parse(data)
    except InvalidBytes as error:
        raise type(error)(error.detail, path=path[:200]) from None


def _product(found: AppConfig | None, pinned: Trust | None) -> str | None:
    named = None if found is None else found.product
    if named is not None and pinned is not None and named != pinned.product:
        raise ConfigInvalid(
            f"the trust is for the product '{pinned.product}', not for '{named}'",
            path=str(found.path) if found else None,
        )
    return named or (None if pinned is None else pinned.product)
