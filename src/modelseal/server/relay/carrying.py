"""A sync over a line: questions to the license server, its answers and documents back.

``Line`` is the port to the server. ``carry`` puts one question there as the device would have;
``bring`` and ``bring_models`` fetch what is not held yet. The same acts serve a relay with a line
and the courier of one without (``files``).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from modelseal.errors import (
    CatalogInvalid,
    DiskFull,
    DownloadDamaged,
    InternalError,
    InvalidBytes,
    RateLimited,
    RequestReplayed,
    ServerFailed,
    StateNotWritable,
)
from modelseal.license import jws
from modelseal.server.relay import documents
from modelseal.server.relay.box import Document, Question, Reply
from modelseal.strict_json import unb64u

MAX_DOCUMENT_BYTES = 16 << 20
_MAX_ROOTS = 1024
Keep = Callable[[Document], object]
_PATIENCE = 30
_LONGEST_WAIT_SECONDS = 30.0
_PROBLEM = "application/problem+json"
_HANDED_ONCE = frozenset({"store_behind"})
"""Of what a server cannot do now, what only the device can do something about."""


class Answered(Protocol):
    """An answer of the server, read whole."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def media_type(self) -> str: ...


class Line(Protocol):
    """A line to the license server. Raises ``Unavailable`` errors and ``AnswerInvalid``."""

    def exchange(
        self, method: str, path: str, *, body: bytes | None = None,
        headers: Mapping[str, str] | None = None, max_bytes: int = MAX_DOCUMENT_BYTES,
    ) -> Any:  # fmt: skip
        """The answer to one request, whatever its status."""
        ...

    def stream(self, url: str) -> contextlib.AbstractContextManager[Any]:
        """An answer with ``status`` and ``chunks``, body unread."""
        ...


def carry(line: Line, asked: Question) -> Reply | None:
    """What the server says to the question; None when it wants another sending of it.

    Raises ``RateLimited`` and ``ServerFailed``: then nothing was decided and it is carried again,
    ``InternalError`` where the server failed at this one question.
    """
    answer = line.exchange(
        asked.method, asked.path, body=asked.token,
        headers={"Content-Type": _media(asked), "Idempotency-Key": asked.nonce},
        max_bytes=MAX_DOCUMENT_BYTES,
    )  # fmt: skip
    status, media, body = answer.status, answer.media_type, answer.body
    if 200 <= status < 300 and media == "application/json":
        return Reply(status, media, body, final=True, device=_device(asked, body))
    problem = _problem(media, body)
    if problem is None:
        raise ServerFailed("an answer that is no license server's", status=status)
    if isinstance(problem.get("denial"), str):
        return Reply(status, media, body, final=True, device=_device(asked, body))
    if status == 429:
        wait = answer.headers.get("retry-after", "")
        raise RateLimited(
            "the license server wants fewer questions at once",
            retry_after_seconds=int(wait) if wait.isdecimal() and len(wait) < 5 else 5,
        )
    if status == 409 and problem.get("code") == RequestReplayed.code:
        return None
    if status == 500:
        raise InternalError("the server failed at a question")
    if status >= 500 and problem.get("code") not in _HANDED_ONCE:
        raise ServerFailed(str(problem.get("detail", ""))[:120], status=status)
    return Reply(status, media, body, final=False, device=_device(asked, body))


def is_act(path: str) -> bool:
    """True for the address where the server books what a relay gave."""
    return path.startswith("/v1/relays/")


def _media(asked: Question) -> str:
    return "application/json" if is_act(asked.path) else "application/jwt"


