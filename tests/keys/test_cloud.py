"""Cloud key services: what is bound, what their failures become, and where they may be."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import boto3
import grpc
import pytest
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm
from tests.keys.stores.azure import KeyVault
from tests.keys.stores.google import CloudKms
from tests.keys.stores.transit import Transit

from modelseal import keys
from modelseal.errors import (
    ConfigInvalid,
    InputMissing,
    KeyStoreUnavailable,
    OutputExists,
    WrappedKeyInvalid,
)
from modelseal.keys import awskms, azurekv, layered, vault
from modelseal.types import Level

CONTEXT: dict[str, str | int | bytes] = {"purpose": "data-key", "product": "p", "section": 3}


def store_bytes(wrapped: bytes) -> bytes:
    """What the store made of the working key."""
    start = len(layered.MAGIC) + 1 + layered.KEY_ID_BYTES
    length = int.from_bytes(wrapped[start : start + 2], "little")
    return wrapped[start + 2 : start + 2 + length]


@pytest.mark.parametrize(
    "uri",
    [
        "awskms:alias/a?region=europe",
        "awskms:alias/a?endpoint=http://kms.example.com",
        "awskms:alias/a?endpoint=https://user:secret@kms.example.com",
        "awskms:nonsense",
        "awskms:alias/a?access_key=x",
        "gcpkms:projects/p/cryptoKeys/k",
        "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k?endpoint=http://x",
        "azurekv:http://127.0.0.1/keys/k",
        "azurekv:https://shop.vault.azure.net/secrets/k",
        "azurekv:https://shop.vault.azure.net/keys/k?type=paper",
        "vault:http://vault.example.com/transit/k",
        "vault:https://token@vault.example.com/transit/k",
        "vault:https://vault.example.com/k",
        "vault:https://vault.example.com/transit/../sys/k",
        "vault:https://vault.example.com/transit/k?token=x",
        "vault:https://vault.example.com/transit/k?cache_seconds=86401",
        "vault:https://[::1/transit/k",
    ],
)
def test_another_uri_is_refused_and_never_repeated(uri: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        keys.open_provider(uri)
    assert "secret" not in f"{refused.value} {refused.value.params}"


def test_an_endpoint_from_the_environment_is_no_plain_http_either(
    aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://kms.example.com")
    with pytest.raises(ConfigInvalid):
        keys.open_provider(aws.uri("x"))


def test_aws_binds_purpose_product_and_server_as_its_encryption_context(aws: Any) -> None:
    provider = keys.create(aws.uri("bound"))
    wrapped = provider.wrap(b"k" * 32, {**CONTEXT, "server": "srv_1"})
    client = boto3.client("kms", region_name="eu-central-1")
    bound = {
        "modelseal": "working-key", "purpose": "data-key", "product": "p", "server": "srv_1",
    }  # fmt: skip
    blob = store_bytes(wrapped)
    assert len(client.decrypt(CiphertextBlob=blob, EncryptionContext=bound)["Plaintext"]) == 32
    for other in ({}, {**bound, "product": "q"}):
        with pytest.raises(client.exceptions.InvalidCiphertextException):
            client.decrypt(CiphertextBlob=blob, EncryptionContext=other)


def test_aws_keys_are_opened_by_alias_id_and_arn_and_are_one_key(aws: Any) -> None:
    provider = keys.create(aws.uri("named"))
    arn = str(provider.describe()["key"])
    wrapped = provider.wrap(b"k", CONTEXT)
    for name in (arn, arn.rpartition("/")[2]):
        found = keys.open_provider(f"awskms:{name}?region=eu-central-1")
        assert found.unwrap(wrapped, CONTEXT) == b"k"
    with pytest.raises(OutputExists):
        keys.create(f"awskms:{arn}")
    with pytest.raises(InputMissing):
        keys.create("awskms:00000000-0000-0000-0000-000000000000?region=eu-central-1")


def test_a_replica_of_an_aws_key_in_another_region_is_the_same_key() -> None:
    one, two, other = (
        awskms._identity(f"arn:aws:kms:{region}:111122223333:key/{name}")
        for region, name in (("eu-west-1", "mrk-1"), ("us-east-1", "mrk-1"), ("us-east-1", "1"))
    )
    assert one == two != other
    assert other != awskms._identity("arn:aws:kms:eu-west-1:111122223333:key/1")


def test_a_disabled_aws_key_and_one_for_signing_are_not_used(aws: Any) -> None:
    client = boto3.client("kms", region_name="eu-central-1")
    ident = client.create_key()["KeyMetadata"]["KeyId"]
    client.disable_key(KeyId=ident)
    with pytest.raises(KeyStoreUnavailable):
        keys.open_provider(f"awskms:{ident}?region=eu-central-1")
    other = client.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]
    with pytest.raises(KeyStoreUnavailable):
        keys.open_provider(f"awskms:{other}?region=eu-central-1")


@pytest.mark.parametrize(
    "status",
    [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL],
)
def test_what_fails_in_google_is_unavailable(google: CloudKms, status: grpc.StatusCode) -> None:
    uri = google.uri("fails", "&cache_seconds=0&limit_seconds=2")
    try:
        wrapped = keys.create(uri).wrap(b"k", CONTEXT)
    except OutputExists:
        wrapped = keys.open_provider(uri).wrap(b"k", CONTEXT)
    provider = keys.open_provider(uri)
    google.fail = status
    try:
        with pytest.raises(KeyStoreUnavailable):
            provider.unwrap(wrapped, CONTEXT)
    finally:
        google.fail = None
    assert provider.unwrap(wrapped, CONTEXT) == b"k"


def test_google_answering_for_another_key_is_not_believed(google: CloudKms) -> None:
    provider = keys.create(google.uri("mine"))
    google.answer_as = "projects/shop/locations/x/keyRings/y/cryptoKeys/other"
    try:
        with pytest.raises(KeyStoreUnavailable, match="another key"):
            provider.wrap(b"k", CONTEXT)
    finally:
        google.answer_as = None


def test_azure_opens_nothing_that_it_did_not_sign(azure: KeyVault) -> None:
    """RSA-OAEP needs the public key only: whoever writes to the store can wrap."""
    provider = keys.create(azure.uri("forged"))
    honest = store_bytes(provider.wrap(b"k" * 32, CONTEXT))
    version = azure.keys["forged"][-1]
    made = version.key.public_key().encrypt(b"w" * 32, azure_padding())
    bound = layered.shown(CONTEXT)
    head = azurekv._HEAD.pack(azurekv.RSA, bytes.fromhex(version.ident), 384)
    signature = honest[azurekv._HEAD.size : azurekv._HEAD.size + 384]
    store = provider._inner._store  # type: ignore[attr-defined]
    assert store.unwrap_key(honest, bound)
    for forged in (head + signature + made, head[:-2] + b"\0\0" + made):
        with pytest.raises(WrappedKeyInvalid):
            store.unwrap_key(forged, bound)
    with pytest.raises(WrappedKeyInvalid):
        store.unwrap_key(honest, {**bound, "product": "q"})


def azure_padding() -> Any:
    from tests.keys.stores.azure import _OAEP

    return _OAEP


def test_a_new_version_of_an_azure_key_wraps_and_the_old_one_opens(azure: KeyVault) -> None:
    uri = azure.uri("rotated")
    old = keys.create(uri).wrap(b"k", CONTEXT)
    azure._create("rotated", {"kty": "RSA-HSM", "key_size": 2048, "key_ops": ["wrapKey",
                  "unwrapKey", "sign", "verify"]})  # fmt: skip
    provider = keys.open_provider(uri)
    new = provider.wrap(b"k", CONTEXT)
    assert provider.owns(old) and provider.unwrap(old, CONTEXT) == b"k"
    assert (
        azurekv._HEAD.unpack_from(store_bytes(old))[1]
        != azurekv._HEAD.unpack_from(store_bytes(new))[1]
    )


def test_an_azure_key_counts_by_what_keeps_it(azure: KeyVault) -> None:
    levels = {
        kind: keys.create(azure.uri(f"kind-{kind}", f"?type={kind}")).level
        for kind in azurekv.TYPES
    }
    assert levels == {"rsa-hsm": Level.L1, "oct-hsm": Level.L1, "rsa": Level.L0}
    azure._create("narrow", {"kty": "RSA", "key_size": 2048, "key_ops": ["wrapKey"]})
    with pytest.raises(ConfigInvalid, match="does not permit"):
        keys.open_provider(azure.uri("narrow"))


def test_azures_client_would_wrap_by_a_key_that_it_invents(azure: KeyVault) -> None:
    """Why A256KW is not used: were this ever to fail, the other mode could be thought of again."""
    keys.create(azure.uri("invented", "?type=oct-hsm"))
    version = azure.keys["invented"][-1]
    version.operations += ["wrapKey", "unwrapKey"]
    from azure.identity import DefaultAzureCredential

    before = len(azure.calls)
    with (
        DefaultAzureCredential() as credential,
        CryptographyClient(f"{azure.url}/keys/invented/{version.ident}", credential) as client,
    ):
        assert client.wrap_key(KeyWrapAlgorithm.aes_256, b"w" * 32).encrypted_key
    assert not any(path.endswith("wrapkey") for _, path in azure.calls[before:])


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_what_fails_in_azure_is_unavailable(azure: KeyVault, status: int) -> None:
    azure.status = status
    try:
        with pytest.raises(KeyStoreUnavailable):
            keys.open_provider(azure.uri("x", "?limit_seconds=2"))
    finally:
        azure.status = None


@pytest.mark.parametrize("status", [429, 472, 473, 500, 501, 502, 503, 418])
def test_what_fails_in_vault_is_unavailable(transit: Transit, status: int) -> None:
    uri = transit.uri("fails")
    provider = keys.create(uri) if status == 429 else keys.open_provider(uri)
    wrapped = provider.wrap(b"k", CONTEXT)
    provider.forget()
    transit.status = status
    with pytest.raises(KeyStoreUnavailable, match=str(status)):
        provider.unwrap(wrapped, CONTEXT)
    transit.status = None
    assert provider.unwrap(wrapped, CONTEXT) == b"k"


def test_a_vault_token_that_ended_is_read_again_once(
    transit: Transit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.delenv("VAULT_TOKEN")
    kept = tmp_path / ".vault-token"
    kept.write_text("first-token")
    kept.chmod(0o600)
    transit.tokens = {"first-token"}
    provider = keys.create(transit.uri("renewed", "?cache_seconds=0"))
    wrapped = provider.wrap(b"k", CONTEXT)
    transit.tokens = {"second-token"}
    with pytest.raises(KeyStoreUnavailable, match="token"):
        provider.unwrap(wrapped, CONTEXT)
    kept.write_text("second-token\n")
    assert provider.unwrap(wrapped, CONTEXT) == b"k"
    assert "first-token" not in f"{caplog.text} {provider!r} {provider.describe()}"
    kept.unlink()
    with pytest.raises(KeyStoreUnavailable, match="no Vault token"):
        keys.open_provider(transit.uri("renewed"))


def test_namespaces_of_vault_are_apart(transit: Transit) -> None:
    one = keys.create(transit.uri("apart", "?namespace=shops/one"))
    two = keys.create(transit.uri("apart", "?namespace=shops/two"))
    wrapped = one.wrap(b"k", CONTEXT)
    assert not two.owns(wrapped) and one.unwrap(wrapped, CONTEXT) == b"k"
    assert transit.calls[-1][2]["x-vault-namespace"] == "shops/one"


def test_a_standby_of_vault_is_followed_but_not_away_from_tls(transit: Transit) -> None:
    keys.create(transit.uri("standby"))
    active = Transit()
    try:
        active.keys, active.settings = transit.keys, transit.settings
        transit.elsewhere = active.url
        assert keys.open_provider(transit.uri("standby")).wrap(b"k", CONTEXT)
        for away in ("http://vault.example.com", "https://vault.example.com", "ftp://127.0.0.1"):
            transit.elsewhere = away
            with pytest.raises((KeyStoreUnavailable, ConfigInvalid)):
                keys.open_provider(transit.uri("standby"))
    finally:
        active.close()


NONSENSE = [
    b"", b"<html>", b"[]", b'{"data": 7}', b'{"data": {}}', bytes(100_000),
    b'{"data": {"plaintext": "x"}}', b'{"data": {"plaintext": "AAAA"}}',
]  # fmt: skip


@pytest.mark.parametrize("answer", NONSENSE)
def test_a_vault_that_answers_nonsense_is_unavailable(transit: Transit, answer: bytes) -> None:
    try:
        provider = keys.create(transit.uri("nonsense"))
    except OutputExists:
        provider = keys.open_provider(transit.uri("nonsense"))
    wrapped = provider.wrap(b"k", CONTEXT)
    provider.forget()
    transit.answer = answer
    with pytest.raises(KeyStoreUnavailable):
        provider.unwrap(wrapped, CONTEXT)


def test_a_key_that_vault_would_give_out_is_not_used(transit: Transit) -> None:
    keys.create(transit.uri("loose"))
    transit.settings["", "loose"]["exportable"] = True
    with pytest.raises(KeyStoreUnavailable, match="may leave"):
        keys.open_provider(transit.uri("loose"))
    transit.settings["", "loose"]["type"] = "rsa-2048"
    with pytest.raises(ConfigInvalid):
        keys.open_provider(transit.uri("loose"))


def test_a_service_that_nobody_runs_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "x")
    with pytest.raises(KeyStoreUnavailable):
        keys.open_provider("vault:http://127.0.0.1:9/transit/k")
    monkeypatch.setenv("VAULT_CACERT", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigInvalid):
        keys.open_provider("vault:https://127.0.0.1:9/transit/k")
    assert vault.parse_uri("vault:https://[::1]:8200/a/b/k")[1:] == (
        "https://[::1]:8200",
        "a/b",
        "k",
    )
