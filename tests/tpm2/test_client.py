"""The command protocol against a real emulator: sessions, policies, statements, room."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.tpm import SwTpm, emulator, requires_swtpm

from modelseal.errors import (
    ConfigInvalid,
    EvidenceInvalid,
    KeyPolicyFailed,
    KeyStoreUnavailable,
    SealedKeyInvalid,
    TpmFailed,
)
from modelseal.tpm2.chip import (
    Address,
    Ref,
    Tpm,
    attesting,
    connect,
    endorsement,
    hmac_session,
    nv,
    objects,
    policies,
    policy_session,
    state,
    using,
)
from modelseal.tpm2.chip.codes import Rc, is_rc
from modelseal.tpm2.chip.objects import Loaded
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.attest import Attest, Certified, NvStated, Quoted, Signature, Timed
from modelseal.tpm2.wire.codec import u32, u64
from modelseal.tpm2.wire.codes import Alg, Attribute, Command, Hierarchy, Operation, TimeField
from modelseal.tpm2.wire.policy import PcrSelection, Policy, pcr_digest
from modelseal.tpm2.wire.public import Ecc, Public, ecc_of
from modelseal.tpm2.wire.secrets import make_credential, qualified_name

pytestmark = requires_swtpm
SECRET = b"\x5a\xa5" * 16
PCRS = (PcrSelection(Alg.SHA256, (7, 11)),)


class Spy:
    """A channel between here and the TPM that keeps what passes, and may alter answers."""

    def __init__(self, inner, alter=None):
        self.inner, self.alter, self.seen = inner, alter, b""
        self.managed = True

    def send(self, command):
        answer = self.inner.send(command)
        self.seen += command + answer
        return self.alter(command, answer) if self.alter else answer

    def close(self):
        self.inner.close()


def root(tpm):
    return objects.primary(tpm, Hierarchy.OWNER, templates.storage_root())


def sealed(tpm, key, policy=b""):
    with hmac_session(tpm, key, key.public) as session:
        template = templates.sealed_secret(policy)
        return objects.create(tpm, key, template, SECRET, (session.use(hide=True),))


def unsealed(tpm, key, made):
    with hmac_session(tpm, key, key.public) as session, objects.loaded(tpm, key, made) as found:
        return using.unseal(tpm, found, (session.use(secret_answer=True),))


def test_a_secret_passes_the_wire_encrypted_in_both_directions(tpm: Tpm) -> None:
    spy = Spy(tpm._channel)
    watched = Tpm(spy)
    with root(watched) as key:
        assert unsealed(watched, key, sealed(watched, key)) == SECRET
    assert spy.seen and SECRET not in spy.seen


def test_an_answer_that_was_altered_on_the_wire_is_refused(tpm: Tpm) -> None:
    def alter(command, answer):
        unseals = command[6:10] == u32(Command.UNSEAL)
        return answer[:16] + bytes([answer[16] ^ 1]) + answer[17:] if unseals else answer

    watched = Tpm(Spy(tpm._channel, alter))
    with root(watched) as key:
        made = sealed(watched, key)
        with pytest.raises(KeyStoreUnavailable) as refused:
            unsealed(watched, key, made)
    assert "altered" in refused.value.detail


@pytest.mark.parametrize(
    "cut", [b"", b"\x80", b"\x80\x01\x00\x00\x00\x0a\x00", bytes(10), bytes(4000)]
)
def test_whatever_answers_that_is_no_tpm_is_refused(cut: bytes) -> None:
    class Odd:
        managed = True

        def send(self, command):
            return cut

        def close(self):
            pass

    with pytest.raises(KeyStoreUnavailable):
        state.read_clock(Tpm(Odd()))


def test_five_hundred_operations_leave_nothing_in_the_tpm(tpm: Tpm) -> None:
    with root(tpm) as key:
        made = sealed(tpm, key)
        signing = objects.create(tpm, key, templates.signing_key())
    for number in range(125):
        with root(tpm) as key:
            assert unsealed(tpm, key, made) == SECRET
            with objects.loaded(tpm, key, signing) as signer:
                using.sign(tpm, signer, hashlib.sha256(b"%d" % number).digest())
            with policy_session(tpm, key, key.public) as session:
                policies.pcr(session, PCRS)
            with pytest.raises(TpmFailed), objects.loaded(tpm, key, signing) as signer:
                using.unseal(tpm, signer, (using_password(),))
    assert tpm.handles(0x80000000) == () and tpm.handles(0x02000000) == ()


def using_password():
    from modelseal.tpm2.chip.session import PASSWORD

    return PASSWORD


def test_what_a_killed_process_left_in_the_tpm_is_flushed(shared: SwTpm) -> None:
    for _ in range(5):
        first = shared.connect()
        for _ in range(2):
            objects.create_primary(first, Hierarchy.OWNER, templates.storage_root())
        first.close()
    with shared.connect() as again, root(again) as key:
        assert unsealed(again, key, sealed(again, key)) == SECRET


def test_our_keys_cannot_be_exported_and_count_as_no_guess(tpm: Tpm) -> None:
    wanted = templates.NEVER_EXPORTABLE | Attribute.NO_DA
    with root(tpm) as key:
        assert key.public.has(wanted)
        for template in (templates.signing_key(), templates.exchange_key()):
            made = objects.create(tpm, key, template).parsed
            assert made.has(wanted)
        assert sealed(tpm, key).parsed.has(Attribute.NO_DA | templates.FIXED)


def test_policies_are_digested_here_as_in_the_tpm(tpm: Tpm) -> None:
    values = pcr_digest(PCRS, state.read_pcrs(tpm, PCRS))
    limit = u64(2**40)
    index = nv.define(tpm, 0x01800077, 8)
    index = nv.write(tpm, index, bytes(8))
    with policy_session(tpm) as session:
        policies.pcr(session, PCRS, values)
        policies.counter_timer(session, limit, TimeField.CLOCK, Operation.UNSIGNED_LESS)
        policies.nv(session, index, bytes(8), 0, Operation.EQUAL)
        policies.secret(session, Ref.fixed(Hierarchy.ENDORSEMENT), b"reference")
        policies.command(session, Command.UNSEAL)
        made = (
            Policy()
            .pcr(PCRS, values)
            .counter_timer(limit, TimeField.CLOCK, Operation.UNSIGNED_LESS)
            .nv(index.name, bytes(8), 0, Operation.EQUAL)
            .secret(u32(Hierarchy.ENDORSEMENT), b"reference")
            .command(Command.UNSEAL)
        )
        assert policies.get_digest(session) == made.digest
        branches = [made.digest, bytes(32)]
        policies.any_of(session, branches)
        assert policies.get_digest(session) == made.any_of(branches).digest
    nv.undefine(tpm, index)


def test_the_clock_may_not_be_over_and_does_not_fall_for_a_slower_rate(own: SwTpm) -> None:
    with own.connect() as tpm, root(tpm) as key:
        before = state.read_clock(tpm)[1]
        state.clock_rate_adjust(tpm, -3)
        past = Policy().counter_timer(u64(1), TimeField.CLOCK, Operation.UNSIGNED_LESS)
        made = objects.create(tpm, key, templates.exchange_key(past.digest))
        with policy_session(tpm) as session, pytest.raises((KeyPolicyFailed, TpmFailed)):
            policies.counter_timer(session, u64(1), TimeField.CLOCK, Operation.UNSIGNED_LESS)
        with objects.loaded(tpm, key, made) as found, pytest.raises((KeyPolicyFailed, TpmFailed)):
            point = ecc_of(ec.generate_private_key(ec.SECP256R1()).public_key())
            using.exchange(tpm, found, point.x, point.y)
        assert state.read_clock(tpm)[1].clock >= before.clock


def test_statements_are_signed_and_name_what_they_are_about(tpm: Tpm) -> None:
    with (
        objects.primary(tpm, Hierarchy.ENDORSEMENT, templates.attestation_key()) as ak,
        root(tpm) as key,
    ):
        values = state.read_pcrs(tpm, PCRS)
        said = {
            "quote": attesting.quote(tpm, ak, b"nonce", PCRS),
            "certify": attesting.certify(tpm, key, ak, b"nonce"),
            "time": attesting.get_time(tpm, ak, b"nonce"),
        }
        found = {}
        for name, (attest, signature) in said.items():
            Signature.from_bytes(signature).verify(ak.public.public_key(), attest)
            with pytest.raises(EvidenceInvalid):
                Signature.from_bytes(signature).verify(ak.public.public_key(), attest + b"\0")
            found[name] = Attest.from_bytes(attest)
            assert found[name].extra == b"nonce" and found[name].to_bytes() == attest
        quoted, certified = found["quote"].statement, found["certify"].statement
        assert isinstance(quoted, Quoted) and quoted.pcr_digest == pcr_digest(PCRS, values)
        assert isinstance(certified, Certified) and certified.name == key.name
        assert certified.qualified_name == qualified_name(u32(Hierarchy.OWNER), key.name)
        assert isinstance(found["time"].statement, Timed)


def test_a_counter_only_grows_and_can_be_certified(tpm: Tpm) -> None:
    index = nv.define(tpm, 0x01800078, 8, nv.OUR_COUNTER)
    first = nv.increment(tpm, index)
    second = nv.increment(tpm, first)
    counted = nv.counter(tpm, second)
    with objects.primary(tpm, Hierarchy.ENDORSEMENT, templates.attestation_key()) as ak:
        attest, signature = attesting.nv_certify(tpm, ak, second, 8, b"nonce")
        Signature.from_bytes(signature).verify(ak.public.public_key(), attest)
    statement = Attest.from_bytes(attest).statement
    assert isinstance(statement, NvStated)
    assert (statement.index_name, statement.contents) == (second.name, u64(counted))
    nv.undefine(tpm, second)
    again = nv.increment(tpm, nv.define(tpm, 0x01800078, 8, nv.OUR_COUNTER))
    assert nv.counter(tpm, again) > counted
    nv.undefine(tpm, again)
    assert nv.find_index(tpm, 0x01800078) is None


def test_a_credential_opens_only_beside_the_key_that_it_names(tpm: Tpm) -> None:
    with (
        endorsement.loaded(tpm, endorsement.find(tpm)[0]) as ek,
        objects.primary(tpm, Hierarchy.ENDORSEMENT, templates.attestation_key()) as ak,
    ):
        blob, seed = make_credential(ek.public, ak.name, b"proof", os.urandom)
        assert attesting.activate_credential(tpm, ak, ek, ek.public, blob, seed) == b"proof"
        other, seed2 = make_credential(ek.public, b"\0\x0b" + bytes(32), b"proof", os.urandom)
        with pytest.raises(TpmFailed) as refused:
            attesting.activate_credential(tpm, ak, ek, ek.public, other, seed2)
        assert is_rc(refused.value, Rc.INTEGRITY)


def test_a_manufactured_tpm_is_found_by_its_p384_certificate() -> None:
    """What ``swtpm_setup`` makes persistent is the P-384 key of the high range."""
    with emulator(manufactured=True, tcp=True) as made, made.connect() as tpm:
        found = endorsement.find(tpm)
        assert [each.kind.label for each in found] == ["P-384", "RSA-2048"]
        for each in found:
            assert each.certificate is not None
            with endorsement.loaded(tpm, each) as kept:
                assert endorsement.holds(each.certificate, kept.public)
            with objects.primary(tpm, Hierarchy.ENDORSEMENT, each.kind.template()) as anew:
                assert endorsement.holds(each.certificate, anew.public), "the template is the one"
                blob, seed = make_credential(kept.public, kept.name, b"proof", os.urandom)
                assert blob and seed


# RFC 9180, appendix A.3.1: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode, seq 0
RFC_9180 = {
    "info": "4f6465206f6e2061204772656369616e2055726e",
    "skRm": "f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2",
    "enc": "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5"
    "b7f951c0900be863c403ce65c9bfcb9382657222d18c4",
    "shared_secret": "c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8",
    "pt": "4265617574792069732074727574682c20747275746820626561757479",
    "ct": "5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f3951"
    "3434",
    "aad": "436f756e742d30",
}
KEM_ID = b"KEM" + bytes.fromhex("0010")
HPKE_ID = b"HPKE" + bytes.fromhex("001000010001")


def extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, "sha256")


def expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    message = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01"
    return hmac.digest(key, message, "sha256")[:size]


def imported(tpm: Tpm, private: ec.EllipticCurvePrivateKey) -> Loaded:
    """A known private key in the TPM, in no hierarchy: how vectors get there."""
    from dataclasses import replace

    from modelseal.tpm2.wire.codec import sized, u16

    point = ecc_of(private.public_key())
    body = replace(templates.exchange_key().body, x=point.x, y=point.y)
    wanted = Attribute.USER_WITH_AUTH | Attribute.DECRYPT | Attribute.NO_DA
    public = Public(wanted, body)
    number = private.private_numbers().private_value.to_bytes(32, "big")
    sensitive = u16(Alg.ECC) + sized(b"") + sized(b"") + sized(number)
    command = sized(sensitive) + sized(public.to_bytes()) + u32(Hierarchy.NULL)
    reply = tpm.execute(Command.LOAD_EXTERNAL, (), command, answer_handles=1)
    return Loaded(reply.handles[0], public.name, public)


def test_the_vector_of_rfc_9180_opens_by_the_tpms_exchange(tpm: Tpm) -> None:
    """The library's HPKE has no associated data, so the schedule of the vector is done here."""
    given = {name: bytes.fromhex(value) for name, value in RFC_9180.items()}
    private = ec.derive_private_key(int.from_bytes(given["skRm"], "big"), ec.SECP256R1())
    point = ecc_of(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), given["enc"]))
    found = imported(tpm, private)
    with (
        tpm.flushing(found.handle),
        root(tpm) as key,
        hmac_session(tpm, key, key.public) as session,
    ):
        auth = session.use(secret_answer=True)
        dh = using.exchange(tpm, found, point.x, point.y, (auth,))
    mine = ecc_of(private.public_key())
    context = given["enc"] + b"\x04" + mine.x + mine.y
    secret = expand(KEM_ID, extract(KEM_ID, b"", b"eae_prk", dh), b"shared_secret", context, 32)
    assert secret == given["shared_secret"]
    told = b"\0" + extract(HPKE_ID, b"", b"psk_id_hash", b"")
    told += extract(HPKE_ID, b"", b"info_hash", given["info"])
    scheduled = extract(HPKE_ID, secret, b"secret", b"")
    aes, nonce = (
        expand(HPKE_ID, scheduled, label, told, size)
        for label, size in ((b"key", 16), (b"base_nonce", 12))
    )
    assert AESGCM(aes).decrypt(nonce, given["ct"], given["aad"]) == given["pt"]


