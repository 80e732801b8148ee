"""Sealed models by digest in an S3-compatible store, through obstore (the extra ``s3``).

An upload is hashed into a file of the server first and copied into the store whole, so that what
lies there under a digest has it. Sealed bytes are no secret; who may write the bucket may at worst
make downloads fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelseal.errors import (
    ConfigInvalid,
    ContainerTruncated,
    DownloadDamaged,
    ExtraMissing,
    NotFound,
    StorageFailed,
)
from modelseal.server.services.blobs import BlobWriter, is_digest, sweep, translated

_AHEAD_BYTES = 4 << 20
_STEP = 1 << 20
_PART_BYTES = 16 << 20
_RETRY_SECONDS = 20
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bucket is. ``endpoint`` None is the region's own; ``presign_seconds`` 0 never."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str
    presign_seconds: int


def place_of(url: str, *, endpoint: str | None, region: str, presign_seconds: int) -> Place:
    """The place that ``s3://bucket/prefix`` names; ``ConfigInvalid`` for anything else."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.query:
        raise ConfigInvalid("blobs is a bucket like s3://models/facefusion", setting="blobs")
    if endpoint is not None:
        at = urlsplit(endpoint)
        if at.scheme != "https" and not (at.scheme == "http" and at.hostname in _LOOPBACK):
            raise ConfigInvalid("an endpoint begins with https://", setting="blobs_endpoint")
    if not 0 <= presign_seconds <= 7 * 86400:
        raise ConfigInvalid("an address lives at most seven days", setting="blobs_presign_seconds")
    return Place(parts.netloc, parts.path.strip("/"), endpoint, region, presign_seconds)


class BucketBlobs:
    """Like ``blobs.Blobs``, in a bucket; ``incoming`` is the folder for uploads on their way."""

    def __init__(self, place: Place, folder: Path, random: Callable[[int], bytes]) -> None:
        try:
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ImportError:
            raise ExtraMissing("blobs in a bucket need obstore", extra="s3") from None
        self._api, self._base, self._place = obstore, BaseError, place
        self._folder, self._random = folder, random
        settings: dict[str, Any] = {"region": place.region}
        if place.endpoint is not None:
            settings["endpoint"] = place.endpoint
            settings["virtual_hosted_style_request"] = False
        self._store: Any = S3Store(
            place.bucket,
            prefix=place.prefix or None,
            config=settings,
            client_options={"allow_http": (place.endpoint or "").startswith("http://")},
            retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
        )

    def has(self, digest: str) -> bool:
        """True when the blob is there."""
        try:
            return self.size(digest) >= 0
        except NotFound:
            return False

    def was_hashed(self, _digest: str) -> bool:
        """False: what a bucket holds is read again before it is believed."""
        return False

    def size(self, digest: str) -> int:
        """Its length in bytes; ``NotFound`` when there is none of that digest."""
        with self._translated(digest):
            return int(self._store.head(_key(digest))["size"])

    def source(self, digest: str) -> BucketSource:
        """The blob as a source for the container; the caller closes it."""
        size = self.size(digest)

        def fetch(start: int, stop: int) -> bytes:
            with self._translated(digest):
                return bytes(self._store.get_range(_key(digest), start=start, end=stop))

        return BucketSource(size, fetch)

    def read(self, digest: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop`` in pieces of about 1 MiB."""
        left = stop - start
        if left <= 0:
            return
        with self._translated(digest):
            found = self._store.get(_key(digest), options={"range": (start, stop)})
            for piece in found.stream(min_chunk_size=_STEP):
                left -= len(piece)
                yield bytes(piece)
        if left:
            raise StorageFailed("a blob became shorter")

    def receive(self) -> BucketWriter:
        """A new blob to be written; nothing is there until ``commit``."""
        return BucketWriter(self._folder, self._random(8).hex(), self._upload)

    def url(self, digest: str) -> str | None:
        """An address at which the store itself gives the blob for a while; None: it does not."""
        if not self._place.presign_seconds or not self.has(digest):
            return None
        life = timedelta(seconds=self._place.presign_seconds)
        with self._translated(digest):
            return str(self._api.sign(self._store, "GET", _key(digest), life))

    def sweep(self, older_than: datetime) -> None:
        """Uploads that nobody wrote to since ``older_than`` (a crash left them) are gone."""
        sweep(self._folder, older_than)

    def _upload(self, path: Path, digest: str) -> None:
        with self._translated(digest), path.open("rb") as file:
            self._store.put(_key(digest), file, chunk_size=_PART_BYTES)

    @contextmanager
    def _translated(self, digest: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound("no such blob", digest=digest[:64]) from None
        except OSError as error:
            raise translated(error) from None
        except self._base as error:
            if type(error).__name__ == "NotFoundError":
                raise NotFound("no such blob", digest=digest[:64]) from None
            raise StorageFailed(f"the bucket failed: {type(error).__name__}") from None


class BucketWriter(BlobWriter):
    """An upload on its way: a file of the server, then an object of the bucket."""

    def __init__(self, folder: Path, name: str, upload: Callable[[Path, str], None]) -> None:
        super().__init__(folder, name)
        self._upload = upload

    def _place(self, digest: str) -> None:
        try:
            self._upload(self._path, digest)
        finally:
            self._path.unlink(missing_ok=True)


class BucketSource:
    """A blob as the container reads it, some megabytes ahead. See ``container.Source``."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self.size_bytes = size
        self._fetch = fetch
        self._kept = (0, b"")

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fills ``target`` from ``offset`` on; ``ContainerTruncated`` past the end."""
        stop = offset + target.nbytes
        if stop > self.size_bytes:
            raise ContainerTruncated("the file ends earlier")
        start, data = self._kept
        if not (start <= offset and stop <= start + len(data)):
            end = min(max(stop, offset + _AHEAD_BYTES), self.size_bytes)
            data = self._fetch(offset, end)
            if len(data) != end - offset:
                raise DownloadDamaged("the bucket gave another range")
            start, self._kept = offset, (offset, data)
        target[:] = data[offset - start : stop - start]

    def close(self) -> None:
        """Nothing is kept."""
        self._kept = (0, b"")

    def __enter__(self) -> BucketSource:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _key(digest: str) -> str:
    if not is_digest(digest):
        raise NotFound("a blob is named by its SHA-256 in hexadecimal")
    return f"{digest[:2]}/{digest}"


__all__ = ["BucketBlobs", "Place", "place_of"]
