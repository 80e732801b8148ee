"""The identity provider's signing keys: fetched over HTTPS, kept for an hour, looked for seldom.

Only the configured issuer is asked. Where its keys lie it says itself; when that is another host,
that host has a public address. Nothing is redirected and no proxy is asked.
"""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelseal import strict_json
from modelseal.errors import ConfigInvalid, ProviderUnavailable, SignInKeyUnknown
from modelseal.server.services import idtoken, outgoing
from modelseal.server.services.config import SignInConfig
from modelseal.server.services.idtoken import ProviderKey
from modelseal.strict_json import JsonInvalid

KEPT = timedelta(hours=1)
NEW_KEY = timedelta(seconds=30)
"""For a key id that nobody knows the provider is asked again this often at most."""
FAILED = timedelta(seconds=5)
_DEADLINE_SECONDS = 10.0
_PATIENCE_SECONDS = 1.0
"""A provider that hangs holds one worker thread; others wait this long for it."""
_ANYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


class Provider:
    """The keys of one issuer, for any thread."""

    def __init__(self, config: SignInConfig, folder: Path, clock: Callable[[], datetime]) -> None:
        self._config, self._clock = config, clock
        self._tls = _tls(config.ca, folder)
        self._guard = threading.Lock()
        self._keys: Sequence[ProviderKey] = ()
        self._known_at: datetime | None = None
        self._failed_at: datetime | None = None

    def keys_for(self, parts: idtoken.Parts) -> Sequence[ProviderKey]:
        """Keys among which the token's is, if the provider has it.

        Raises ``ProviderUnavailable`` when there are none that count and none can be had.
        """
        if not self._guard.acquire(timeout=_PATIENCE_SECONDS):
            raise ProviderUnavailable("the provider is being asked and does not answer")
        try:
            now = self._clock()
            age = None if self._known_at is None else now - self._known_at
            if (
                age is None
                or not timedelta() <= age < KEPT
                or (age >= NEW_KEY and not self._has(parts))
            ):
                self._fetch(now)
            return self._keys
        finally:
            self._guard.release()

    def _has(self, parts: idtoken.Parts) -> bool:
        try:
            idtoken.key_for(parts, self._keys)
        except SignInKeyUnknown:
            return False
        return True

    def _fetch(self, now: datetime) -> None:
        failed = self._failed_at
        if failed is not None and timedelta() <= now - failed < FAILED:
            raise ProviderUnavailable("the provider did not answer a moment ago")
        try:
            keys = idtoken.keys_of(self._get(self._config.jwks_uri or self._discovered()))
        except JsonInvalid as error:
            self._failed_at = now
            raise ProviderUnavailable(f"the provider's answer: {error.detail}") from None
        except ProviderUnavailable:
            self._failed_at = now
            raise
        self._keys, self._known_at, self._failed_at = keys, now, None

    def _discovered(self) -> str:
        issuer = self._config.issuer
        document = self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        found: Any = strict_json.decode(document, max_bytes=len(document))
        if not isinstance(found, dict) or found.get("issuer") != issuer:
            raise ProviderUnavailable("the provider calls itself by another name")
        where = found.get("jwks_uri")
        if not isinstance(where, str) or not where.startswith("https://"):
            raise ProviderUnavailable("the provider names no https address of its keys")
        return where

    def _get(self, url: str) -> bytes:
        configured = (self._config.issuer, self._config.jwks_uri or self._config.issuer)
        near = _origin(url) in map(_origin, configured)
        found = outgoing.get(
            url, named=_ANYWHERE if near else (), tls=self._tls, deadline_seconds=_DEADLINE_SECONDS
        )
        if found.status != 200:
            why = found.failure or f"status {found.status}"
            raise ProviderUnavailable(f"the provider cannot be asked: {why}")
        return found.body


def _origin(url: str) -> tuple[str, str | None, int]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or 443
    except ValueError:
        return "", None, 0


def _tls(ca: str | None, folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(cafile=str(folder / ca))
        except (OSError, ValueError) as error:
            raise ConfigInvalid(
                f"sign_in.ca: no certificate: {type(error).__name__}", path=str(folder / ca)
            ) from None
    return context
