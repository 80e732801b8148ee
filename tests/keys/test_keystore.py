"""The operating system's keystore: a real Secret Service, and what is none."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import keyring
import keyring.core
import pytest
from keyring.backends import SecretService as SecretServiceBackend
from keyring.backends import chainer, fail, null
from keyring.errors import KeyringLocked
from keyrings.alt.file import PlaintextKeyring
from tests.keys.conftest import Keystore, use_service
from tests.keys.stores.secret_service import SecretService

from modelseal import keys
from modelseal.errors import (
    ConfigInvalid,
    InputMissing,
    KeyStoreUnavailable,
    OutputExists,
)
from modelseal.keys import limits
from modelseal.types import Level

CONTEXT = {"purpose": "test"}


def use_backend(monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    monkeypatch.setattr(keyring.core, "_keyring_backend", backend)


def test_an_entry_is_made_opened_and_erased(keystore: Keystore) -> None:
    uri = keystore.uri("made")
    with pytest.raises(InputMissing):
        keys.open_provider(uri)
    made = keys.create(uri)
    with pytest.raises(OutputExists):
        keys.create(uri)
    again = keys.open_provider(uri)
    assert again.unwrap(made.wrap(b"k" * 32, CONTEXT), CONTEXT) == b"k" * 32
    assert again.level is Level.L1 and again.describe()["kind"] == "keyring"
    assert keys.erase(uri)
    with pytest.raises(InputMissing):
        keys.open_provider(uri)
    assert keys.erase(uri)


def test_what_another_program_keeps_there_is_no_key(keystore: Keystore) -> None:
    backend = keyring.get_keyring()
    for name, text in (("words", "a password"), ("short", "iU1TSzENChoB"), ("odd", "ü" * 56)):
        backend.set_password("modelseal-test", name, text)
        with pytest.raises(KeyStoreUnavailable, match="no key of modelseal"):
            keys.open_provider(keystore.uri(name))


@pytest.mark.parametrize(
    "uri",
    ["keyring:a", "keyring:/a", "keyring:a/", "keyring:a/b/c", "keyring:a/b?x=1", "keyring:a%00/b",
     "keyring:" + "a" * 129 + "/b", "keyring:a/b?limit_seconds=-1", "keyring:a/b?backend",
     "keyring:a/b?backend=x&backend=y"],
)  # fmt: skip
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(ConfigInvalid):
        keys.open_provider(uri)


def test_without_a_keystore_the_key_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    use_backend(monkeypatch, fail.Keyring())
    with pytest.raises(KeyStoreUnavailable, match="no keystore of the operating system was found"):
        keys.open_provider("keyring:a/b")


@pytest.mark.parametrize("backend", [null.Keyring, PlaintextKeyring])
def test_a_backend_that_protects_nothing_is_not_used(
    monkeypatch: pytest.MonkeyPatch, backend: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    use_backend(monkeypatch, backend())
    with pytest.raises(KeyStoreUnavailable, match="no keystore of the operating system"):
        keys.create("keyring:a/b")
    assert list(tmp_path.rglob("*")) == []


def test_a_backend_that_the_uri_names_is_used_and_counts_as_l0(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    use_backend(monkeypatch, PlaintextKeyring())
    made = keys.create("keyring:a/b?backend=keyrings.alt.file.PlaintextKeyring")
    assert made.level is Level.L0 and list(tmp_path.rglob("*"))
    with pytest.raises(KeyStoreUnavailable, match="does not work here"):
        keys.create("keyring:a/b?backend=nobody.Keyring")


def test_a_backend_that_keeps_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    use_backend(monkeypatch, null.Keyring())
    with pytest.raises(KeyStoreUnavailable, match="did not keep"):
        keys.create("keyring:a/b?backend=keyring.backends.null.Keyring")


def test_of_chained_backends_the_systems_own_is_taken(
    keystore: Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    chained = chainer.ChainerBackend()
    monkeypatch.setattr(
        chainer.ChainerBackend, "backends", [PlaintextKeyring(), SecretServiceBackend.Keyring()]
    )
    use_backend(monkeypatch, chained)
    assert keys.create(keystore.uri("chained")).level is Level.L1
    monkeypatch.setattr(chainer.ChainerBackend, "backends", [PlaintextKeyring()])
    with pytest.raises(KeyStoreUnavailable):
        keys.create("keyring:a/b")


def test_a_locked_keystore_says_that_it_is_locked(
    keystore: Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise KeyringLocked("Failed to unlock the collection!")

    monkeypatch.setattr(SecretServiceBackend.Keyring, "get_password", locked)
    with pytest.raises(KeyStoreUnavailable, match="locked"):
        keys.open_provider(keystore.uri("x"))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_keystore_that_is_really_locked_ends_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers its prompt here, so it hangs, or refuses: either ends in the same error."""
    service = SecretService(tmp_path)
    try:
        use_service(service, monkeypatch)
        made = keys.create("keyring:modelseal-test/kek")
        wrapped = made.wrap(b"k" * 32, CONTEXT)
        service.stop_daemon()
        service.start(unlocked=False)
        with pytest.raises(KeyStoreUnavailable):
            keys.open_provider("keyring:modelseal-test/kek?limit_seconds=3")
        assert made.unwrap(wrapped, CONTEXT) == b"k" * 32
        service.stop_daemon()
        service.start(unlocked=True)
        opened = keys.open_provider("keyring:modelseal-test/kek")
        assert opened.unwrap(wrapped, CONTEXT) == b"k" * 32
        service.stop_daemon()
        with pytest.raises(KeyStoreUnavailable):
            keys.open_provider("keyring:modelseal-test/kek?limit_seconds=3")
    finally:
        service.close()
        for _ in range(200):
            if not limits.unfinished():
                break
            time.sleep(0.05)
        gc.collect()  # keyring leaves connections to a locked collection open
