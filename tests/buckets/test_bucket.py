"""Sealed models in a real S3 service on this computer: published, served in ranges, presigned."""

from __future__ import annotations

import hashlib
import os
import ssl
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.server.world import Computer, Shop

from modelseal.client import places
from modelseal.desk import workspace as workspaces
from modelseal.errors import ConfigInvalid, DownloadDamaged, NotFound, StorageFailed
from modelseal.server.services.bucket import BucketBlobs, place_of
from modelseal.testing.server import RunningServer

pytest.importorskip("obstore", reason="pip install -r requirements/more.txt")
moto = pytest.importorskip("moto.server", reason="pip install -r requirements/more.txt")
BUCKET = "models"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 service with one bucket."""
    import boto3

    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield url
        server.stop()
    patch.undo()


def blobs(endpoint: str, folder: Path, prefix: str = "p", seconds: int = 60) -> BucketBlobs:
    place = place_of(
        f"s3://{BUCKET}/{prefix}", endpoint=endpoint, region="us-east-1", presign_seconds=seconds
    )
    return BucketBlobs(place, folder, os.urandom)


def stored(bucket: BucketBlobs, data: bytes) -> str:
    writer = bucket.receive()
    for at in range(0, len(data), 1 << 20):
        writer.write(data[at : at + (1 << 20)])
    return writer.commit()


def test_a_blob_is_there_whole_under_its_digest_or_not_at_all(
    endpoint: str, tmp_path: Path
) -> None:
    bucket, data = blobs(endpoint, tmp_path), os.urandom(20_000_000)
    digest = hashlib.sha256(data).hexdigest()
    writer = bucket.receive()
    writer.write(data[:100])
    assert not bucket.has(digest)
    with pytest.raises(DownloadDamaged):
        writer.commit(digest)
    assert stored(bucket, data) == digest and bucket.has(digest)
    assert bucket.size(digest) == len(data)
    assert b"".join(bucket.read(digest, 5, 9_000_000)) == data[5:9_000_000]
    assert not list((tmp_path / "incoming").glob("*"))
    for odd in ("0" * 64, "../x", "", "A" * 64):
        assert not bucket.has(odd)
        with pytest.raises(NotFound):
            bucket.size(odd)
    with bucket.source(digest) as source:
        for at, size in ((0, 8), (4_194_300, 100), (19_999_990, 10), (3, 17), (0, 9_000_000)):
            target = bytearray(size)
            source.read_into(at, memoryview(target))
            assert target == data[at : at + size]


def test_an_address_of_the_store_gives_ranges_without_our_server(
    endpoint: str, tmp_path: Path
) -> None:
    bucket, data = blobs(endpoint, tmp_path), os.urandom(1000)
    url = bucket.url(stored(bucket, data))
    assert url is not None and "X-Amz-Expires=60" in url
    part = httpx.get(url, headers={"Range": "bytes=100-"}, timeout=300)
    assert (part.status_code, part.content) == (206, data[100:])
    assert bucket.url("0" * 64) is None
    assert blobs(endpoint, tmp_path, seconds=0).url(stored(bucket, data)) is None


def test_a_store_that_is_gone_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import modelseal.server.services.bucket as module

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(module, "_RETRY_SECONDS", 1)
    bucket = blobs("http://127.0.0.1:9", tmp_path)
    with pytest.raises(StorageFailed):
        bucket.size("0" * 64)
    with pytest.raises(StorageFailed):
        stored(bucket, b"x")
    assert not list((tmp_path / "incoming").glob("*"))


@pytest.mark.parametrize(
    ("url", "endpoint", "seconds"),
    [
        ("gs://models", None, 60),
        ("s3://", None, 60),
        ("s3://user@models", None, 60),
        ("s3://models", "http://s3.example.com", 60),
        ("s3://models", None, 8 * 86400),
        ("s3://models", None, -1),
    ],
)
def test_odd_places_are_refused(url: str, endpoint: str | None, seconds: int) -> None:
    with pytest.raises(ConfigInvalid):
        place_of(url, endpoint=endpoint, region="x", presign_seconds=seconds)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def running(endpoint: str, tmp_path: Path) -> Iterator[tuple[RunningServer, Shop]]:
    """A shop whose blobs lie in the bucket."""
    workspaces.init(tmp_path / "shop", "facefusion", now=now(), random=os.urandom)
    config = tmp_path / "shop/server/server.toml"
    config.write_text(
        f'blobs = "s3://{BUCKET}/{tmp_path.name}"\nblobs_endpoint = "{endpoint}"\n'
        + config.read_text()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(tmp_path)
    with server:
        shop = Shop(server.home, now, server.services)  # type: ignore[arg-type]
        yield server, shop


def test_a_shop_publishes_into_the_bucket_and_serves_from_it(
    running: tuple[RunningServer, Shop], tmp_path: Path
) -> None:
    server, shop = running
    shop.plan("basic", "face.swap")
    published = shop.publish(tmp_path, "swap.onnx", "face.swap")
    sealed = (tmp_path / "swap.onnx.sealed").read_bytes()
    assert not list((shop.home / "server/blobs").rglob(f"*{published.blob_digest}*"))
    device = Computer(shop)
    device.activate(shop.license().license_key)
    assert len(device.keys) == 2
    context = ssl.create_default_context(cadata=shop.trust.tls_ca)
    with httpx.Client(base_url=server.url, verify=context, timeout=300) as http:
        path = f"/v1/blobs/{published.blob_digest}"
        assert http.get(path).content == sealed
        part = http.get(path, headers={"Range": "bytes=10-99"})
        assert (part.status_code, part.content) == (206, sealed[10:100])
        assert http.head(path).headers["content-length"] == str(len(sealed))
        told = http.get(f"{path}/urls").json()["urls"]
        assert len(told) == 1 and httpx.get(told[0], timeout=300).content == sealed
        assert http.get(f"/v1/blobs/{'0' * 64}/urls").status_code == 404


def test_a_device_takes_what_the_store_itself_gives_and_the_server_where_it_does_not(
    running: tuple[RunningServer, Shop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The addresses that were asked for are counted; bytes that do not hold end nothing."""
    import modelseal
    from modelseal.client import download

    server, shop = running
    shop.plan("basic", "face.swap")
    shop.publish(tmp_path, "swap.onnx", "face.swap")
    asked: list[str] = []
    real = download._one_request

    def counted(partial: Any, expected: Any, transport: Any, url: str, *rest: Any) -> Any:
        asked.append(urlsplit(url).netloc)
        return real(partial, expected, transport, url, *rest)

    monkeypatch.setattr(download, "_one_request", counted)
    client = modelseal.Client(server=server.url, trust=server.trust, state=tmp_path / "laptop")
    with client:
        client.activate(shop.license().license_key)
        client.pull(to=tmp_path / "models")
        own = urlsplit(server.url).netloc
        assert asked and own not in asked
        assert (tmp_path / "models/swap.onnx").read_bytes() == (
            tmp_path / "swap.onnx.sealed"
        ).read_bytes()
        (tmp_path / "models/swap.onnx").unlink()
        asked.clear()
        gone = "http://127.0.0.1:9/gone/blob"
        monkeypatch.setattr(places, "of", lambda _core, _digest: [gone])
        client.pull(to=tmp_path / "models")
        assert asked[0] == "127.0.0.1:9" and asked[-1] == own
