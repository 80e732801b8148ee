"""A ring of key-encryption keys: the first wraps, each opens its own, none is mixed up."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelseal import keys
from modelseal.errors import InputMissing, KeyStoreUnavailable, OutputExists, WrappedKeyInvalid
from modelseal.keys import KeyRing
from modelseal.keys.ring import same_key

CONTEXT = {"purpose": "test"}


class Uris:
    """What a configuration file names; changed from outside."""

    def __init__(self, *named: str) -> None:
        self.named = list(named)

    def __call__(self) -> list[str]:
        return self.named


@pytest.fixture
def uris(tmp_path: Path) -> Uris:
    """One key file, ``a.key``, is named."""
    keys.create("file:a.key", base=tmp_path)
    return Uris("file:a.key")


def test_the_first_wraps_and_all_open(tmp_path: Path, uris: Uris) -> None:
    ring = KeyRing(uris, base=tmp_path)
    old = ring.wrap(b"one", CONTEXT)
    ring.create("file:b.key")
    uris.named = ["file:b.key", "file:a.key"]
    ring.reload()
    new = ring.wrap(b"two", CONTEXT)
    assert (ring.unwrap(old, CONTEXT), ring.unwrap(new, CONTEXT)) == (b"one", b"two")
    assert ring.owns(old) and not ring.is_current(old) and ring.is_current(new)
    assert ring.uri == "file:b.key" and ring.describe()["uri"] == "file:b.key"


def test_bytes_of_a_key_that_was_named_meanwhile_open_without_a_reload(
    tmp_path: Path, uris: Uris
) -> None:
    """Another process rotates; this one reads the names when it meets what it cannot open."""
    here, there = KeyRing(uris, base=tmp_path), KeyRing(uris, base=tmp_path)
    there.create("file:b.key")
    uris.named = ["file:b.key", "file:a.key"]
    there.reload()
    assert here.unwrap(there.wrap(b"new", CONTEXT), CONTEXT) == b"new"
    assert here.uri == "file:b.key"


def test_another_key_at_the_same_uri_is_seen(tmp_path: Path, uris: Uris) -> None:
    here = KeyRing(uris, base=tmp_path)
    keys.erase("file:a.key", base=tmp_path)
    fresh = keys.create("file:a.key", base=tmp_path)
    assert here.unwrap(fresh.wrap(b"new", CONTEXT), CONTEXT) == b"new"
    assert same_key(here, fresh)


def test_bytes_of_a_key_that_nobody_names_are_refused(tmp_path: Path, uris: Uris) -> None:
    ring = KeyRing(uris, base=tmp_path)
    other = keys.create("file:other.key", base=tmp_path)
    with pytest.raises(WrappedKeyInvalid):
        ring.unwrap(other.wrap(b"x", CONTEXT), CONTEXT)
    with pytest.raises(WrappedKeyInvalid):
        ring.unwrap(b"", CONTEXT)
    assert not same_key(ring.current, other)


def test_an_old_key_that_is_gone_was_erased_and_a_current_one_is_missed(
    tmp_path: Path, uris: Uris
) -> None:
    uris.named = ["file:a.key", "file:gone.key"]
    assert KeyRing(uris, base=tmp_path).uri == "file:a.key"
    uris.named = ["file:gone.key", "file:a.key"]
    with pytest.raises(InputMissing):
        KeyRing(uris, base=tmp_path)


def test_a_passphrase_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "correct horse battery"

    uri = "file:p.key?passphrase=ask"
    ring = KeyRing(Uris(uri), ask=_making(tmp_path, uri, ask), base=tmp_path)
    wrapped = ring.wrap(b"x", CONTEXT)
    ring.reload()
    ring.reload(anew=True)
    assert ring.unwrap(wrapped, CONTEXT) == b"x"
    assert len(asked) == 2
    with pytest.raises(KeyStoreUnavailable):
        KeyRing(Uris(uri), base=tmp_path)


def _making(folder: Path, uri: str, ask: keys.Ask) -> keys.Ask:
    keys.create(uri, ask=ask, base=folder)
    return ask


def test_a_key_is_created_once_and_opened_by_name(tmp_path: Path, uris: Uris) -> None:
    ring = KeyRing(uris, base=tmp_path)
    made = ring.create("file:b.key")
    with pytest.raises(OutputExists):
        ring.create("file:b.key")
    assert ring.open("file:b.key") is made
    assert ring.uri == "file:a.key"


def test_an_erased_key_file_is_gone_and_erasing_again_changes_nothing(tmp_path: Path) -> None:
    keys.create("file:a.key", base=tmp_path)
    assert keys.erase("file:a.key", base=tmp_path)
    assert not (tmp_path / "a.key").exists()
    assert keys.erase("file:a.key", base=tmp_path)
