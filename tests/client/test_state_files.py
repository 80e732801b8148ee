"""The files of the state folder: round trips, damage, vectors."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.client import journal, leasekey, record, verified
from modelseal.client.folder import Folder
from modelseal.client.identity import create_passing
from modelseal.client.journal import Journal
from modelseal.client.leasekey import LeaseKeys, LeaseSecret, Pending
from modelseal.client.record import MemoryNote, Record, Refusal, StatusNote
from modelseal.errors import StateDamaged

VECTORS = Path(__file__).parent / "vectors" / "lease-key.json"
KEY = bytes(range(32))
NOW = datetime(2026, 7, 1, tzinfo=UTC)

secrets_ = st.builds(LeaseSecret, st.text(max_size=50), st.binary(min_size=96, max_size=96))
pendings = st.builds(
    Pending,
    op=st.sampled_from(["activate", "renew", "return"]),
    nonce=st.text(max_size=50),
    kem=st.binary(min_size=96, max_size=96),
    seq=st.integers(0, 2**53 - 1),
    prev=st.none() | st.text(max_size=50),
    ask=st.binary(min_size=32, max_size=32),
)


@given(st.none() | secrets_, st.none() | pendings, st.text(max_size=50))
def test_lease_keys_come_back_as_they_were(current, pending, device):
    keys = LeaseKeys(current, pending)
    sealed = leasekey.seal(keys, KEY, device=device, random=os.urandom)
    assert leasekey.open_(sealed, KEY, device=device) == keys


def _sealed():
    keys = LeaseKeys(LeaseSecret("n", b"k" * 96), None)
    return leasekey.seal(keys, KEY, device="d", random=lambda n: b"\1" * n)


@given(st.integers(0, len(_sealed()) - 1), st.integers(1, 255))
def test_one_changed_byte_of_lease_key_is_damage(at, change):
    data = bytearray(_sealed())
    data[at] ^= change
    with pytest.raises(StateDamaged) as caught:
        leasekey.open_(bytes(data), KEY, device="d", path="/s/lease.key")
    assert caught.value.params["path"] == "/s/lease.key"


@given(st.binary(max_size=300))
def test_noise_is_damage(data):
    for start in (b"", leasekey.MAGIC, leasekey.MAGIC + b"\1"):
        with pytest.raises(StateDamaged):
            leasekey.open_(start + data, KEY, device="d")


def test_another_device_or_key_does_not_open_it():
    for key, device in ((KEY, "e"), (bytes(32), "d")):
        with pytest.raises(StateDamaged):
            leasekey.open_(_sealed(), key, device=device)


def test_nothing_secret_is_printed():
    keys = LeaseKeys(
        LeaseSecret("n", b"k" * 96), Pending("renew", "n", b"k" * 96, 1, None, b"a" * 32)
    )
    assert "kkk" not in repr(keys)
    assert "aaa" not in repr(keys)


def test_the_vectors_open_and_are_written_again_byte_by_byte():
    """Made by this implementation, checked with a second one in ``vectors/make_lease_key.py``."""
    told = json.loads(VECTORS.read_text())
    for vector in told["vectors"]:
        data, key = bytes.fromhex(vector["data"]), bytes.fromhex(vector["storage_key"])
        keys = leasekey.open_(data, key, device=vector["device"])
        nonce = bytes.fromhex(vector["aead_nonce"])
        again = leasekey.seal(keys, key, device=vector["device"], random=lambda n, x=nonce: x)
        assert again == data
        assert (keys.current is None) == (vector["current"] is None)
        if keys.pending is not None:
            assert keys.pending.nonce == vector["pending"]["nonce"]
            assert keys.pending.seq == vector["pending"]["seq"]
        if keys.current is not None:
            assert keys.current.kem.hex() == vector["current"]["kem"]


numbers = st.integers(0, 2**40)
records = st.builds(
    Record,
    product=st.text(max_size=20),
    server=st.text(max_size=20),
    device_id=st.none() | st.text(max_size=20),
    seq=numbers,
    label=st.none() | st.text(max_size=20),
    copyable=st.booleans(),
    last_refusal=st.none() | st.builds(Refusal, code=st.text(max_size=9), at=numbers),
    status=st.none()
    | st.builds(
        StatusNote, number=numbers, value=st.integers(0, 3), idx=numbers, checked_at=numbers,
        exp=numbers,
    ),
    memory=st.none() | st.builds(MemoryNote, protection=st.just("locked"), swap_safe=st.booleans()),
)  # fmt: skip


@given(records)
def test_a_record_comes_back_as_it_was(kept):
    try:
        data = record.encode(kept)
    except UnicodeEncodeError:  # a lone surrogate cannot be written anywhere
        return
    assert record.decode(data) == kept


json_values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_lies_in_state_json_is_a_record_or_damage(data):
    with pytest.raises(StateDamaged):
        record.decode(data)


def test_a_newer_folder_says_that_an_update_is_needed():
    data = record.encode(Record(product="p", server="s")).replace(b'"version":1', b'"version":2')
    with pytest.raises(StateDamaged, match="newer"):
        record.decode(data)


def test_an_older_folder_is_carried_forward_step_by_step(monkeypatch):
    """The steps run in order, each from its own version to the next."""
    monkeypatch.setattr(record, "VERSION", 3)
    steps = {
        1: lambda v: {"product": v["prodct"], "server": v["server"], "typ": v["typ"]},
        2: lambda v: {**v, "server": v["server"] + "/2"},
    }
    monkeypatch.setattr(record, "MIGRATIONS", steps)
    old = b'{"typ":"modelseal-state","version":1,"prodct":"p","server":"s"}'
    found = record.decode(old)
    assert (found.version, found.product, found.server) == (3, "p", "s/2")
    with pytest.raises(StateDamaged):
        record.decode(old.replace(b"1", b"0", 1))


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "state")
    made.create()
    return made


def _journal(folder):
    return Journal(folder, lambda: NOW)


def test_the_journal_is_bounded_and_keeps_the_newest(folder, monkeypatch):
    monkeypatch.setattr(journal, "MAX_BYTES", 2000)
    kept = _journal(folder)
    for number in range(500):
        kept.write("renewed", seq=number)
    size = sum(p.stat().st_size for p in folder.path.iterdir())
    assert size <= 4000
    assert kept.read()[-1]["seq"] == 499
    assert {p.name for p in folder.path.iterdir()} == {"journal", "journal.1"}


def test_a_torn_line_is_left_out(folder):
    kept = _journal(folder)
    kept.write("a")
    with (folder.path / "journal").open("ab") as file:
        file.write(b'{"kind": "tor')
    assert [e["kind"] for e in kept.read()] == ["a"]


def test_the_journal_never_fails_its_writer(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    _journal(Folder(tmp_path / "file")).write("a", durable=True, detail="x")


def test_bytes_and_long_texts_do_not_reach_the_journal(folder):
    kept = _journal(folder)
    kept.write("a", secret=b"very secret", long="x" * 5000, at=NOW, many=range(3), none=None)
    text = (folder.path / "journal").read_text()
    assert "very" not in text
    assert len(text) < 600
    assert kept.read()[0]["secret"] == "11 bytes"


def test_a_verification_record_holds_for_the_untouched_file_only(folder, tmp_path):
    me = create_passing(os.urandom)
    place = tmp_path / "model"
    place.write_bytes(b"sealed")
    with place.open("rb") as file:
        assert not verified.holds(folder, me, file.fileno(), b"leaf")
        verified.remember(folder, me, file.fileno(), b"leaf")
        assert verified.holds(folder, me, file.fileno(), b"leaf")
        assert not verified.holds(folder, me, file.fileno(), b"other")
        other = create_passing(os.urandom)
        assert not verified.holds(folder, other, file.fileno(), b"leaf")
    os.utime(place, (1, 1))
    with place.open("rb") as file:
        assert not verified.holds(folder, me, file.fileno(), b"leaf")
    (folder.path / "verified.json").write_bytes(b"{")
    with place.open("rb") as file:
        assert not verified.holds(folder, me, file.fileno(), b"leaf")
