"""Key provider for Google Cloud KMS. Level L1, declared. Needs the extra ``gcpkms``.

    gcpkms:projects/shop/locations/europe-west3/keyRings/main/cryptoKeys/kek

Credentials are Google's application default credentials. ``endpoint=HOST:PORT`` names another
address (Private Service Connect); on this computer it is spoken to without TLS and credentials, as
emulators are. Purpose, product and server are associated data of what is wrapped.
"""

from __future__ import annotations

import re
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
from modelseal.hosts import is_loopback
from modelseal.keys import options
from modelseal.keys.layered import Bound, LayeredProvider
from modelseal.keys.quiet import hush
from modelseal.types import Level

if TYPE_CHECKING:
    from pathlib import Path

    from modelseal.keys.options import StoreUri
    from modelseal.keys.provider import Ask

_PART = r"[A-Za-z0-9_.:-]{1,63}"
_NAME = re.compile(
    f"projects/{_PART}/locations/{_PART}/keyRings/{_PART}/cryptoKeys/([A-Za-z0-9_-]{{1,63}})"
)
_ENDPOINT = re.compile(r"[A-Za-z0-9.-]+(?::\d{1,5})?|\[[0-9a-f:]+\]:\d{1,5}")


class GoogleKey:
    """A symmetric key of Cloud KMS; a ``KeyStore``."""

    kind = "gcpkms"
    level = Level.L1

    def __init__(self, client: Any, parsed: StoreUri) -> None:
        self._client = client
        self._name = parsed.name
        self._uri = parsed.uri
        self._seconds = parsed.limit_seconds
        weakref.finalize(self, client.transport.close)
        self.identity = parsed.name.encode()
        found = self._call(client.get_crypto_key, name=parsed.name)
        if found.purpose != _kms().CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT:
            raise ConfigInvalid("a key-encryption key in Cloud KMS is for encrypt and decrypt")

    def wrap_key(self, key: bytes, bound: Bound) -> bytes:
        """The ciphertext of ``key``, bound to ``bound``."""
        request = {
            "name": self._name,
            "plaintext": key,
            "additional_authenticated_data": _aad(bound),
        }
        answer = self._call(self._client.encrypt, request=request)
        if not answer.name.startswith(self._name + "/cryptoKeyVersions/"):
            raise KeyStoreUnavailable("Cloud KMS answered for another key", uri=self._uri)
        return bytes(answer.ciphertext)

    def unwrap_key(self, wrapped: bytes, bound: Bound) -> bytes:
        """The key again."""
        request = {
            "name": self._name,
            "ciphertext": wrapped,
            "additional_authenticated_data": _aad(bound),
        }
        try:
            return bytes(self._call(self._client.decrypt, request=request).plaintext)
        except ConfigInvalid:  # what the service calls an invalid argument
            raise WrappedKeyInvalid(
                "Cloud KMS cannot open it: altered, or bound to another context"
            ) from None

    def describe(self) -> Mapping[str, object]:
        """The key's resource name."""
        return {"key": self._name}

    def _call(self, act: Callable[..., Any], **arguments: Any) -> Any:
        return _called(lambda: act(timeout=self._seconds, **arguments), self._uri)


def open_provider(uri: str, *, ask: Ask | None = None, base: Path | None = None
                  ) -> LayeredProvider:  # fmt: skip
    """The key that ``uri`` names; ``InputMissing`` when Cloud KMS knows none."""
    parsed = parse_uri(uri)
    return _provider(parsed, GoogleKey(_client(parsed), parsed))


def create(uri: str, *, ask: Ask | None = None, base: Path | None = None) -> LayeredProvider:
    """A new symmetric key in its key ring; ``OutputExists`` when there is one."""
    parsed = parse_uri(uri)
    try:
        GoogleKey(_client(parsed), parsed)
    except InputMissing:
        pass
    else:
        raise OutputExists("Cloud KMS has this key already", path=uri)
    client = _client(parsed)
    ring, _, name = parsed.name.rpartition("/cryptoKeys/")
    purpose = _kms().CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT
    request = {"parent": ring, "crypto_key_id": name, "crypto_key": {"purpose": purpose}}
    _called(lambda: client.create_crypto_key(request=request, timeout=parsed.limit_seconds), uri)
    return _provider(parsed, GoogleKey(client, parsed))


def parse_uri(uri: str) -> StoreUri:
    """The parts of ``uri``; ``ConfigInvalid`` when it is no ``gcpkms:`` URI."""
    parsed = options.parse(uri, "gcpkms", ("endpoint",))
    if not _NAME.fullmatch(parsed.name):
        raise ConfigInvalid("a gcpkms URI is gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K")
    endpoint = parsed.options.get("endpoint")
    if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
        raise ConfigInvalid("endpoint is HOST or HOST:PORT")
    return parsed


def _client(parsed: StoreUri) -> Any:
    kms = _kms()
    hush("google", "google.auth", "google.cloud", "grpc")
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials

    endpoint = parsed.options.get("endpoint")
    if endpoint is None:
        return _called(kms.KeyManagementServiceClient, parsed.uri)
    host = endpoint.rpartition(":")[0].strip("[]") if ":" in endpoint else endpoint
    if not is_loopback(host):
        how = ClientOptions(api_endpoint=endpoint)
        return _called(lambda: kms.KeyManagementServiceClient(client_options=how), parsed.uri)
    import grpc
    from google.cloud.kms_v1.services.key_management_service.transports import (
        KeyManagementServiceGrpcTransport as Transport,
    )

    transport = Transport(
        channel=grpc.insecure_channel(endpoint), credentials=AnonymousCredentials()
    )
    return kms.KeyManagementServiceClient(transport=transport)


def _kms() -> Any:
    try:
        from google.cloud import kms_v1
    except ModuleNotFoundError:
        raise ExtraMissing("Google Cloud KMS needs a package", extra="gcpkms") from None
    return kms_v1


def _called(act: Callable[[], Any], uri: str) -> Any:
    """The answer of the client; its errors as ours, without what they quote."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        return act()
    except exceptions.NotFound:
        raise InputMissing("Cloud KMS has no such key", path=uri) from None
    except exceptions.AlreadyExists:
        raise OutputExists("Cloud KMS has this key already", path=uri) from None
    except (exceptions.InvalidArgument, exceptions.OutOfRange):
        raise ConfigInvalid("Cloud KMS refuses the key URI", uri=uri) from None
    except (exceptions.GoogleAPICallError, exceptions.RetryError, GoogleAuthError) as error:
        raise KeyStoreUnavailable(f"Cloud KMS: {type(error).__name__}", uri=uri) from None


def _aad(bound: Bound) -> bytes:
    return b"modelseal working key v1" + cbor.encode(dict(bound))


def _provider(parsed: StoreUri, key: GoogleKey) -> LayeredProvider:
    return LayeredProvider(
        parsed.uri, key, cache_seconds=parsed.cache_seconds, store_seconds=parsed.limit_seconds
    )
