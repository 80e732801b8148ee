"""Finding providers by URI, third parties included, and surviving those that lie."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelseal import keys
from modelseal.errors import (
    ConfigInvalid,
    ExtraMissing,
    KeyStoreUnavailable,
    ModelsealError,
    StateBusy,
)
from modelseal.keys.provider import GuardedProvider
from modelseal.testing.keys import (
    FakeKeyProvider,
    FakeKeyProviderWarning,
    LyingKeyProvider,
    raising,
)

CONTEXT = {"purpose": "test"}
PACKAGE = """
import warnings
from modelseal.testing.keys import FakeKeyProvider

def open_provider(uri, *, ask, base):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FakeKeyProvider(uri.partition(":")[2])

create = open_provider
"""


def install(folder: Path, package: str, scheme: str, code: str = PACKAGE) -> None:
    """A third party's distribution in ``folder`` with one entry point."""
    (folder / f"{package}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[modelseal.key_providers]\n{scheme} = {package}\n")


def test_a_third_partys_provider_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "acme_vault", "acme")
    monkeypatch.syspath_prepend(tmp_path)
    provider = keys.create("acme:one")
    wrapped = provider.wrap(b"k" * 32, CONTEXT)
    assert keys.open_provider("acme:one").unwrap(wrapped, CONTEXT) == b"k" * 32
    assert not keys.open_provider("acme:two").owns(wrapped)
    assert {"acme", "file"} <= set(keys.schemes())


def test_two_packages_for_one_scheme_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "acme_one", "twin")
    install(tmp_path, "acme_two", "twin")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigInvalid):
        keys.open_provider("twin:x")


def test_a_package_cannot_take_over_a_built_in_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "acme_evil", "file")
    monkeypatch.syspath_prepend(tmp_path)
    assert keys.create("file:a.key", base=tmp_path).describe()["kind"] == "file"


@pytest.mark.parametrize(
    "code", ["raise OSError('broken')", "x = 1", "def open_provider(uri, *, ask, base): return 7"]
)
def test_a_broken_package_is_an_unavailable_key_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    package = f"acme_broken_{abs(hash(code)) % 997}"
    install(tmp_path, package, "broken", code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyStoreUnavailable):
        keys.open_provider("broken:x").wrap(b"k", CONTEXT)


def test_a_fake_warns_when_it_is_built() -> None:
    with pytest.warns(FakeKeyProviderWarning):
        FakeKeyProvider()


LIES: dict[str, Any] = {
    "too short": lambda honest: honest[:-1],
    "too long": lambda honest: honest + b"\0",
    "empty": lambda honest: b"",
    "None": lambda honest: None,
    "text": lambda honest: honest.hex(),
    "KeyError": raising(KeyError("x")),
    "TimeoutError": raising(TimeoutError()),
    "another key": lambda honest: bytes(len(honest)),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.filterwarnings("ignore::modelseal.testing.keys.FakeKeyProviderWarning")
def test_a_provider_that_cannot_open_what_it_wraps_wraps_nothing(lie: Any) -> None:
    provider = GuardedProvider(LyingKeyProvider(unwrap_lie=lie))
    with pytest.raises(KeyStoreUnavailable):
        provider.wrap(b"k" * 32, CONTEXT)


WRAP_LIES: dict[str, Any] = {
    "the plaintext itself": lambda honest: b"k" * 32,
    "nothing": lambda honest: b"",
    "a flood": lambda honest: bytes(5_000_000),
    "None": lambda honest: None,
    "KeyError": raising(KeyError("x")),
}


@pytest.mark.parametrize("lie", WRAP_LIES.values(), ids=WRAP_LIES.keys())
@pytest.mark.filterwarnings("ignore::modelseal.testing.keys.FakeKeyProviderWarning")
def test_a_provider_that_does_not_wrap_is_found_out(lie: Any) -> None:
    with pytest.raises(ModelsealError):
        GuardedProvider(LyingKeyProvider(wrap_lie=lie)).wrap(b"k" * 32, CONTEXT)


@pytest.mark.parametrize("lie", [LIES[n] for n in ("empty", "None", "text", "KeyError")])
@pytest.mark.filterwarnings("ignore::modelseal.testing.keys.FakeKeyProviderWarning")
def test_a_lie_in_unwrapping_never_gets_out_as_a_foreign_error(lie: Any) -> None:
    wrapped = FakeKeyProvider("liar").wrap(b"k" * 32, CONTEXT)
    with pytest.raises(KeyStoreUnavailable):
        GuardedProvider(LyingKeyProvider(unwrap_lie=lie)).unwrap(wrapped, CONTEXT)


@pytest.mark.filterwarnings("ignore::modelseal.testing.keys.FakeKeyProviderWarning")
def test_an_error_of_ours_passes_through() -> None:
    wrapped = FakeKeyProvider("liar").wrap(b"k" * 32, CONTEXT)
    with pytest.raises(StateBusy):
        GuardedProvider(LyingKeyProvider(unwrap_lie=raising(StateBusy("later")))).unwrap(
            wrapped, CONTEXT
        )


@pytest.mark.parametrize(
    ("uri", "package", "extra"),
    [
        ("keyring:a/b", "keyring", "keyring"),
        ("pkcs11:token=a;object=b?module-path=/usr/lib/x.so", "pkcs11", "pkcs11"),
        ("awskms:alias/a?region=eu-west-1", "boto3", "awskms"),
        ("gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k", "google.cloud", "gcpkms"),
        ("azurekv:https://shop.vault.azure.net/keys/k", "azure.identity", "azurekv"),
    ],
)
def test_a_missing_package_is_one_clear_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, uri: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraMissing) as missing:
        keys.open_provider(uri)
    assert missing.value.params["extra"] == extra
    assert f"modelseal[{extra}]" in missing.value.next_step


def test_no_client_of_a_key_store_is_imported_before_its_first_use() -> None:
    heavy = ["boto3", "google", "azure", "pkcs11", "keyring", "httpx"]
    code = f"import modelseal.keys, sys; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
