"""Key provider for AWS KMS. Level L1, declared. Needs the extra ``awskms``.

    awskms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-...
    awskms:alias/shop?region=eu-central-1

Credentials and, without ``region``, the region come from the AWS client's own chain: environment,
profile, container or instance role. ``endpoint=https://...`` names another address (a VPC
endpoint); plain HTTP is for this computer only. What is wrapped carries an encryption context:
purpose, product and server, so that key policies and CloudTrail can tell them.
"""

from __future__ import annotations

import hashlib
import re
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

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

_ARN = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:(?:key|alias)/[A-Za-z0-9/_-]+")
_ID = re.compile(r"(?:alias/[A-Za-z0-9/_-]{1,250}|mrk-[0-9a-f]{32}|[0-9a-f-]{36})")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_LABEL = "modelseal"
_ATTEMPTS = 3


class AwsKey:
    """A symmetric key of AWS KMS; a ``KeyStore``."""

    kind = "awskms"
    level = Level.L1

    def __init__(self, client: Any, uri: StoreUri) -> None:
        self._client = client
        self._uri = uri.uri
        weakref.finalize(self, client.close)
        found = self._call(lambda: client.describe_key(KeyId=uri.name))["KeyMetadata"]
        if not found.get("Enabled") or found.get("KeyUsage") != "ENCRYPT_DECRYPT":
            raise KeyStoreUnavailable("the key is disabled, or not for encryption", uri=self._uri)
        if found.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
            raise ConfigInvalid("a key-encryption key in AWS KMS is a symmetric one", uri=self._uri)
        self._arn = str(found["Arn"])
        self.identity = _identity(self._arn)

    def wrap_key(self, key: bytes, bound: Bound) -> bytes:
        """The ciphertext blob of ``key`` under the encryption context of ``bound``."""
        answer = self._call(lambda: self._client.encrypt(
            KeyId=self._arn, Plaintext=key, EncryptionContext=_context(bound)
        ))  # fmt: skip
        return bytes(answer["CiphertextBlob"])

    def unwrap_key(self, wrapped: bytes, bound: Bound) -> bytes:
        """The key again; only by this key, whatever the blob says."""
        answer = self._call(lambda: self._client.decrypt(
            KeyId=self._arn, CiphertextBlob=wrapped, EncryptionContext=_context(bound)
        ))  # fmt: skip
        if answer.get("KeyId") != self._arn:
            raise KeyStoreUnavailable("AWS KMS answered for another key", uri=self._uri)
        return bytes(answer["Plaintext"])

    def describe(self) -> Mapping[str, object]:
        """The key's ARN."""
        return {"key": self._arn}

    def _call(self, act: Callable[[], Any]) -> Any:
        return _called(act, self._uri)


def open_provider(uri: str, *, ask: Ask | None = None, base: Path | None = None
                  ) -> LayeredProvider:  # fmt: skip
    """The key that ``uri`` names; ``InputMissing`` when AWS KMS knows none."""
    parsed = parse_uri(uri)
    return _provider(parsed, AwsKey(_client(parsed), parsed))


def create(uri: str, *, ask: Ask | None = None, base: Path | None = None) -> LayeredProvider:
    """A new symmetric key behind the alias of ``uri``; ``OutputExists`` when the alias is taken.

    A key that is named by its id cannot be made, only opened.
    """
    parsed = parse_uri(uri)
    try:
        AwsKey(_client(parsed), parsed)
    except InputMissing:
        pass
    else:
        raise OutputExists("AWS KMS has this key already", path=uri)
    if not parsed.name.startswith("alias/"):
        raise InputMissing("AWS KMS has no such key; a new one is named alias/NAME", path=uri)
    client = _client(parsed)
    made = _called(lambda: client.create_key(
        KeyUsage="ENCRYPT_DECRYPT", KeySpec="SYMMETRIC_DEFAULT", Description=_LABEL
    ), uri)["KeyMetadata"]  # fmt: skip
    _called(lambda: client.create_alias(AliasName=parsed.name, TargetKeyId=made["KeyId"]), uri)
    return _provider(parsed, AwsKey(client, parsed))


