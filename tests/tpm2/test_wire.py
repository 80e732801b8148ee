"""Structures: what is written is read again, and no other bytes are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.crypto.signing import SigningKey
from modelseal.errors import ConfigInvalid, EvidenceInvalid, Misuse, ModelsealError, StateDamaged
from modelseal.keys.tpm2 import approvals, keyfile
from modelseal.keys.tpm2.keyfile import KEY, SIGNING, STORAGE, KeyFile
from modelseal.keys.tpm2.uri import parse_pcrs, parse_uri, write_pcrs
from modelseal.tpm2.chip.objects import Made
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.attest import Attest, Certified, Clock, Quoted, Signature
from modelseal.tpm2.wire.codes import Alg, Attribute, Curve
from modelseal.tpm2.wire.policy import PcrSelection, Policy, pcr_digest
from modelseal.tpm2.wire.public import Ecc, KeyedHash, Public, Rsa, Scheme, Symmetric
from modelseal.tpm2.wire.secrets import kdfa, kdfe

registers = st.lists(st.integers(0, 23), unique=True).map(lambda found: tuple(sorted(found)))
selections = st.builds(PcrSelection, st.sampled_from([Alg.SHA256, Alg.SHA384]), registers)
schemes = st.none() | st.builds(
    Scheme, st.sampled_from([Alg.ECDSA, Alg.ECDH]), st.just(int(Alg.SHA256))
)
symmetrics = st.none() | st.builds(Symmetric, st.sampled_from([128, 256]))
points = st.binary(max_size=32)
bodies = (
    st.builds(Ecc, st.just(int(Curve.P256)), points, points, symmetrics, schemes)
    | st.builds(Rsa, st.just(2048), st.binary(max_size=256), st.just(0), symmetrics, schemes)
    | st.builds(KeyedHash, st.binary(max_size=32))
)
publics = st.builds(
    Public,
    st.integers(0, 2**20 - 1).map(Attribute),
    bodies,
    st.binary(max_size=32),
    st.just(int(Alg.SHA256)),
)
clocks = st.builds(
    Clock,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
statements = st.builds(
    Quoted, st.lists(selections, max_size=3).map(tuple), st.binary(max_size=48)
) | st.builds(Certified, st.binary(max_size=34), st.binary(max_size=34))
attests = st.builds(
    Attest,
    st.binary(max_size=34),
    st.binary(max_size=64),
    clocks,
    st.integers(0, 2**64 - 1),
    statements,
)


@given(publics)
def test_a_public_area_is_read_as_it_was_written(public: Public) -> None:
    assert Public.from_bytes(public.to_bytes()) == public


@given(attests)
def test_a_statement_is_read_as_it_was_written(attest: Attest) -> None:
    assert Attest.from_bytes(attest.to_bytes()) == attest


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_in_our_words(data: bytes) -> None:
    for read in (Public.from_bytes, Attest.from_bytes, Signature.from_bytes):
        try:
            found = read(data)
        except (EvidenceInvalid, Misuse):
            continue
        assert found.to_bytes() == data


@given(attests, st.integers(0, 200), st.integers(1, 255))
def test_no_altered_statement_is_read_as_the_same(attest: Attest, place: int, by: int) -> None:
    raw = bytearray(attest.to_bytes())
    raw[place % len(raw)] ^= by
    try:
        assert Attest.from_bytes(bytes(raw)) != attest
    except (EvidenceInvalid, Misuse):
        return


def test_the_policy_of_the_endorsement_key_is_the_profiles() -> None:
    """TCG EK Credential Profile: PolicyA is PolicySecret of the endorsement hierarchy."""
    assert Policy().secret(bytes.fromhex("4000000b")).digest == templates.EK_POLICY_SHA256


def test_key_derivation_gives_as_many_bits_as_are_asked_for() -> None:
    for bits in (128, 256, 384, 640):
        assert len(kdfa(Alg.SHA256, b"key", b"label", b"u", b"v", bits)) == bits // 8
        assert len(kdfe(Alg.SHA384, b"z", b"label", b"u", b"v", bits)) == bits // 8
    long = kdfa(Alg.SHA256, b"key", b"label", b"u", b"v", 512)
    assert long[:32] != long[32:]


def test_a_pcr_digest_wants_every_selected_value() -> None:
    chosen = (PcrSelection(Alg.SHA256, (0, 7)),)
    with pytest.raises(EvidenceInvalid):
        pcr_digest(chosen, {(Alg.SHA256, 0): bytes(32)})
    with pytest.raises(EvidenceInvalid):
        pcr_digest(chosen, {(Alg.SHA256, 0): bytes(32), (Alg.SHA256, 7): bytes(20)})


@given(st.lists(selections, min_size=1, max_size=2, unique_by=lambda each: each.bank))
def test_registers_are_written_as_they_are_read(chosen: list[PcrSelection]) -> None:
    kept = tuple(sorted((each for each in chosen if each.registers), key=lambda each: each.bank))
    if kept:
        assert parse_pcrs(write_pcrs(kept)) == kept


@pytest.mark.parametrize(
    "uri",
    [
        "tpm2:",
        "tpm2:///dev/tpm0",
        "tpm2://127.0.0.1:2321?file=kek.tpm2",
        "tpm2://unix:/run/tpm.sock",
        "tpm2:?file=a%20b.key&pcrs=sha256:7,11&authority=owner.jwk",
        "tpm2:?parent=0x81000001",
    ],
)
def test_a_key_uri_is_written_as_it_is_read(uri: str) -> None:
    assert str(parse_uri(uri)) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "tpm2:kek.key",
        "tpm2://example.com:2321",
        "tpm2:?pcrs=sha1:7",
        "tpm2:?pcrs=sha256:24",
        "tpm2:?pcrs=sha256:7,7",
        "tpm2:?pcrs=",
        "tpm2:?authority=owner.jwk",
        "tpm2:?parent=0x40000001",
        "tpm2:?passphrase=secret",
        "tpm2:?file=a&file=b",
        "tpm2:?file=a%00b",
        "file:a.key",
        "tpm2:#x",
    ],
)
def test_other_key_uris_are_refused(uri: str) -> None:
    with pytest.raises(ConfigInvalid):
        parse_uri(uri)


def made(public: Public) -> Made:
    return Made(public.to_bytes(), b"private")


def key_file() -> KeyFile:
    return KeyFile(
        uri="tpm2:",
        parent=templates.storage_root(),
        endorsement=b"\0\x0b" + bytes(32),
        objects={SIGNING: made(templates.signing_key()), STORAGE: made(templates.sealed_secret())},
        pcrs=parse_pcrs("sha256:7,11"),
        values=bytes(32),
        authority=approvals.authority_of(SigningKey.generate("ES256").jwk),
    )


def test_a_key_file_is_read_as_it_was_written() -> None:
    file = key_file()
    assert keyfile.decode(keyfile.encode(file), "x") == file
    one = KeyFile("tpm2:", file.parent, b"", {KEY: made(templates.sealed_secret())})
    assert keyfile.decode(keyfile.encode(one), "x") == one


@given(st.integers(0, 5000), st.integers(1, 255))
def test_an_altered_key_file_is_refused_or_another_one(place: int, by: int) -> None:
    raw = bytearray(keyfile.encode(ONE))
    raw[place % len(raw)] ^= by
    try:
        assert keyfile.decode(bytes(raw), "x") != ONE
    except StateDamaged:
        return


@given(st.binary(max_size=100))
def test_garbage_is_no_key_file_and_no_policy_file(data: bytes) -> None:
    for read in (keyfile.decode, approvals.decode):
        with pytest.raises(StateDamaged):
            read(data, "x")
        with pytest.raises(StateDamaged):
            read(keyfile.MAGIC + b"\x01" + data, "x")


def test_approvals_are_read_as_they_were_written_and_are_the_owners() -> None:
    owner = SigningKey.generate("ES256")
    one = approvals.approve(owner, parse_pcrs("sha256:7"), bytes(32))
    two = approvals.approve(owner, parse_pcrs("sha256:7"), b"\1" * 32)
    assert approvals.decode(approvals.encode([one, two]), "x") == (one, two)
    one.signature.verify(approvals.authority_of(owner.jwk).public_key(), one.policy)
    with pytest.raises(EvidenceInvalid):
        two.signature.verify(approvals.authority_of(owner.jwk).public_key(), one.policy)
    with pytest.raises(ModelsealError):
        approvals.approve(SigningKey.generate(), parse_pcrs("sha256:7"), bytes(32))


ONE = key_file()
