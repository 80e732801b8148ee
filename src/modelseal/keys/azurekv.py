"""Key provider for Azure Key Vault and Managed HSM. Needs the extra ``azurekv``.

    azurekv:https://shop.vault.azure.net/keys/kek
    azurekv:https://shop.managedhsm.azure.net/keys/kek?type=oct-hsm

Credentials are those of ``DefaultAzureCredential``: environment, workload or managed identity, the
command line's login. ``type`` is what ``create`` makes: ``rsa-hsm`` (the default), ``oct-hsm`` (a
Managed HSM) or ``rsa``, kept in software by the service. Level L1, declared, for keys in an HSM.

AES keys wrap by A256GCM; the vendor's client has no software for that, while for A256KW it would
wrap by a key that it invents. RSA keys wrap by RSA-OAEP-256, which anybody who knows the public key
can do; so the vault signs (PS256) what was wrapped, and nothing unsigned is opened.
"""

from __future__ import annotations

import hashlib
import re
import struct
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelseal import cbor
from modelseal.errors import (
    ConfigInvalid,
    ExtraMissing,
    InputMissing,
    KeyStoreUnavailable,
    OutputExists,
    WrappedKeyInvalid,
)
from modelseal.keys import options
from modelseal.keys.layered import Bound, LayeredProvider
from modelseal.keys.quiet import hush
from modelseal.types import Level

if TYPE_CHECKING:
    from pathlib import Path

    from modelseal.keys.options import StoreUri
    from modelseal.keys.provider import Ask

TYPES = ("rsa-hsm", "oct-hsm", "rsa")
RSA, AES = 1, 2
_RSA_BITS = 3072
_NONCE_BYTES = 12
_TAG_BYTES = 16
_MAX_VERSIONS = 32
_PATH = re.compile(r"/keys/([A-Za-z0-9-]{1,127})")
_VERSION = re.compile(r"[0-9a-f]{32}")
_KINDS = {"RSA": RSA, "RSA-HSM": RSA, "oct-HSM": AES}
_OPERATIONS = {RSA: ("wrapKey", "unwrapKey", "sign", "verify"), AES: ("encrypt", "decrypt")}
_HEAD = struct.Struct("<B16sH")  # kind of key, its version, length of the signature