def parse_uri(uri: str) -> StoreUri:
    """The parts of ``uri``; ``ConfigInvalid`` when it is no ``awskms:`` URI."""
    parsed = options.parse(uri, "awskms", ("region", "endpoint"))
    if not _ARN.fullmatch(parsed.name) and not _ID.fullmatch(parsed.name):
        raise ConfigInvalid("an awskms URI is awskms:ARN, awskms:KEY-ID or awskms:alias/NAME")
    region = parsed.options.get("region")
    if region is not None and not _REGION.fullmatch(region):
        raise ConfigInvalid("region is one like eu-central-1")
    if "endpoint" in parsed.options:
        options.check_endpoint(parsed.options["endpoint"])
    return parsed


def _client(parsed: StoreUri) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError:
        raise ExtraMissing("AWS KMS needs a package", extra="awskms") from None
    hush("boto3", "botocore")
    named = _ARN.fullmatch(parsed.name)
    region = parsed.options.get("region") or (named[1] if named else None)
    each = max(1.0, parsed.limit_seconds / _ATTEMPTS)
    how = Config(
        connect_timeout=each, read_timeout=each,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
    )  # fmt: skip

    def make() -> Any:
        session = boto3.session.Session()
        return session.client(
            "kms", region_name=region, endpoint_url=parsed.options.get("endpoint"), config=how
        )

    client = _called(make, parsed.uri)
    # The client takes an address from its environment and profile too.
    options.check_endpoint(client.meta.endpoint_url)
    return client


def _called(act: Callable[[], Any], uri: str) -> Any:
    """The answer of the client; its errors as ours, without what they quote."""
    from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

    try:
        return act()
    except ClientError as error:
        raise _translated(error.response.get("Error", {}), uri) from None
    except NoRegionError:
        raise ConfigInvalid("name the AWS region: ?region=eu-central-1", uri=uri) from None
    except BotoCoreError as error:
        raise KeyStoreUnavailable(f"AWS KMS: {type(error).__name__}", uri=uri) from None


def _translated(told: Mapping[str, Any], uri: str) -> Exception:
    code = str(told.get("Code", ""))
    # So it answers bytes that name another key; a missing permission it calls "not authorized".
    foreign = code == "AccessDeniedException" and "not auth" not in str(told.get("Message"))
    if foreign or code in ("InvalidCiphertextException", "IncorrectKeyException"):
        return WrappedKeyInvalid("AWS KMS cannot open it: altered, or bound to another context")
    if code in ("NotFoundException", "NotFound"):
        return InputMissing("AWS KMS has no such key", path=uri)
    if code == "AlreadyExistsException":
        return OutputExists("AWS KMS has this alias already", path=uri)
    plain = code if code.isascii() and code.isalnum() else "an error"
    return KeyStoreUnavailable(f"AWS KMS answered {plain[:80]}", uri=uri)


def _identity(arn: str) -> bytes:
    """Replicas of a multi-region key are one key, in whichever region."""
    parts = arn.split(":", 5)
    if parts[5].startswith("key/mrk-"):
        parts[3] = ""
    return ":".join(parts).encode()


def _context(bound: Bound) -> dict[str, str]:
    """KMS refuses an empty value; long ones stand as their hash."""
    return {"modelseal": "working-key", **{name: _short(value) for name, value in bound.items()}}


def _short(value: str) -> str:
    return value if len(value) <= 256 else hashlib.sha256(value.encode()).hexdigest()


def _provider(parsed: StoreUri, key: AwsKey) -> LayeredProvider:
    return LayeredProvider(
        parsed.uri, key, cache_seconds=parsed.cache_seconds, store_seconds=parsed.limit_seconds
    )
