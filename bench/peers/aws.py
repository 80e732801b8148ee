"""The AWS Encryption SDK with a raw master key, which needs no network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.peers import Open, key_beside, released, tensors

TITLE = "aws-encryption-sdk"
REMARK = "raw AES master key, frames of 1 MiB, committing and not signed; decrypts to bytes"
_FRAME_BYTES = 1 << 20


def released_as() -> str:
    """What is measured."""
    return released("aws-encryption-sdk")


def protect(plain: Path, target: Path) -> None:
    """One stream."""
    from aws_encryption_sdk.identifiers import AlgorithmSuite

    key_beside(target).write_bytes(os.urandom(32))
    client, provider = _client(target)
    with plain.open("rb") as source, target.open("wb") as sink:
        stream = client.stream(
            mode="e", source=source, source_length=plain.stat().st_size, key_provider=provider,
            frame_length=_FRAME_BYTES, algorithm=AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY,
        )  # fmt: skip
        with stream:
            while piece := stream.read(_FRAME_BYTES):
                sink.write(piece)


def opener(target: Path) -> Open:
    """The whole stream read into one byte string."""
    client, provider = _client(target)

    def run() -> object:
        with (
            target.open("rb") as file,
            client.stream(mode="d", source=file, key_provider=provider) as stream,
        ):
            return tensors(stream.read())

    return run


def _client(target: Path) -> tuple[Any, Any]:
    import warnings

    warnings.simplefilter("ignore")
    import aws_encryption_sdk
    from aws_encryption_sdk.identifiers import (
        CommitmentPolicy,
        EncryptionKeyType,
        WrappingAlgorithm,
    )
    from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
    from aws_encryption_sdk.key_providers.raw import RawMasterKey

    wrapping = WrappingKey(
        wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
        wrapping_key=key_beside(target).read_bytes(),
        wrapping_key_type=EncryptionKeyType.SYMMETRIC,
    )
    provider = RawMasterKey(provider_id="bench", key_id=b"1", wrapping_key=wrapping)
    policy = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    client = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=policy)
    return client, provider
