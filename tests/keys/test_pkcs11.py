"""Keys in a PKCS#11 token, SoftHSM's own library: URIs, PINs, removal, forks, what may leave."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from tests.keys.stores.softhsm import PIN, SoftHsm

from modelseal import keys
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import (
    ConfigInvalid,
    InputMissing,
    KeyStoreUnavailable,
    OutputExists,
    PassphraseWrong,
    SecretNeeded,
    WrappedKeyInvalid,
)
from modelseal.keys import dispatch, reference
from modelseal.keys.pkcs11 import module as modules
from modelseal.keys.pkcs11 import token as tokens
from modelseal.keys.pkcs11 import uri as uris
from modelseal.keys.reference import Reference

CONTEXT = {"purpose": "test", "product": "p"}


def fresh() -> str:
    return f"key-{os.urandom(4).hex()}"


def test_a_uri_is_read_as_rfc_7512_says() -> None:
    found = uris.parse(
        "pkcs11:token=My%20Token;object=kek;id=%01%FF;type=secret-key"
        "?module-path=/usr/lib/x.so&pin-source=file:/etc/pin&x-limit-seconds=3"
    )
    assert found.token == {"token": "My Token"} and found.object == "kek"
    assert found.id == b"\x01\xff" and found.module() == "/usr/lib/x.so"
    assert found.pin_source == Path("/etc/pin") and found.limit_seconds == 3
    assert uris.parse(str(found)).of("kek", b"\x01\xff", "secret-key").id == found.id


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=a?pin-value=1234",
        "pkcs11:token=a;token=b",
        "pkcs11:nonsense=a",
        "pkcs11:token",
        "pkcs11:token=a b",
        "pkcs11:token=a%2",
        "pkcs11:token=",
        "pkcs11:token=%ff",
        "pkcs11:token=%00",
        "pkcs11:token=a#b",
        "pkcs11:token=a;type=rubbish",
        "pkcs11:id=",
        "pkcs11:id=" + "%41" * 65,
        "pkcs11:token=a?module-name=softhsm2",
        "pkcs11:token=a?pin-source=|/bin/cat",
        "pkcs11:token=a?pin-source=pin.txt",
        "pkcs11:token=a?pin-source=https://example.com/pin",
        "pkcs11:token=a?x-mechanism=rot13",
        "pkcs11:token=a?x-limit-seconds=601",
        "pkcs11:token=a?x-limit-seconds=1e9",
        "pkcs11:token=" + "a" * 3000,
    ],
)
def test_another_uri_is_refused_before_a_token_is_looked_for(uri: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        keys.open_provider(uri)
    assert "1234" not in str(refused.value)


def test_the_module_is_named_in_the_uri_or_the_environment(
    softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(uris.MODULE_VARIABLE, raising=False)
    bare = f"pkcs11:token=shop;object={fresh()}?pin-source=file:{softhsm.pin_file}"
    with pytest.raises(ConfigInvalid):
        keys.create(bare)
    monkeypatch.setenv(uris.MODULE_VARIABLE, softhsm.module)
    assert keys.create(bare).describe()["token"] == "shop"
    for wrong in ("/nowhere/x.so", str(softhsm.pin_file)):
        with pytest.raises(KeyStoreUnavailable):
            keys.open_provider(f"pkcs11:token=shop;object=x?module-path={wrong}")
    with pytest.raises(ConfigInvalid):
        keys.open_provider("pkcs11:token=shop;object=x?module-path=x.so")


def test_a_key_is_made_once_and_missed_where_there_is_none(softhsm: SoftHsm) -> None:
    uri = softhsm.uri(fresh())
    with pytest.raises(InputMissing):
        keys.open_provider(uri)
    keys.create(uri)
    with pytest.raises(OutputExists):
        keys.create(uri)
    with pytest.raises(KeyStoreUnavailable, match="not there"):
        keys.open_provider(softhsm.uri("x", token="nobody"))
    with pytest.raises(ConfigInvalid):
        keys.open_provider(softhsm.token_uri)


def test_the_key_is_made_in_the_token_and_cannot_leave_it(softhsm: SoftHsm) -> None:
    uri = softhsm.uri(fresh())
    shown = keys.create(uri).describe()
    assert shown["made_in_token"] is True and shown["mechanism"] == "aes-gcm"
    p11, parsed = modules.wrapper(), uris.parse(uri)

    def look(session: Any) -> None:
        (key,) = session.get_objects({p11.Attribute.LABEL: parsed.object})
        assert not key[p11.Attribute.EXTRACTABLE] and key[p11.Attribute.SENSITIVE]
        assert key[p11.Attribute.NEVER_EXTRACTABLE] and key[p11.Attribute.ALWAYS_SENSITIVE]
        assert not key[p11.Attribute.WRAP] and not key[p11.Attribute.UNWRAP]
        with pytest.raises(p11.AttributeSensitive):
            _ = key[p11.Attribute.VALUE]

    tokens.logged_in(parsed, None).use(look)


def test_a_key_that_may_leave_the_token_is_not_used(softhsm: SoftHsm) -> None:
    p11, name = modules.wrapper(), fresh()
    uri = softhsm.uri(name)
    tokens.logged_in(uris.parse(uri), None).use(
        lambda session: session.generate_key(
            p11.KeyType.AES, 256, label=name, id=b"loose", store=True,
            template={p11.Attribute.EXTRACTABLE: True, p11.Attribute.SENSITIVE: False},
        )
    )  # fmt: skip
    with pytest.raises(KeyStoreUnavailable, match="may leave"):
        keys.open_provider(uri)


def test_two_keys_of_one_name_are_told_apart_by_their_id(softhsm: SoftHsm) -> None:
    name = fresh()
    for ident in ("%01", "%02"):
        keys.create(softhsm.uri(f"{name};id={ident}"))
    with pytest.raises(ConfigInvalid, match="several"):
        keys.open_provider(softhsm.uri(name))
    one, two = (keys.open_provider(softhsm.uri(f"{name};id={n}")) for n in ("%01", "%02"))
    assert not two.owns(one.wrap(b"k", CONTEXT))


def test_the_pin_is_asked_for_and_shown_nowhere(
    softhsm: SoftHsm, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    softhsm.make_token("asking")
    modules.module(softhsm.module).reload()
    uri = softhsm.asking(fresh(), "asking")
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return PIN

    with pytest.raises(SecretNeeded):
        keys.create(uri)
    provider = keys.create(uri, ask=ask)
    assert asked == ["PIN of the token asking: "]
    wrapped = provider.wrap(b"k" * 32, CONTEXT)
    assert keys.open_provider(uri).unwrap(wrapped, CONTEXT) == b"k" * 32
    shown = f"{provider!r} {provider.describe()} {provider.uri} {caplog.text}"
    assert PIN not in shown and len(asked) == 1


def test_a_refused_pin_is_not_tried_again(softhsm: SoftHsm) -> None:
    softhsm.make_token("careful")
    modules.module(softhsm.module).reload()
    uri, typed = softhsm.asking("x", "careful"), []

    def ask(_prompt: str) -> str:
        typed.append("0000")
        return "0000"

    for _ in range(2):
        with pytest.raises(PassphraseWrong):
            keys.open_provider(uri, ask=ask)
    assert len(typed) == 2  # once for each time that a person was asked
    with pytest.raises(InputMissing):
        keys.open_provider(uri, ask=lambda _: PIN)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_pin_file_that_others_may_read_is_refused(softhsm: SoftHsm, mode: int) -> None:
    other = softhsm.pin_file.with_name("loose-pin")
    other.write_text(PIN)
    other.chmod(mode)
    uri = f"pkcs11:token=shop;object=x?module-path={softhsm.module}&pin-source=file:{other}"
    with pytest.raises(KeyStoreUnavailable, match="chmod"):
        keys.open_provider(uri)


def test_a_token_that_was_taken_out_is_unavailable_and_works_again_when_it_is_back(
    softhsm: SoftHsm,
) -> None:
    provider = keys.create(softhsm.uri(fresh()))
    wrapped = provider.wrap(b"k" * 32, CONTEXT)
    for _ in range(2):
        softhsm.take_out()
        try:
            for _ in range(2):
                with pytest.raises(KeyStoreUnavailable):
                    provider.unwrap(wrapped, CONTEXT)
        finally:
            softhsm.put_back()
        assert provider.unwrap(wrapped, CONTEXT) == b"k" * 32


def test_altered_bytes_are_refused_without_starting_the_token_anew(softhsm: SoftHsm) -> None:
    provider = keys.create(softhsm.uri(fresh()))
    wrapped = bytearray(provider.wrap(b"k" * 32, CONTEXT))
    before = modules.module(softhsm.module).number
    wrapped[60] ^= 1
    with pytest.raises(WrappedKeyInvalid):
        provider.unwrap(bytes(wrapped), CONTEXT)
    assert modules.module(softhsm.module).number == before


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_the_module_itself(softhsm: SoftHsm) -> None:
    provider = keys.create(softhsm.uri(fresh()))
    wrapped = provider.wrap(b"k" * 32, CONTEXT)
    pid = os.fork()
    if pid == 0:
        good = False
        try:
            good = provider.unwrap(wrapped, CONTEXT) == b"k" * 32
        finally:
            os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert provider.unwrap(wrapped, CONTEXT) == b"k" * 32


@pytest.mark.parametrize("alg", ["Ed25519", "ES256", "RS256"])
def test_a_signing_key_in_the_token_signs_as_any_other(softhsm: SoftHsm, alg: str) -> None:
    where, made = dispatch.create_signer(softhsm.token_uri, alg, f"lease {fresh()}")
    VerifyKey.from_jwk(made.jwk, alg).verify(made.sign(b"data"), b"data")
    again = dispatch.open_signer(reference.decode(reference.encode(where)))
    assert (again.kid, again.alg) == (made.kid, alg)
    VerifyKey.from_jwk(made.jwk, alg).verify(again.sign(b"more"), b"more")
    with pytest.raises(KeyStoreUnavailable, match="never leaves"):
        again.to_pkcs8()
    softhsm.take_out()
    try:
        with pytest.raises(KeyStoreUnavailable):
            again.sign(b"data")
    finally:
        softhsm.put_back()
    assert again.sign(b"data")


def test_a_reference_to_another_key_signs_nothing(softhsm: SoftHsm) -> None:
    one, _ = dispatch.create_signer(softhsm.token_uri, "Ed25519", fresh())
    two, _ = dispatch.create_signer(softhsm.token_uri, "Ed25519", fresh())
    with pytest.raises(KeyStoreUnavailable):
        dispatch.open_signer(Reference(two.uri, "Ed25519", one.public))
    gone = one.uri.replace("type=private", "type=private").replace("object=", "object=no")
    with pytest.raises(InputMissing):
        dispatch.open_signer(Reference(gone, "Ed25519", one.public))


def test_what_keeps_no_signing_key_says_so(softhsm: SoftHsm) -> None:
    with pytest.raises(ConfigInvalid):
        dispatch.create_signer("file:a.key", "Ed25519", "lease")
    with pytest.raises(ConfigInvalid):
        dispatch.create_signer(softhsm.token_uri, "ML-DSA-65", "lease")
    with pytest.raises(ConfigInvalid):
        dispatch.create_signer(softhsm.uri("kek"), "Ed25519", "lease")


def test_a_key_that_is_elsewhere_tells_its_id_and_signs_nothing(softhsm: SoftHsm) -> None:
    where, made = dispatch.create_signer(softhsm.token_uri, "ES256", fresh())
    shown = reference.absent(where)
    assert shown.kid == made.kid and reference.is_absent(shown) and not reference.is_absent(made)
    with pytest.raises(KeyStoreUnavailable):
        shown.sign(b"data")
    with pytest.raises(KeyStoreUnavailable):
        shown.to_pkcs8()