def carry_all(
    line: Line,
    questions: Iterable[Question],
    keep: Callable[[Question, Reply | None], None],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """How many of ``questions`` the server failed at; ``keep`` got what it said to the others.

    Waits where the server wants that. After an act at which it failed no later one is sent: acts
    follow one another. Raises ``Unavailable`` errors; what was kept stands.
    """
    failed, stopped = 0, False
    for asked in questions:
        if stopped and is_act(asked.path):
            failed += 1
            continue
        for left in reversed(range(_PATIENCE)):
            try:
                keep(asked, carry(line, asked))
                break
            except InternalError:
                failed, stopped = failed + 1, stopped or is_act(asked.path)
                break
            except RateLimited as error:
                if not left:
                    raise
                wait = error.params.get("retry_after_seconds")
                sleep(min(wait if isinstance(wait, int) else 5, _LONGEST_WAIT_SECONDS))
    return failed


def _problem(media: str, body: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(body) if media == _PROBLEM else None
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None


def _device(asked: Question, body: bytes) -> str | None:
    """The device id that the question names, or the answer to an activation."""
    with contextlib.suppress(msgspec.DecodeError, InvalidBytes, AttributeError):
        found = msgspec.json.decode(body).get("device_id")
        named = found or jws.parse(asked.token, max_bytes=len(asked.token)).payload.get("sub")
        return named if isinstance(named, str) else None
    return None


def named_in(reply: Reply) -> list[str]:
    """The status list and the key bundle that the lease in an answer names."""
    found: list[str] = []
    with contextlib.suppress(
        msgspec.DecodeError, InvalidBytes, AttributeError, TypeError, LookupError
    ):
        lease = msgspec.json.decode(reply.body)["lease"]
        claims = jws.parse(lease, max_bytes=1 << 20).payload
        found.append(urlsplit(str(claims["status"]["uri"])).path)
        if claims.get("bundle"):
            found.append(f"/v1/bundles/{unb64u(claims['bundle']['digest']).hex()}")
    return [path for path in found if documents.is_wanted(path)]


class _Bringing:
    """One look at what the server serves; ``keep`` gets what is brought, the timestamp last."""

    def __init__(self, line: Line, held: Collection[str], keep: Keep) -> None:
        self._line, self._held, self._keep = line, held, keep
        self._brought: dict[str, bytes] = {}

    def fetch(self, path: str) -> bool:
        """False when the server has none."""
        if path in self._brought:
            return True
        answer = self._line.exchange("GET", path, max_bytes=MAX_DOCUMENT_BYTES)
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise ServerFailed("a document did not come", status=answer.status)
        self._brought[path] = answer.body
        # The timestamp leads to the rest, which must be there before it counts.
        if path != documents.TIMESTAMP:
            self._keep(Document(path, answer.media_type, answer.body))
        return True

    def catalog(self) -> None:
        """Every role that the newest timestamp leads to, the key list, and roots not held."""
        try:
            for path in documents.catalog_after(self._read):
                if path not in self._held:
                    self._read(path)
        except (msgspec.DecodeError, LookupError, TypeError, ValueError):
            raise CatalogInvalid("the catalog has an unknown form") from None
        for number in range(1, _MAX_ROOTS):
            path = f"/v1/catalog/{number}.root.json"
            if path not in self._held and not self.fetch(path):
                return

    def end(self) -> None:
        """The catalog's timestamp counts from now on."""
        timestamp = self._brought[documents.TIMESTAMP]
        self._keep(Document(documents.TIMESTAMP, "application/json", timestamp))

    def _read(self, path: str) -> bytes:
        if not self.fetch(path):
            raise CatalogInvalid("the server lists what it does not have")
        return self._brought[path]


def bring(line: Line, held: Collection[str], wanted: Collection[str], keep: Keep) -> None:
    """``keep`` got every document that changes, and those of the rest that are not ``held``."""
    act = _Bringing(line, held, keep)
    act.catalog()
    changing = [path for path in held if documents.is_wanted(path)]
    for path in dict.fromkeys((*documents.KNOWN, *changing, *wanted)):
        if path not in held or not documents.is_fixed(path):
            act.fetch(path)
    act.end()


def bring_models(
    line: Line, digests: Collection[str], into: Path, held: Collection[str]
) -> list[str]:
    """The sealed models of ``digests`` that were not ``held`` lie in ``into``, each whole."""
    brought = []
    for digest in digests:
        if digest in held:
            continue
        with line.stream(f"/v1/blobs/{digest}") as answer:
            if answer.status != 200:
                raise ServerFailed("a sealed model did not come", status=answer.status)
            keep_model(answer.chunks, digest, into)
        brought.append(digest)
    return brought


def keep_model(pieces: Iterator[bytes], digest: str, into: Path) -> None:
    """``pieces`` lie in ``into`` under their digest; ``DownloadDamaged`` when it is another."""
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=".new.", dir=into)
        temporary, known = Path(name), hashlib.sha256()
        with os.fdopen(handle, "wb") as out:
            for piece in pieces:
                known.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        if known.hexdigest() != digest:
            raise DownloadDamaged("other bytes than its digest", name=digest[:16])
        temporary.replace(into / digest)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull("no room for a sealed model", path=str(into)) from None
        raise StateNotWritable(error.strerror or "", path=str(into)) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
