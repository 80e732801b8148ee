"""HTTPS to a license server's admin calls: one request, one answer, every failure ours.

Honours the proxy variables and the system's trust store, adds the authority pinned in
``trust.json`` and the one given as ``ca``, follows no redirect and never sends the token over plain
HTTP but to this computer itself.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx
import msgspec

from modelseal.errors import (
    AnswerInvalid,
    AnswerUnsigned,
    CertificateInvalid,
    ConfigInvalid,
    Misuse,
    ModelsealError,
    RateLimited,
    ServerFailed,
    ServerUnreachable,
    by_code,
)
from modelseal.hosts import is_loopback

MAX_ANSWER_BYTES = 16 << 20
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_PROBLEM = "application/problem+json"


class _Problem(msgspec.Struct, frozen=True):
    """RFC 9457; members this release does not know are ignored."""

    detail: str = ""
    code: str = ""
    params: dict[str, Any] = {}
    reference: str | None = None


class Channel:
    """A connection to the server at ``url`` with an admin token; None for calls without one."""

    def __init__(
        self, url: str, token: str | None, *, pinned_ca: str | None, ca: Path | None
    ) -> None:
        self.server = check_url(url)
        headers = {"Accept": "application/json"}
        if token is not None:
            if not token or not token.isascii() or not token.isprintable() or " " in token:
                raise Misuse("the access token is empty or holds odd characters")
            headers["Authorization"] = f"Bearer {token}"
        try:
            self._client = httpx.Client(
                base_url=self.server,
                headers=headers,
                verify=trusting(pinned_ca, ca),
                timeout=_TIMEOUT,
                follow_redirects=False,
            )
        except ModelsealError:
            raise
        except Exception as error:  # noqa: BLE001 - an odd proxy variable raises many kinds
            raise ConfigInvalid(f"the proxy settings cannot be used: {error}"[:200]) from None

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        body: object = None,
        content: Iterable[bytes] | None = None,
        length_bytes: int | None = None,
    ) -> bytes:
        """The body of a 2xx JSON answer.

        ``body`` is sent as JSON; ``content`` of ``length_bytes`` as it is. Raises the error that
        the server's problem document names, ``AnswerUnsigned`` for what no license server says,
        ``ServerUnreachable``, ``CertificateInvalid``, ``ServerFailed``, ``RateLimited``.
        """
        params = {name: value for name, value in (query or {}).items() if value is not None}
        headers = {}
        data: bytes | Iterable[bytes] | None = content
        if content is not None:
            headers = {"Content-Type": "application/octet-stream"}
            headers["Content-Length"] = str(length_bytes)
        elif body is not None:
            data = msgspec.json.encode(body)
            headers = {"Content-Type": "application/json"}
        with (
            self._translated(),
            self._client.stream(
                method, path, params=params, content=data, headers=headers
            ) as answer,
        ):
            return self._read(answer)

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of a long answer, one by one, without their ends."""
        with self._translated(), self._client.stream("GET", path) as answer:
            if answer.status_code != 200:
                self._read(answer)
            rest = b""
            for chunk in answer.iter_bytes():
                *whole, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_ANSWER_BYTES:
                    raise AnswerInvalid("a line of the answer is too long")
                yield from (line for line in whole if line)
            if rest:
                yield rest

    def close(self) -> None:
        """Connections are given back."""
        self._client.close()

    def _read(self, answer: httpx.Response) -> bytes:
        parts, size = [], 0
        for chunk in answer.iter_bytes():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise AnswerInvalid("the answer is too long", server=self.server)
            parts.append(chunk)
        body = b"".join(parts)
        media = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        if 200 <= answer.status_code < 300 and media == "application/json":
            return body
        if media == _PROBLEM:
            raise self._problem(answer, body)
        if answer.status_code >= 500:
            raise ServerFailed("no problem document", status=answer.status_code, server=self.server)
        raise AnswerUnsigned(
            f"status {answer.status_code}, a {media or 'nameless'} page",
            server=self.server,
            status=answer.status_code,
        )

    def _problem(self, answer: httpx.Response, body: bytes) -> ModelsealError:
        try:
            problem = msgspec.json.decode(body, type=_Problem)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return AnswerUnsigned("no problem document", server=self.server)
        wait = answer.headers.get("retry-after", "")
        params = {str(name): value for name, value in problem.params.items() if name != "detail"}
        if wait.isascii() and wait.isdigit() and len(wait) < 7:
            params["retry_after_seconds"] = int(wait)
        cls = by_code(problem.code)
        if answer.status_code == 429:
            cls = RateLimited
        if cls is None or cls is ModelsealError:
            return ServerFailed(
                problem.detail[:200],
                reference=problem.reference,
                status=answer.status_code,
                server=self.server,
            )
        params.pop("reference", None)
        return cls(problem.detail[:500], reference=problem.reference, **params)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            _refuse(error, self.server)
        except (httpx.InvalidURL, httpx.StreamError) as error:
            raise ServerUnreachable(type(error).__name__, server=self.server) from None


def check_url(url: str) -> str:
    """``url`` without its last slash; ``Misuse`` for plain HTTP to another computer."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise Misuse("the server is an https:// address", server=url[:200]) from None
    if parts.scheme not in ("https", "http") or not host or parts.query or parts.fragment:
        raise Misuse("the server is an https:// address", server=url[:200])
    if parts.username is not None or parts.password is not None:
        raise Misuse("an address holds no credentials", server=host)
    if parts.scheme == "http" and not is_loopback(host):
        raise Misuse("an access token goes over https only", server=host)
    return url.rstrip("/")


def trusting(pinned_ca: str | None, ca: Path | None) -> ssl.SSLContext:
    """The system's authorities, the pinned one and that in the file ``ca``; ``ConfigInvalid``."""
    context = ssl.create_default_context()
    try:
        if pinned_ca is not None:
            context.load_verify_locations(cadata=pinned_ca)
        if ca is not None:
            context.load_verify_locations(cafile=str(ca))
    except (OSError, ValueError) as error:
        where = str(ca) if ca is not None else "trust.json"
        raise ConfigInvalid(f"no certificate: {type(error).__name__}", path=where) from None
    return context


def _refuse(error: httpx.HTTPError, server: str) -> NoReturn:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            said = cause.verify_message or "not trusted"
            raise CertificateInvalid(said, server=server) from None
        cause = cause.__cause__ or cause.__context__
    raise ServerUnreachable(type(error).__name__, server=server) from None
