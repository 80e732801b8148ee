"""Every provider the contract suite runs over, by name."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.keys.stores.azure import KeyVault
from tests.keys.stores.google import CloudKms
from tests.keys.stores.secret_service import SecretService
from tests.keys.stores.softhsm import SoftHsm
from tests.keys.stores.transit import Transit
from tests.tpm import SwTpm, emulator

from modelseal import keys
from modelseal.errors import InputMissing
from modelseal.keys import KeyProvider, file
from modelseal.keys.passphrase import Work
from modelseal.keys.provider import GuardedProvider
from modelseal.testing.keys import FakeKeyProvider, FakeKeyProviderWarning

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PASSPHRASE = "correct horse battery staple"
LIGHT = Work(memory_kib=8 * 1024, iterations=1, lanes=1)

Opener = Callable[[str], KeyProvider]
"""Opens the provider with the key of that name, made at its first use."""
MakeOpener = Callable[[pytest.FixtureRequest, Path], Opener]


def _at(uri: Callable[[str], str]) -> Opener:
    """Opens the key at ``uri(name)``, and makes it where there is none."""

    def opener(name: str) -> KeyProvider:
        try:
            return keys.open_provider(uri(name))
        except InputMissing:
            return keys.create(uri(name))

    return opener


def _file(option: str) -> MakeOpener:
    def made(_request: pytest.FixtureRequest, folder: Path) -> Opener:
        def opener(name: str) -> KeyProvider:
            uri = f"file:{name}.key{option}"
            if not (folder / f"{name}.key").exists():
                file.create(uri, ask=lambda _: PASSPHRASE, base=folder, work=LIGHT)
            return keys.open_provider(uri, ask=lambda _: PASSPHRASE, base=folder)

        return opener

    return made


def _fake(_request: pytest.FixtureRequest, _folder: Path) -> Opener:
    return lambda name: GuardedProvider(FakeKeyProvider(name))


_opened: dict[tuple[str, str, str], KeyProvider] = {}


def _store(fixture: str, options: str = "") -> MakeOpener:
    """The keys of the store that the fixture gives; opened once, for some clients begin slowly."""
    place = os.urandom(4).hex()

    def made(request: pytest.FixtureRequest, _folder: Path) -> Opener:
        store = request.getfixturevalue(fixture)
        opened = _at(lambda name: store.uri(f"contract-{place}-{name}", options))

        def opener(name: str) -> KeyProvider:
            key = (fixture, place, name)
            if key not in _opened:
                _opened[key] = opened(name)
            return _opened[key]

        return opener

    return made


PROVIDERS: dict[str, MakeOpener] = {
    "file": _file(""),
    "file with passphrase": _file("?passphrase=ask"),
    "fake": _fake,
    "keyring": _store("keystore"),
    "tpm2": _store("swtpm"),
    "pkcs11": _store("softhsm"),
    "pkcs11 by key wrap": _store("softhsm", "&x-mechanism=aes-key-wrap"),
    "awskms": _store("aws"),
    "gcpkms": _store("google", "&cache_seconds=60"),
    "azurekv": _store("azure"),
    "azurekv, managed HSM": _store("azure", "?type=oct-hsm&cache_seconds=0"),
    "vault": _store("transit"),
    "vault, nothing kept": _store("transit", "?cache_seconds=0"),
}
"""The contract suite runs over each of these; add a line to add a provider."""


@pytest.fixture(params=PROVIDERS)
def provider_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens a key of the provider by a short name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FakeKeyProviderWarning)
        yield PROVIDERS[request.param](request, tmp_path)


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """A token; the library stays loaded for the whole run."""
    return SoftHsm(tmp_path_factory.mktemp("softhsm"))


class Chip:
    """What ``tpm2:`` URIs of a test lead to."""

    def __init__(self, tpm: SwTpm, folder: Path) -> None:
        self.tpm = tpm
        self.folder = folder

    def uri(self, name: str, options: str = "") -> str:
        """The key URI of a key sealed in the emulated TPM."""
        return f"tpm2://{self.tpm.address}?file={self.folder}/{name}.tpm2{options}"


@pytest.fixture(scope="session")
def swtpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chip]:
    """A real emulator's process."""
    if shutil.which("swtpm") is None:
        pytest.skip("needs swtpm: apt-get install swtpm swtpm-tools")
    with emulator() as found:
        yield Chip(found, tmp_path_factory.mktemp("tpm2"))


@pytest.fixture(scope="session")
def secret_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretService]:
    """An unlocked GNOME Keyring."""
    service = SecretService(tmp_path_factory.mktemp("gnome"))
    yield service
    service.close()


class Keystore:
    """What ``keyring:`` URIs of a test lead to."""

    def uri(self, name: str, options: str = "") -> str:
        """The key URI of the entry ``name``."""
        return f"keyring:modelseal-test/{name}{options}"


@pytest.fixture
def keystore(secret_service: SecretService, monkeypatch: pytest.MonkeyPatch) -> Keystore:
    """This process finds the Secret Service of the test, as a desktop's program does."""
    use_service(secret_service, monkeypatch)
    return Keystore()


def use_service(service: SecretService, monkeypatch: pytest.MonkeyPatch) -> None:
    """``keyring`` looks for backends again, with the variables of ``service``."""
    import keyring.backend
    import keyring.core

    for name, value in service.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)


class Aws:
    """What ``awskms:`` URIs of a test lead to."""

    def uri(self, name: str, options: str = "") -> str:
        """The key URI behind the alias ``name``."""
        return f"awskms:alias/{name}?region=eu-central-1{options}"


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """AWS KMS as moto plays it."""
    from moto import mock_aws

    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.delenv("AWS_PROFILE", raising=False)
        yield Aws()


@pytest.fixture(scope="session")
def google() -> Iterator[CloudKms]:
    """Google Cloud KMS on this computer."""
    fake = CloudKms()
    yield fake
    fake.close()


@pytest.fixture(scope="session")
def _key_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyVault]:
    fake = KeyVault(tmp_path_factory.mktemp("azure"))
    yield fake
    fake.close()


@pytest.fixture
def azure(_key_vault: KeyVault, monkeypatch: pytest.MonkeyPatch) -> KeyVault:
    """Azure Key Vault on this computer, with a managed identity."""
    for name, value in _key_vault.variables.items():
        monkeypatch.setenv(name, value)
    return _key_vault


@pytest.fixture(scope="session")
def _vault() -> Iterator[Transit]:
    fake = Transit()
    yield fake
    fake.close()


@pytest.fixture
def transit(_vault: Transit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Transit]:
    """Vault's transit engine on this computer; what a test makes it do ends with the test."""
    monkeypatch.setenv("VAULT_TOKEN", "root-token")
    monkeypatch.setenv("HOME", str(tmp_path))
    yield _vault
    _vault.reset()


@pytest.fixture
def now() -> datetime:
    """One moment."""
    return NOW


@pytest.fixture
def passphrase() -> str:
    """The passphrase of every protected key in these tests."""
    return PASSPHRASE


@pytest.fixture(scope="session", autouse=True)
def _let_go() -> Iterator[None]:
    """No provider outlives its store."""
    yield
    _opened.clear()
