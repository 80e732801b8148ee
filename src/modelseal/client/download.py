"""Fetching one sealed model: resumable, verified chunk by chunk, from several mirrors.

The target gets its name only when everything holds; until then the verified beginning waits in a
hidden temporary file beside it, for this run or a later one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from modelseal.client import answers, lock
from modelseal.client.folder import translate
from modelseal.client.partial import Expected, Partial
from modelseal.client.pulled import Progress
from modelseal.client.transport import Answer, Stream, Transport
from modelseal.errors import (
    DiskFull,
    DownloadDamaged,
    InvalidBytes,
    ModelsealError,
    ServerFailed,
    ServerUnreachable,
    StateBusy,
    StateNotWritable,
)

_TRIES_WITHOUT_PROGRESS = 2
_PAGE_BYTES = 65536
_ROOM_BYTES = 64 * 1024
_PACE_SECONDS = 60.0
_PACE_BYTES = 64 * 1024


def fetch(
    expected: Expected,
    target: Path,
    *,
    transport: Transport,
    urls: Sequence[str],
    monotonic: Callable[[], float],
    progress: Progress | None = None,
) -> None:
    """``target`` is the sealed model that ``expected`` describes, every chunk verified.

    ``urls`` are tried in order, each as long as it brings verified bytes, and enough of them in a
    minute by ``monotonic``. Raises the container's
    errors for a front that is not acceptable (``WrongPublisher``, ``ReleaseTooOld``, ...),
    ``DownloadDamaged`` for bytes that do not hold, ``Unavailable`` errors, ``DiskFull``. Whatever
    it raises, an old ``target`` is untouched and verified bytes are kept for the next call.
    """
    part = target.parent / f".{target.name}.{expected.digest[:16]}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _opened(part) as file:
            _fill(file, expected, transport, urls, _Pace(monotonic), progress)
            if os.name == "posix":
                part.replace(target)  # still under the lock
        if os.name != "posix":
            part.replace(target)
        _sync_folder(target.parent)
    except FileExistsError:
        raise StateNotWritable("not a folder", path=str(target.parent)) from None
    except OSError as error:
        problem = translate(error, target, writing=True)
        if isinstance(problem, DiskFull):
            _leave_room(part)
        raise problem from None


def place(url: str) -> str:
    """Whose address it is, without a path or query that may open something."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _leave_room(part: Path) -> None:
    """A full disk is left with room for a lease: the state folder may lie on it too."""
    with contextlib.suppress(OSError):
        os.truncate(part, max(part.stat().st_size - _ROOM_BYTES, 0))


class _Pace:
    """Notices a mirror that trickles, so that the next one is tried."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.start()

    def start(self) -> None:
        """A new answer begins."""
        self._since, self._bytes, self.too_slow = self._monotonic(), 0, False

    def count(self, size: int, url: str) -> None:
        """``size`` more bytes came; ``ServerUnreachable`` when a minute brought hardly any."""
        self._bytes += size
        now = self._monotonic()
        if now - self._since < _PACE_SECONDS:
            return
        if self._bytes < _PACE_BYTES:
            self.too_slow = True
            raise ServerUnreachable("the download trickles", server=place(url))
        self._since, self._bytes = now, 0


def _fill(
    file: BinaryIO,
    expected: Expected,
    transport: Transport,
    urls: Sequence[str],
    pace: _Pace,
    progress: Progress | None,
) -> None:
    partial = Partial(file, expected)
    partial.resume()
    problems: list[ModelsealError] = []
    for url in urls:
        if partial.complete:
            break
        problem = _from_mirror(partial, expected, transport, url, pace, progress)
        if problem is not None:
            problems.append(problem)
    if not partial.complete:
        raise _telling(problems)
    try:
        partial.check_digest()
    except DownloadDamaged:
        file.truncate(0)
        raise
    if progress is not None:
        progress(partial.done, expected.size_bytes, expected.name)
    partial.add_trailer()
    partial.flush()


def _from_mirror(
    partial: Partial,
    expected: Expected,
    transport: Transport,
    url: str,
    pace: _Pace,
    progress: Progress | None,
) -> ModelsealError | None:
    """Takes what this mirror gives; returns its problem when it brings nothing more."""
    tries = 0
    etag: str | None = None
    while not partial.complete:
        before = partial.done
        problem: ModelsealError | None = None
        try:
            etag = _one_request(partial, expected, transport, url, etag, pace, progress)
            problem = ServerUnreachable("the download ended early", server=place(url))
        except ModelsealError as error:
            problem = error
        finally:
            partial.drop_unverified()
        if partial.complete:
            return None
        tries = 0 if partial.done > before else tries + 1
        if isinstance(problem, InvalidBytes) or pace.too_slow or tries >= _TRIES_WITHOUT_PROGRESS:
            return problem
    return None


def _one_request(
    partial: Partial,
    expected: Expected,
    transport: Transport,
    url: str,
    etag: str | None,
    pace: _Pace,
    progress: Progress | None,
) -> str | None:
    """One GET from the first missing byte on; the answer's strong ETag."""
    headers = {}
    if partial.done:
        headers["Range"] = f"bytes={partial.done}-"
        if etag is not None:
            headers["If-Range"] = etag
    with transport.stream(url, headers=headers) as stream:
        skip = _check_start(stream, partial, expected)
        pace.start()
        for chunk in stream.chunks:
            pace.count(len(chunk), url)
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            partial.feed(chunk[skip:])
            skip = 0
            if progress is not None:
                progress(partial.done, expected.size_bytes, expected.name)
            if partial.complete:
                break
        found = stream.headers.get("etag")
    return found if found is not None and found.startswith('"') else None


def _check_start(stream: Stream, partial: Partial, expected: Expected) -> int:
    """How many bytes of this answer to skip; raises unless it begins where it should."""
    if stream.status == 206:
        wanted = f"bytes {partial.done}-{expected.size_bytes - 1}/{expected.size_bytes}"
        if stream.headers.get("content-range", "").strip() != wanted:
            raise DownloadDamaged("the mirror sent another range", name=expected.name)
        return 0
    if stream.status == 200:
        answer = Answer(200, stream.headers)
        if answer.media_type in ("text/html", "application/xhtml+xml"):
            raise answers.unsigned(_with_body(stream), "")
        return partial.done
    answer = _with_body(stream)
    answers.require(answer, server="")
    raise ServerFailed("an unexpected status", status=stream.status)


def _with_body(stream: Stream) -> Answer:
    body = bytearray()
    for chunk in stream.chunks:
        body += chunk
        if len(body) > _PAGE_BYTES:
            break
    return Answer(stream.status, stream.headers, bytes(body[:_PAGE_BYTES]))


def _telling(problems: Sequence[ModelsealError]) -> ModelsealError:
    """The problem that says most: bad bytes before an outage, the first of its kind."""
    bad = [problem for problem in problems if isinstance(problem, InvalidBytes)]
    return next(iter([*bad, *problems]), ServerUnreachable("no mirror is named"))


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[BinaryIO]:
    """The temporary file, open and ours alone; ``StateBusy`` while another process fetches it."""
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_CLOEXEC", "O_BINARY", "O_NOFOLLOW"):
        flags |= getattr(os, name, 0)
    handle = os.open(part, flags, 0o644)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        if os.name == "posix" and not (lock.try_lock(handle) and _is_named(handle, part)):
            raise StateBusy("another process downloads this file", path=str(part))
        yield file


def _is_named(handle: int, path: Path) -> bool:
    """False when the file was renamed to its final name between opening and locking it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
