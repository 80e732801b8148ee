"""Google Cloud KMS over gRPC, as much of it as wrapping keys takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud import kms_v1

SERVICE = "google.cloud.kms.v1.KeyManagementService"
RING = "projects/shop/locations/europe-west3/keyRings/main"


class CloudKms:
    """One project with one key ring. ``fail`` ends every call with that status."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.fail: grpc.StatusCode | None = None
        self.calls: list[str] = []
        self.answer_as: str | None = None
        kinds: dict[str, tuple[Callable[..., Any], Any]] = {
            "GetCryptoKey": (self._get, kms_v1.GetCryptoKeyRequest),
            "CreateCryptoKey": (self._create, kms_v1.CreateCryptoKeyRequest),
            "Encrypt": (self._encrypt, kms_v1.EncryptRequest),
            "Decrypt": (self._decrypt, kms_v1.DecryptRequest),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._counted(name, act),
                request_deserializer=kind.deserialize,
                response_serializer=lambda answer: type(answer).serialize(answer),
            )
            for name, (act, kind) in kinds.items()
        }
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def uri(self, name: str, options: str = "") -> str:
        """The key URI of the key ``name``."""
        return f"gcpkms:{RING}/cryptoKeys/{name}?endpoint={self.endpoint}{options}"

    def close(self) -> None:
        """Afterwards nobody answers at the address."""
        self._server.stop(None).wait()

    def _counted(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def counted(request: Any, context: Any) -> Any:
            self.calls.append(name)
            if self.fail is not None:
                context.abort(self.fail, "as the test asked")
            return act(request, context)

        return counted

    def _get(self, request: Any, context: Any) -> Any:
        if request.name not in self.keys:
            context.abort(grpc.StatusCode.NOT_FOUND, "CryptoKey not found")
        return kms_v1.CryptoKey(
            name=request.name, purpose=kms_v1.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT
        )

    def _create(self, request: Any, context: Any) -> Any:
        name = f"{request.parent}/cryptoKeys/{request.crypto_key_id}"
        if name in self.keys:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "CryptoKey exists")
        self.keys[name] = os.urandom(32)
        return kms_v1.CryptoKey(name=name, purpose=request.crypto_key.purpose)

    def _encrypt(self, request: Any, context: Any) -> Any:
        nonce, aad = os.urandom(12), request.additional_authenticated_data
        made = nonce + AESGCM(self.keys[request.name]).encrypt(nonce, request.plaintext, aad)
        name = self.answer_as or request.name
        return kms_v1.EncryptResponse(name=f"{name}/cryptoKeyVersions/1", ciphertext=made)

    def _decrypt(self, request: Any, context: Any) -> Any:
        made, aad = request.ciphertext, request.additional_authenticated_data
        try:
            plain = AESGCM(self.keys[request.name]).decrypt(made[:12], made[12:], aad)
        except (InvalidTag, ValueError):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Decryption failed")
        return kms_v1.DecryptResponse(plaintext=plain)