class VaultKey:
    """A key of Key Vault or a Managed HSM; a ``KeyStore``. New versions wrap, old ones open."""

    kind = "azurekv"

    def __init__(self, clients: _Clients, uri: StoreUri, name: str) -> None:
        self._clients = clients
        self._uri = uri.uri
        found = clients.call(lambda: clients.keys.get_key(name))
        kind = str(getattr(found.key_type, "value", found.key_type))
        if kind not in _KINDS or not found.properties.enabled:
            raise ConfigInvalid("a key-encryption key in Azure is an RSA or oct-HSM key, enabled")
        self._kind = _KINDS[kind]
        may = {str(getattr(each, "value", each)) for each in found.key_operations or ()}
        missing = [each for each in _OPERATIONS[self._kind] if each not in may]
        if missing:
            raise ConfigInvalid(f"the key in Azure does not permit {', '.join(missing)}")
        self.level = Level.L0 if kind == "RSA" else Level.L1
        self._name, self._shown = name, kind
        self._version = str(found.properties.version or "")
        if not _VERSION.fullmatch(self._version):
            raise KeyStoreUnavailable("Azure named no version of the key", uri=self._uri)
        self.identity = f"{clients.address}/keys/{name}".encode()

    def wrap_key(self, key: bytes, bound: Bound) -> bytes:
        """The newest version's wrapping of ``key``, signed where anybody could have made it."""
        version = bytes.fromhex(self._version)
        client = self._clients.crypto(self._name, self._version)
        act = self._seal_rsa if self._kind == RSA else self._seal_aes
        signature, made = act(client, key, version, bound)
        return _HEAD.pack(self._kind, version, len(signature)) + signature + made

    def unwrap_key(self, wrapped: bytes, bound: Bound) -> bytes:
        """The key again; by the version that wrapped it."""
        if len(wrapped) <= _HEAD.size:
            raise WrappedKeyInvalid("this is nothing that Azure wrapped")
        kind, version, length = _HEAD.unpack_from(wrapped)
        signature = wrapped[_HEAD.size : _HEAD.size + length]
        made = wrapped[_HEAD.size + length :]
        if kind != self._kind or bool(length) != (kind == RSA) or not made:
            raise WrappedKeyInvalid("this is nothing that this key of Azure wrapped")
        client = self._clients.crypto(self._name, version.hex())
        try:
            if kind == RSA:
                return self._open_rsa(client, made, signature, _digest(version, made, bound))
            return self._open_aes(client, made, bound)
        except (ConfigInvalid, InputMissing):  # a bad request, or a version that never was
            raise WrappedKeyInvalid(
                "Azure cannot open it: altered, or of a version that is gone"
            ) from None

    def _seal_rsa(
        self, client: Any, key: bytes, version: bytes, bound: Bound
    ) -> tuple[bytes, bytes]:
        from azure.keyvault.keys.crypto import KeyWrapAlgorithm, SignatureAlgorithm

        call, how = self._clients.call, KeyWrapAlgorithm.rsa_oaep_256
        made = bytes(call(lambda: client.wrap_key(how, key)).encrypted_key)
        digest = _digest(version, made, bound)
        return bytes(call(lambda: client.sign(SignatureAlgorithm.ps256, digest)).signature), made

    def _open_rsa(self, client: Any, made: bytes, signature: bytes, digest: bytes) -> bytes:
        from azure.keyvault.keys.crypto import KeyWrapAlgorithm, SignatureAlgorithm

        call, how = self._clients.call, KeyWrapAlgorithm.rsa_oaep_256
        if not call(lambda: client.verify(SignatureAlgorithm.ps256, digest, signature)).is_valid:
            raise WrappedKeyInvalid("altered, or bound to another context")
        return bytes(call(lambda: client.unwrap_key(how, made)).key)

    def _seal_aes(
        self, client: Any, key: bytes, _version: bytes, bound: Bound
    ) -> tuple[bytes, bytes]:
        from azure.keyvault.keys.crypto import EncryptionAlgorithm

        how, aad = EncryptionAlgorithm.a256_gcm, _aad(bound)
        found = self._clients.call(
            lambda: client.encrypt(how, key, additional_authenticated_data=aad)
        )
        nonce, tag = bytes(found.iv or b""), bytes(found.tag or b"")
        if len(nonce) != _NONCE_BYTES or len(tag) != _TAG_BYTES:
            raise KeyStoreUnavailable("Azure answered in another form", uri=self._uri)
        return b"", nonce + tag + bytes(found.ciphertext)

    def _open_aes(self, client: Any, made: bytes, bound: Bound) -> bytes:
        from azure.keyvault.keys.crypto import EncryptionAlgorithm

        how, aad = EncryptionAlgorithm.a256_gcm, _aad(bound)
        nonce, tag = made[:_NONCE_BYTES], made[_NONCE_BYTES : _NONCE_BYTES + _TAG_BYTES]
        data = made[_NONCE_BYTES + _TAG_BYTES :]
        found = self._clients.call(
            lambda: client.decrypt(
                how, data, iv=nonce, authentication_tag=tag, additional_authenticated_data=aad
            )
        )
        return bytes(found.plaintext)

    def describe(self) -> Mapping[str, object]:
        """The key's address, its type and the version that wraps."""
        address = f"{self._clients.address}/keys/{self._name}"
        return {"key": address, "type": self._shown, "version": self._version}


