"""HTTP, as the client needs it: one exchange with the license server, and one long download.

``Transport`` is the port; ``HttpTransport`` the real one over httpx, which is imported at first
use. It honours the proxy variables and the system's trust store, adds the authority pinned in
``trust.json`` and the one given as ``ca``, follows no redirect, and turns every failure into an
error that says what it saw and decides nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol
from urllib.parse import urlsplit

from modelseal.errors import (
    AnswerInvalid,
    CertificateInvalid,
    ConfigInvalid,
    ModelsealError,
    ServerUnreachable,
)

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_ANSWER_BYTES = 4 << 20
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Where to and whom to believe: server URL, PEM text pinned in the trust, extra CA file."""

    server: str
    pinned_ca: str | None = None
    extra_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case names) and whole body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def media_type(self) -> str:
        """The bare media type, lower case, '' when there is none."""
        return self.headers.get("content-type", "").split(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body is read piece by piece."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes] = field(repr=False)


class Transport(Protocol):
    """Bytes to the server and back. Raises only ``Unavailable`` errors and ``AnswerInvalid``."""

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """The answer to one request, whatever its status, within about ``seconds``."""
        ...

    def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None
    ) -> contextlib.AbstractContextManager[Stream]:
        """An answer to ``GET url`` (a path of the server or a whole URL), body unread."""
        ...

    def close(self) -> None:
        """Connections are given back."""
        ...


def user_agent() -> str:
    """``modelseal/<version>``, nothing about the computer."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"modelseal/{version('modelseal')}"
    except PackageNotFoundError:  # pragma: no cover - only in odd frozen programs
        return "modelseal"


class HttpTransport:
    """See ``Transport``. Safe for several threads."""

    def __init__(
        self, settings: TransportSettings, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        import httpx

        self._httpx = httpx
        self._settings = settings
        self._monotonic = monotonic
        try:
            self._client = httpx.Client(
                verify=_tls(settings),
                headers={"User-Agent": user_agent(), "Accept-Encoding": "identity"},
                follow_redirects=False,
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            )
        except ModelsealError:
            raise
        except Exception as error:  # noqa: BLE001 - an odd proxy variable raises many kinds
            raise ConfigInvalid(f"the proxy settings cannot be used: {error}"[:200]) from None

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """See ``Transport``."""
        deadline = self._monotonic() + seconds
        timeout = self._httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        url = self._url(path)
        with self._translated(url):
            with self._client.stream(
                method, url, content=body, headers=dict(headers or {}), timeout=timeout
            ) as response:
                read = self._read(response, deadline, max_bytes)
            return Answer(response.status_code, _headers(response), read)

    @contextlib.contextmanager
    def stream(self, url: str, *, headers: Mapping[str, str] | None = None) -> Iterator[Stream]:
        """See ``Transport``."""
        url = self._url(url)
        with (
            self._translated(url),
            self._client.stream("GET", url, headers=dict(headers or {})) as response,
        ):
            yield Stream(response.status_code, _headers(response), response.iter_raw())

    def close(self) -> None:
        """See ``Transport``."""
        self._client.close()

    def _url(self, path: str) -> str:
        return self._settings.server + path if path.startswith("/") else path

    def _read(self, response: httpx.Response, deadline: float, max_bytes: int) -> bytes:
        parts, size = [], 0
        for chunk in response.iter_raw():  # as it comes: gathered chunks would hide a trickle
            size += len(chunk)
            if size > max_bytes:
                raise AnswerInvalid(f"the answer is longer than {max_bytes} bytes")
            if self._monotonic() > deadline:
                raise ServerUnreachable("the answer took too long", server=self._settings.server)
            parts.append(chunk)
        return b"".join(parts)

    @contextlib.contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        try:
            yield
        except self._httpx.HTTPError as error:
            _refuse(error, url)
        except (self._httpx.InvalidURL, self._httpx.StreamError) as error:
            raise ServerUnreachable(type(error).__name__, server=_place(url)) from None


def _refuse(error: httpx.HTTPError, url: str) -> NoReturn:
    import ssl

    import httpx

    server = _place(url)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise CertificateInvalid(cause.verify_message or "not trusted", server=server) from None
        if isinstance(cause, ssl.SSLError):
            said = "no TLS there, or something in between breaks it"
            raise ServerUnreachable(said, server=server, saw=cause.reason or "TLS") from None
    if isinstance(error, httpx.ProxyError):
        raise ServerUnreachable(f"the proxy refused: {error}"[:200], server=server) from None
    if isinstance(error, httpx.TimeoutException):
        raise ServerUnreachable("no answer in time", server=server) from None
    said = str(error)[:120] or type(error).__name__
    raise ServerUnreachable(said, server=server) from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or at.__context__


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _headers(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _tls(settings: TransportSettings) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()  # the system's trust store, SSL_CERT_FILE included
    try:
        if settings.pinned_ca is not None:
            context.load_verify_locations(cadata=settings.pinned_ca)
        if settings.extra_ca is not None:
            context.load_verify_locations(cafile=str(settings.extra_ca))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        said = getattr(error, "strerror", None) or "no certificate in PEM form"
        path = str(settings.extra_ca) if settings.extra_ca else "trust.json"
        raise ConfigInvalid(
            f"the certificate authority cannot be read: {said}", path=path
        ) from None
    return context