def test_the_library_opens_for_an_imported_key_what_it_sealed_to_it(tpm: Tpm) -> None:
    from modelseal.crypto.hpke_p256 import P256PrivateKey, P256PublicKey, point_jwk

    private = ec.derive_private_key(int(RFC_9180["skRm"], 16), ec.SECP256R1())
    point = ecc_of(private.public_key())
    jwk = point_jwk(point.x, point.y)
    found = imported(tpm, private)
    with tpm.flushing(found.handle):
        opener = P256PrivateKey(lambda x, y: using.exchange(tpm, found, x, y), jwk)
        assert opener.open(P256PublicKey(jwk).seal(SECRET, b"info"), b"info") == SECRET


def test_hpke_of_the_library_opens_through_the_tpm(tpm: Tpm) -> None:
    from modelseal.crypto.hpke_p256 import P256PrivateKey, P256PublicKey, point_jwk

    with root(tpm) as key:
        made = objects.create(tpm, key, templates.exchange_key())
    body = made.parsed.body
    assert isinstance(body, Ecc)
    jwk = point_jwk(body.x, body.y)

    def exchange(x: bytes, y: bytes) -> bytes:
        with root(tpm) as key, objects.loaded(tpm, key, made) as found:
            return using.exchange(tpm, found, x, y)

    sealed_to = P256PublicKey(jwk).seal(SECRET, b"info")
    assert P256PrivateKey(exchange, jwk).open(sealed_to, b"info") == SECRET
    with pytest.raises(SealedKeyInvalid):
        P256PrivateKey(exchange, jwk).open(sealed_to, b"another")

    def broken(x: bytes, y: bytes) -> bytes:
        raise TpmFailed("the TPM could not", rc=0x101)

    with pytest.raises(TpmFailed):
        P256PrivateKey(broken, jwk).open(sealed_to, b"info")


@pytest.mark.parametrize(
    "address",
    ["tpmrm0", "10.0.0.1:2321", "example.com:1", "127.0.0.1:0", "127.0.0.1:99999", "unix:relative"],
)
def test_an_emulator_is_reached_on_this_computer_only(address: str) -> None:
    with pytest.raises(ConfigInvalid):
        Address.parse(address)


@pytest.mark.parametrize("address", ["/dev/tpmrm0", "unix:/run/tpm.sock", "127.0.0.1:2321"])
def test_addresses_are_written_as_they_are_read(address: str) -> None:
    assert str(Address.parse(address)) == address


def test_what_is_no_tpm_device_says_so(tmp_path: Path) -> None:
    (tmp_path / "tpm0").write_bytes(b"")
    for path in (tmp_path / "none", tmp_path / "tpm0"):
        with pytest.raises(KeyStoreUnavailable):
            connect(str(path))
    with pytest.raises(KeyStoreUnavailable) as refused:
        connect("127.0.0.1:9")
    assert "127.0.0.1:9" in refused.value.detail