class _Clients:
    """The two clients of the vendor for one vault."""

    def __init__(self, parsed: StoreUri, address: str) -> None:
        try:
            from azure.identity import DefaultAzureCredential
            from azure.keyvault.keys import KeyClient
        except ModuleNotFoundError:
            raise ExtraMissing("Azure Key Vault needs packages", extra="azurekv") from None
        hush("azure", "msal")
        self.address = address
        self._uri = parsed.uri
        # Nobody is asked in a browser, and the client's own log of requests stays off.
        self._more = {
            "connection_timeout": parsed.limit_seconds, "read_timeout": parsed.limit_seconds,
            "retry_total": 2, "logging_enable": False,
        }  # fmt: skip
        self._credential = DefaultAzureCredential(exclude_interactive_browser_credential=True)
        self.keys: Any = KeyClient(address, self._credential, **self._more)
        self._crypto: dict[str, Any] = {}
        self._guard = threading.Lock()
        weakref.finalize(self, _close, self._crypto, self.keys, self._credential)

    def crypto(self, name: str, version: str) -> Any:
        """The client for one version of the key."""
        from azure.keyvault.keys.crypto import CryptographyClient

        with self._guard:
            found = self._crypto.pop(version, None)
            if found is None:
                key = f"{self.address}/keys/{name}/{version}"
                found = CryptographyClient(key, self._credential, **self._more)
            self._crypto[version] = found
            while len(self._crypto) > _MAX_VERSIONS:  # they come from bytes that may be anybody's
                self._crypto.pop(next(iter(self._crypto))).close()
        return found

    def call(self, act: Callable[[], Any]) -> Any:
        """The answer of a client; its errors as ours, without what they quote."""
        from azure.core import exceptions

        try:
            return act()
        except exceptions.ClientAuthenticationError:
            raise KeyStoreUnavailable("Azure knows no credentials here", uri=self._uri) from None
        except exceptions.ResourceNotFoundError:
            raise InputMissing("Azure has no such key", path=self._uri) from None
        except exceptions.ResourceExistsError:
            raise OutputExists("Azure has this key already, or a deleted one", path=self._uri
                               ) from None  # fmt: skip
        except exceptions.HttpResponseError as error:
            if error.status_code == 400:
                raise ConfigInvalid("Azure refuses the request", uri=self._uri) from None
            raise KeyStoreUnavailable(f"Azure answered {error.status_code}", uri=self._uri
                                      ) from None  # fmt: skip
        except exceptions.AzureError as error:
            raise KeyStoreUnavailable(f"Azure: {type(error).__name__}", uri=self._uri) from None
        except (ValueError, NotImplementedError) as error:  # the client's own half of the work
            raise ConfigInvalid(f"Azure's client: {type(error).__name__}", uri=self._uri) from None


def _close(versions: dict[str, Any], *others: Any) -> None:
    """Nobody holds the clients any more: no connection stays open."""
    for each in (*versions.values(), *others):
        each.close()


def open_provider(uri: str, *, ask: Ask | None = None, base: Path | None = None
                  ) -> LayeredProvider:  # fmt: skip
    """The key that ``uri`` names; ``InputMissing`` when Azure knows none."""
    parsed, address, name = parse_uri(uri)
    return _provider(parsed, VaultKey(_Clients(parsed, address), parsed, name))


def create(uri: str, *, ask: Ask | None = None, base: Path | None = None) -> LayeredProvider:
    """A new key, in an HSM unless ``type=rsa`` says otherwise; ``OutputExists`` if there is one."""
    parsed, address, name = parse_uri(uri)
    clients = _Clients(parsed, address)
    try:
        VaultKey(clients, parsed, name)
    except InputMissing:
        pass
    else:
        raise OutputExists("Azure has this key already", path=uri)
    kind = parsed.options.get("type", TYPES[0])
    hardware = kind.endswith("-hsm")
    if kind == "oct-hsm":
        may = list(_OPERATIONS[AES])
        clients.call(lambda: clients.keys.create_oct_key(
            name, size=256, hardware_protected=hardware, key_operations=may
        ))  # fmt: skip
    else:
        may = list(_OPERATIONS[RSA])
        clients.call(lambda: clients.keys.create_rsa_key(
            name, size=_RSA_BITS, hardware_protected=hardware, key_operations=may
        ))  # fmt: skip
    return _provider(parsed, VaultKey(clients, parsed, name))


def parse_uri(uri: str) -> tuple[StoreUri, str, str]:
    """The parts of ``uri``: options, address, name. ``ConfigInvalid`` when it is odd."""
    parsed = options.parse(uri, "azurekv", ("type",))
    where = options.check_endpoint(parsed.name)
    named = _PATH.fullmatch(where.path)
    if where.scheme != "https" or named is None or where.query:
        raise ConfigInvalid("an azurekv URI is azurekv:https://VAULT.vault.azure.net/keys/NAME")
    if parsed.options.get("type", TYPES[0]) not in TYPES:
        raise ConfigInvalid(f"type is one of {', '.join(TYPES)}")
    return parsed, f"https://{where.netloc}", named[1]


def _aad(bound: Bound) -> bytes:
    return b"modelseal working key v1" + cbor.encode(dict(bound))


def _digest(version: bytes, made: bytes, bound: Bound) -> bytes:
    told = cbor.encode({"bound": dict(bound), "version": version, "wrapped": made})
    return hashlib.sha256(b"modelseal working key v1" + told).digest()


def _provider(parsed: StoreUri, key: VaultKey) -> LayeredProvider:
    return LayeredProvider(
        parsed.uri, key, cache_seconds=parsed.cache_seconds, store_seconds=parsed.limit_seconds
    )
