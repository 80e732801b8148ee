"""One call to an address of the publisher's: resolved once, pinned, bounded, never redirected.

No proxy is asked. Of the answer to a POST the status is all that counts; a GET reads its body.
"""

from __future__ import annotations

import functools
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore

from modelseal.server.services import addresses
from modelseal.server.services.addresses import Network

DEADLINE_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
_MAX_ANSWER_BYTES = 64 * 1024
_SLOWEST_RETRY = 86400
_MAX_ADDRESSES = 3
_AUTHORITIES_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of it: a status, or in ``failure`` one word that says why there is none."""

    status: int | None = None
    failure: str | None = None
    retry_after_seconds: int | None = None
    body: bytes = b""


class AddressRefused(Exception):
    """The name leads to an address that is not called."""


class _TooSlow(httpcore.TimeoutException):
    """The whole call took too long, however lively it was."""


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    named: Sequence[Network] = (),
    tls: ssl.SSLContext | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Posted:
    """``body`` sent to ``url``. Plain HTTP goes to ``named`` networks only.

    Never raises for what the other side or the network does.
    """
    return _call("POST", url, body, headers, named, tls, deadline_seconds)


def get(
    url: str,
    *,
    named: Sequence[Network] = (),
    tls: ssl.SSLContext | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Posted:
    """What lies at ``url``, at most 64 KiB with its headers. Never raises like ``post``."""
    headers = {"Accept": "application/json"}
    return _call("GET", url, b"", headers, named, tls, deadline_seconds)


def _call(
    method: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    named: Sequence[Network],
    tls: ssl.SSLContext | None,
    deadline_seconds: float,
) -> Posted:
    secure = url.startswith("https://")
    backend = _Pinned(named, time.monotonic() + deadline_seconds, secure=secure)
    limits = dict.fromkeys(("connect", "read", "write", "pool"), deadline_seconds)
    limits["connect"] = min(_CONNECT_SECONDS, deadline_seconds)
    context = (tls or authorities(time.monotonic())) if secure else None
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=context, max_connections=1, retries=0, network_backend=backend
            ) as pool,
            pool.stream(
                method, url, headers=list(headers.items()), content=body or None,
                extensions={"timeout": limits},
            ) as answer,
        ):  # fmt: skip
            told = answer.read() if method == "GET" and answer.status == 200 else b""
            return Posted(answer.status, None, _retry_after(answer.headers), told)
    except AddressRefused:
        return Posted(failure="address_refused")
    except socket.gaierror:
        return Posted(failure="name_unknown")
    except ssl.SSLError:
        return Posted(failure="tls_failed")
    except httpcore.TimeoutException:
        return Posted(failure="timed_out")
    except httpcore.ConnectError as error:
        tls_failed = isinstance(error.__cause__ or error.__context__, ssl.SSLError)
        return Posted(failure="tls_failed" if tls_failed else "no_connection")
    except (httpcore.ProtocolError, UnicodeError, ValueError):
        return Posted(failure="answer_invalid")
    except (httpcore.NetworkError, OSError):
        return Posted(failure="no_connection")


def authorities(now_seconds: float) -> ssl.SSLContext:
    """The system's, read once an hour of the monotonic clock: there are many, and reading takes
    longer than a call."""
    return _authorities(int(now_seconds // _AUTHORITIES_SECONDS))


@functools.lru_cache(maxsize=1)
def _authorities(_hour: int) -> ssl.SSLContext:
    return ssl.create_default_context()


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) <= 9:
            return min(int(value), _SLOWEST_RETRY)
    return None


class _Pinned(httpcore.NetworkBackend):
    """Connects to the one address that a name had when it was judged."""

    def __init__(self, named: Sequence[Network], deadline: float, *, secure: bool) -> None:
        self._named, self._deadline, self._secure = named, deadline, secure
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        *others, last = self._resolve(host, port)
        for address in others:
            try:
                return self._connected(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connected(last, port, timeout, local_address, socket_options)

    def _connected(self, *asked: Any) -> httpcore.NetworkStream:
        return _Bounded(self._plain.connect_tcp(*asked), self._deadline)

    def connect_unix_socket(self, *_asked: Any, **_more: Any) -> httpcore.NetworkStream:
        raise AddressRefused

    def _resolve(self, host: str, port: int) -> list[str]:
        """The addresses to try for ``host``; every one that it has must be allowed."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        texts = list(dict.fromkeys(str(each[4][0]) for each in found))
        for text in texts:
            address = addresses.parse(text)
            if address is None or not addresses.is_allowed(address, self._named):
                raise AddressRefused
            if not self._secure and not addresses.is_named(address, self._named):
                raise AddressRefused
        if not texts:
            raise AddressRefused
        return texts[:_MAX_ADDRESSES]


class _Bounded(httpcore.NetworkStream):
    """A stream that ends with the call's deadline, and after so many bytes of answer."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float, read: int = 0) -> None:
        self._stream, self._deadline, self._read = stream, deadline, read

    def _left(self, timeout: float | None) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _TooSlow
        return left if timeout is None else min(left, timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, self._left(timeout))
        self._read += len(data)
        if self._read > _MAX_ANSWER_BYTES:
            raise httpcore.RemoteProtocolError("too long an answer")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, self._left(timeout))
        return _Bounded(inner, self._deadline, self._read)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
