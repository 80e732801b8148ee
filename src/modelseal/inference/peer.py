"""The other side of a connection: where it is, what its refusals mean, whether it is still there.

Everything here comes from a peer that may be hostile; what it says of licenses and inputs counts
only once it was proved.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from modelseal import errors, strict_json
from modelseal.errors import (
    AnswerInvalid,
    ConfigInvalid,
    InvalidBytes,
    ModelsealError,
    RateLimited,
    ServerFailed,
    ServerUnreachable,
)

_MAX_SMALL_BYTES = 1 << 20
_OTHERS_FAULT = (InvalidBytes, errors.InternalError)


@dataclass(frozen=True, slots=True)
class Place:
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Place:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        plain = not (parts.username or parts.query or parts.fragment)
        if (
            parts.scheme != "https"
            or not parts.hostname
            or not plain
            or parts.path not in ("", "/")
        ):
            raise ConfigInvalid("an inference service is https://host:port")
        return cls(parts.hostname, port or 443)

    def connection(
        self, context: ssl.SSLContext, seconds: float, proxies: Mapping[str, str]
    ) -> http.client.HTTPSConnection:
        """Not connected yet; through the proxy of the environment, which only passes bytes on."""
        proxy = proxies.get("https")
        if proxy and not urllib.request.proxy_bypass(self.host):
            parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
            made = http.client.HTTPSConnection(
                parts.hostname or "", parts.port or 3128, timeout=seconds, context=context
            )
            made.set_tunnel(self.host, self.port)
            return made
        return http.client.HTTPSConnection(self.host, self.port, timeout=seconds, context=context)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


def is_quiet(opened: http.client.HTTPSConnection) -> bool:
    """False once the other side has closed an idle connection, or said something unasked."""
    if opened.sock is None:
        return False
    try:
        opened.sock.settimeout(0)
        try:
            opened.sock.recv(1)
            return False
        except (ssl.SSLWantReadError, BlockingIOError):
            return True
        finally:
            opened.sock.settimeout(opened.timeout)
    except (OSError, ValueError):
        return False


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, proved: bool
) -> ModelsealError:
    """Our error for what a service answered in place of a result.

    Only one that was proved may speak of licenses and inputs.
    """
    try:
        found = json_of(body[:_MAX_SMALL_BYTES])
    except AnswerInvalid:
        found = None
    said = found if isinstance(found, dict) else {}
    detail = str(said.get("error", f"status {status}"))
    kind = errors.by_code(str(said.get("code", "")))
    if kind is not None and issubclass(kind, RateLimited):
        wait = headers.get("retry-after", "")
        seconds = int(wait) if wait.isdecimal() and len(wait) < 6 else None
        return RateLimited(detail[:300], retry_after_seconds=seconds)
    may = errors.ModelsealError if proved else errors.EvidenceUnavailable
    if kind is None or not issubclass(kind, may) or issubclass(kind, _OTHERS_FAULT):
        return ServerFailed(detail[:300], status=status)
    return kind(detail[:300])


def json_of(body: bytes) -> Any:
    try:
        return strict_json.decode(body, max_bytes=_MAX_SMALL_BYTES)
    except InvalidBytes:
        raise AnswerInvalid("an answer that is no strict JSON") from None


def unreachable(error: Exception, server: str) -> ModelsealError:
    if isinstance(error, ssl.SSLError):
        return ServerUnreachable("no TLS 1.3 there", server=server, saw=error.reason or "TLS")
    if isinstance(error, TimeoutError):
        return ServerUnreachable("no answer in time", server=server)
    said = getattr(error, "strerror", None) or str(error)[:120] or type(error).__name__
    return ServerUnreachable(said, server=server)
