"""Downloads: verified as they arrive, resumed from anywhere, from several mirrors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.world import PRODUCT, foundation, seal, serve

from modelseal.client import download, lock, partial
from modelseal.client.partial import Expected
from modelseal.client.transport import Stream
from modelseal.errors import (
    AnswerUnsigned,
    ContainerSignature,
    DiskFull,
    DownloadDamaged,
    ModelsealError,
    NotSealed,
    ReleaseTooOld,
    ServerFailed,
    ServerUnreachable,
    StateBusy,
    WrongProduct,
    WrongPublisher,
)

MODEL = seal(plain=bytes(range(256)) * 1500)
URL = "https://license.example.com/v1/blobs/x"


def _expected(model=MODEL, **more):
    known = {
        "name": model.name,
        "digest": model.digest,
        "size_bytes": len(model.data),
        "file_id": model.file_id,
        "product": PRODUCT,
        "min_release": 0,
        "publisher_keys": foundation().trust.publisher_keys(),
    }
    return Expected(**{**known, **more})


class Mirrors:
    """A transport whose streams are made by one function per address."""

    def __init__(self, **by_name) -> None:
        self.by_name = by_name
        self.asked = []

    @contextlib.contextmanager
    def stream(self, url, *, headers=None):
        headers = dict(headers or {})
        self.asked.append((url, headers))
        yield self.by_name[url.rpartition("/")[2]](headers)


def _good(headers):
    return serve(MODEL.data, headers)


def _fetch(
    target, expected=None, urls=("m/good",), progress=None, monotonic=lambda: 0.0, **by_name
):
    mirrors = Mirrors(**{"good": _good, **by_name})
    download.fetch(
        expected or _expected(), target, transport=mirrors, urls=urls,
        monotonic=monotonic, progress=progress,
    )  # fmt: skip
    return mirrors


def _cut_after(size):
    def stream(headers):
        whole = serve(MODEL.data, headers, 10_000)

        def chunks():
            left = size
            for chunk in whole.chunks:
                if left <= 0:
                    raise ServerUnreachable("cut")
                yield chunk[:left]
                left -= len(chunk)
            raise ServerUnreachable("cut")

        return Stream(whole.status, whole.headers, chunks())

    return stream


def _cut_once(size):
    """Cut off after ``size`` bytes, and gone afterwards."""
    calls = []

    def stream(headers):
        calls.append(headers)
        if len(calls) > 1:
            raise ServerUnreachable("gone")
        return _cut_after(size)(headers)

    return stream


@pytest.mark.parametrize("cut", [0, 20_000, len(MODEL.data) - 1])
def test_the_file_gets_its_checksum_wherever_the_first_try_was_cut_off(tmp_path, cut):
    expected = _expected(crc32=0x0DADA067)
    target = tmp_path / "swap.onnx"
    if cut:
        with contextlib.suppress(ServerUnreachable):
            _fetch(target, expected, urls=("m/bad",), bad=_cut_once(cut))
        assert not target.exists()
    _fetch(target, expected)
    data = target.read_bytes()
    assert (data[:-4], zlib.crc32(data)) == (MODEL.data, 0x0DADA067)


def test_what_was_left_between_the_checksum_and_the_name_is_finished(tmp_path):
    expected = _expected(crc32=1)
    _fetch(tmp_path / "swap.onnx", expected)
    left = tmp_path / f".again.onnx.{MODEL.digest[:16]}.part"
    left.write_bytes((tmp_path / "swap.onnx").read_bytes())
    assert not _fetch(tmp_path / "again.onnx", expected).asked
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "swap.onnx").read_bytes()


def _part(folder):
    return next(folder.glob(".*.part"))


def test_a_whole_download_is_the_file_and_leaves_nothing_else(tmp_path):
    told = []
    _fetch(tmp_path / "deep" / "a.onnx", progress=lambda *step: told.append(step))
    assert (tmp_path / "deep" / "a.onnx").read_bytes() == MODEL.data
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.onnx"]
    assert [d for d, _, _ in told] == sorted(d for d, _, _ in told)
    assert told[-1] == (len(MODEL.data), len(MODEL.data), MODEL.name)


def test_a_cut_download_keeps_what_was_verified_and_goes_on_from_there(tmp_path):
    target = tmp_path / "a.onnx"
    with pytest.raises(ServerUnreachable):
        _fetch(target, urls=("m/cut",), cut=_cut_once(200_000))
    kept = _part(tmp_path).stat().st_size
    assert not target.exists()
    assert 0 < kept <= len(MODEL.data)
    mirrors = _fetch(target)
    assert mirrors.asked[0][1]["Range"] == f"bytes={kept}-"
    assert target.read_bytes() == MODEL.data


def test_one_mirror_that_keeps_breaking_is_asked_on_while_it_brings_bytes(tmp_path):
    mirrors = _fetch(tmp_path / "a.onnx", urls=("m/cut",), cut=_cut_after(150_000))
    assert (tmp_path / "a.onnx").read_bytes() == MODEL.data
    assert len(mirrors.asked) > 2
    etag = f'"{MODEL.digest}"'
    assert all(h.get("If-Range") in (None, etag) for _, h in mirrors.asked)


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changes_on_the_mirror_is_never_mixed(tmp_path, honest):
    """Honest: If-Range brings the whole new file. Not: the range is of other bytes."""
    other = bytes(byte ^ 1 for byte in MODEL.data)
    calls = []

    def stream(headers):
        calls.append(headers)
        if len(calls) == 1:  # ends early, in order, so that its ETag is known
            whole = serve(MODEL.data, headers, 10_000)
            return Stream(whole.status, whole.headers, itertools.islice(whole.chunks, 20))
        if honest and headers.get("If-Range"):
            return serve(other, {})
        return serve(other, headers)

    with pytest.raises(DownloadDamaged):
        _fetch(tmp_path / "a", urls=("m/changes",), changes=stream)
    assert calls[1]["If-Range"] == f'"{MODEL.digest}"'
    assert not (tmp_path / "a").exists()
    kept = _part(tmp_path).read_bytes()
    assert kept
    assert MODEL.data.startswith(kept)
    _fetch(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == MODEL.data


def test_a_mirror_that_trickles_is_left_for_the_next_and_what_it_brought_is_kept(tmp_path):
    passed = [0.0]

    def trickling(headers):
        whole = serve(MODEL.data, headers, 7000)

        def chunks():
            for chunk in whole.chunks:
                passed[0] += 10  # 42,000 bytes a minute
                yield chunk

        return Stream(whole.status, whole.headers, chunks())

    def slowly(urls):
        return _fetch(
            tmp_path / "a", urls=urls, slow=trickling, monotonic=lambda: passed[0]
        )  # fmt: skip

    with pytest.raises(ServerUnreachable) as caught:
        slowly(("m/slow",))
    assert "trickles" in caught.value.detail
    mirrors = slowly(("m/slow", "m/good"))
    assert [url for url, _ in mirrors.asked] == ["m/slow", "m/good"]
    assert (tmp_path / "a").read_bytes() == MODEL.data


def test_the_next_mirror_continues_where_the_first_failed(tmp_path):
    def dead(headers):
        raise ServerUnreachable("nobody there")

    mirrors = _fetch(tmp_path / "a.onnx", urls=("m/dead", "m/good"), dead=dead)
    assert [u for u, _ in mirrors.asked] == ["m/dead", "m/dead", "m/good"]
    assert (tmp_path / "a.onnx").read_bytes() == MODEL.data


def test_a_mirror_without_ranges_is_read_from_the_start_and_skipped(tmp_path):
    with pytest.raises(ServerUnreachable):
        _fetch(tmp_path / "a", urls=("m/cut",), cut=_cut_once(200_000))
    _fetch(tmp_path / "a", urls=("m/plain",), plain=lambda headers: serve(MODEL.data, {}))
    assert (tmp_path / "a").read_bytes() == MODEL.data


def _flipped(at):
    data = bytearray(MODEL.data)
    data[at] ^= 1
    return lambda headers: serve(bytes(data), headers)


@given(st.integers(0, len(MODEL.data) - 1))
@settings(max_examples=30, deadline=None)
def test_a_flipped_bit_anywhere_is_never_stored_under_the_name(tmp_path_factory, at):
    folder = tmp_path_factory.mktemp("flip")
    with pytest.raises(ModelsealError) as caught:
        _fetch(folder / "a", urls=("m/bad",), bad=_flipped(at))
    assert caught.value.exit_code == 4
    assert not (folder / "a").exists()
    kept = _part(folder).read_bytes()
    assert kept == MODEL.data[: len(kept)]
    _fetch(folder / "a")
    assert (folder / "a").read_bytes() == MODEL.data


def test_a_bad_mirror_costs_nothing_when_a_good_one_follows(tmp_path):
    mirrors = _fetch(tmp_path / "a", urls=("m/bad", "m/good"), bad=_flipped(len(MODEL.data) - 40))
    assert (tmp_path / "a").read_bytes() == MODEL.data
    assert mirrors.asked[1][1]["Range"]


@given(st.binary(max_size=70_000) | st.integers(0, len(MODEL.data)).map(lambda n: MODEL.data[:n]))
@settings(max_examples=25, deadline=None)
def test_whatever_lies_in_the_temporary_file_the_download_ends_right(tmp_path_factory, left):
    folder = tmp_path_factory.mktemp("left")
    (folder / f".a.{MODEL.digest[:16]}.part").write_bytes(left)
    _fetch(folder / "a")
    assert (folder / "a").read_bytes() == MODEL.data


def test_a_complete_temporary_file_needs_no_download(tmp_path):
    (tmp_path / f".a.{MODEL.digest[:16]}.part").write_bytes(MODEL.data)
    assert _fetch(tmp_path / "a").asked == []
    assert (tmp_path / "a").read_bytes() == MODEL.data


def _other(**more):
    other = seal(founded=foundation.__wrapped__(), **more)
    return other, lambda headers: serve(other.data, headers)


def test_another_publishers_file_is_refused_before_its_first_chunk(tmp_path):
    other, stream = _other(plain=b"x" * 500_000)
    with pytest.raises(WrongPublisher):
        _fetch(
            tmp_path / "a",
            _expected(other, digest=other.digest),
            urls=("m/other",),
            other=stream,
        )
    assert _part(tmp_path).stat().st_size == 0


def test_a_front_whose_signature_does_not_hold_is_refused(tmp_path):
    data = bytearray(MODEL.data)
    from modelseal import container

    prologue = container.Prologue.from_bytes(MODEL.data[:128])
    data[prologue.signatures_offset + 60] ^= 1
    with pytest.raises(ModelsealError) as caught:
        _fetch(tmp_path / "a", urls=("m/bad",), bad=lambda headers: serve(bytes(data), headers))
    assert isinstance(caught.value, ContainerSignature) or caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"product": "another"}, WrongProduct),
        ({"min_release": 5}, ReleaseTooOld),
        ({"size_bytes": len(MODEL.data) + 1}, DownloadDamaged),
        ({"file_id": b"\0" * 32}, DownloadDamaged),
        ({"digest": "0" * 64}, DownloadDamaged),
    ],
)
def test_what_the_catalog_says_must_hold(tmp_path, change, error):
    with pytest.raises(error):
        _fetch(tmp_path / "a", _expected(**change))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (lambda h: Stream(200, {"content-type": "text/html"}, iter([b"<title>x</title>"])),
         AnswerUnsigned),
        (lambda h: Stream(200, {}, iter([b"plain bytes" * 100])), NotSealed),
        (lambda h: Stream(404, {}, iter([b""])), AnswerUnsigned),
        (lambda h: Stream(302, {"location": "https://x/"}, iter([b""])), AnswerUnsigned),
        (lambda h: Stream(503, {}, iter([b""])), ServerFailed),
        (lambda h: Stream(200, {}, iter([])), ServerUnreachable),
        (lambda h: Stream(206, {"content-range": "bytes 5-9/10"}, iter([b"x"])), DownloadDamaged),
    ],
)  # fmt: skip
def test_something_else_at_the_mirror_is_told_for_what_it_is(tmp_path, stream, error):
    with pytest.raises(error):
        _fetch(tmp_path / "a", urls=("m/odd",), odd=stream)
    assert not (tmp_path / "a").exists()


def test_no_mirror_at_all_is_unavailable(tmp_path):
    with pytest.raises(ServerUnreachable):
        _fetch(tmp_path / "a", urls=())


def test_a_full_disk_keeps_the_old_file_and_what_was_verified(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    original = partial.Partial._accept

    def full(self, data, *, write):
        if self.done > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, data, write=write)

    monkeypatch.setattr(partial.Partial, "_accept", full)
    with pytest.raises(DiskFull):
        _fetch(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    monkeypatch.undo()
    assert _fetch(tmp_path / "a").asked[0][1]["Range"]
    assert (tmp_path / "a").read_bytes() == MODEL.data


def test_two_downloads_of_one_file_do_not_mix(tmp_path):
    part = tmp_path / f".a.{MODEL.digest[:16]}.part"
    with part.open("w+b") as other:
        assert lock.try_lock(other.fileno())
        with pytest.raises(StateBusy):
            _fetch(tmp_path / "a")
    _fetch(tmp_path / "a")
    assert hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest() == MODEL.digest


def test_a_file_where_the_folder_belongs_is_not_writable(tmp_path):
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(ModelsealError) as caught:
        _fetch(tmp_path / "f" / "a")
    assert caught.value.code == "state_not_writable"
