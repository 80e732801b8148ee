"""The endorsement key's certificate: up to a root that is pinned, or L0."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from tests.attest.tpm_mint import NOW, Maker, SoftTpm, new_key, random

from modelseal.attest.verify import tpm2, tpm2_chain
from modelseal.attest.verify.steps import NotGenuine, Step
from modelseal.errors import EvidenceInvalid, Misuse

MAKER = Maker()
EK = new_key()
CHAIN = MAKER.chain(EK.public_key())


def endorsed(chain=CHAIN, roots=(MAKER.root,), now=NOW, crls=()):
    return tpm2_chain.endorsement(chain, roots, now, crls)


def refused(act) -> str:
    with pytest.raises(NotGenuine) as caught:
        act()
    return caught.value.code


def test_a_chain_to_a_pinned_root_names_key_root_and_maker():
    found = endorsed()
    assert found.root == tpm2_chain.root_digest(MAKER.root)
    assert found.claims == {"manufacturer": "id:41424344"}
    assert found.digest == endorsed(MAKER.chain(EK.public_key())).digest


@pytest.mark.parametrize(
    ("key", "bits"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), 2048),
        (lambda: ec.generate_private_key(ec.SECP384R1()), 384),
    ],
)
def test_the_other_kinds_of_endorsement_key_are_read_too(key, bits):
    public = key().public_key()
    found = endorsed(MAKER.chain(public, usage={"key_encipherment": True, "key_agreement": True}))
    assert found.key.public_key().key_size == bits
    blob, seed = tpm2.challenge(found, SoftTpm().by, b"s" * 32, random)
    assert len(blob) > 64 and len(seed) > 64


def test_an_intermediate_may_be_pinned_itself():
    assert endorsed(CHAIN[:1], roots=[MAKER.middle]).root == tpm2_chain.root_digest(MAKER.middle)


def test_a_root_that_is_not_pinned_vouches_for_nobody():
    stranger = Maker()  # the same names, other keys
    assert refused(lambda: endorsed(roots=[stranger.root])) == "ek_root_unknown"
    assert refused(lambda: endorsed(roots=[])) == "ek_root_unknown"
    carried = [*CHAIN, MAKER.root.public_bytes(Encoding.DER)]
    assert refused(lambda: endorsed(carried, roots=[])) == "ek_root_unknown"
    assert refused(lambda: endorsed(CHAIN[:1])) == "ek_root_unknown"  # the intermediate is missing


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ends": NOW - timedelta(seconds=1)}, "ek_certificate_expired"),
        ({"begins": NOW + timedelta(seconds=1)}, "ek_certificate_expired"),
        ({"purpose": x509.oid.ExtendedKeyUsageOID.SERVER_AUTH}, "ek_certificate_purpose"),
        ({"purpose": None, "names": [x509.DNSName("tpm.example")]}, "ek_certificate_purpose"),
        ({"usage": {"digital_signature": True}}, "ek_certificate_purpose"),
        ({"ca": True}, "ek_certificate_purpose"),
        ({"more": [(x509.OCSPNoCheck(), True)]}, "ek_root_unknown"),
    ],
)
def test_a_certificate_that_is_wrong_in_one_point_says_in_which(wrong, code):
    assert refused(lambda: endorsed(MAKER.chain(EK.public_key(), **wrong))) == code


def test_a_certificate_without_a_purpose_counts_when_it_names_the_maker():
    assert endorsed(MAKER.chain(EK.public_key(), purpose=None)).digest == endorsed().digest


def test_whoever_is_no_authority_signs_no_endorsement():
    """An endorsement key that signs another certificate makes no TPM."""
    forger = Maker("Forger")
    forger.middle = MAKER.certificate(forger.middle_key.public_key(), "x", "root", ca=False)
    chain = [forger.endorse(EK.public_key()).public_bytes(Encoding.DER)]
    chain.append(forger.middle.public_bytes(Encoding.DER))
    assert refused(lambda: endorsed(chain)) == "ek_root_unknown"


def test_a_path_is_no_longer_than_its_authorities_allow():
    tight = Maker()
    tight.root = tight.certificate(
        tight.root_key.public_key(), "root", "root", ca=True, path_length=0
    )
    chain = tight.chain(EK.public_key())
    assert refused(lambda: endorsed(chain, roots=[tight.root])) == "ek_root_unknown"
    straight = [tight.endorse(EK.public_key(), issuer="root").public_bytes(Encoding.DER)]
    assert endorsed(straight, roots=[tight.root]).digest == endorsed().digest


def test_an_unusual_key_is_refused():
    odd = ed25519.Ed25519PrivateKey.generate().public_key()
    assert refused(lambda: endorsed(MAKER.chain(odd))) == "ek_key_unusual"
    small = rsa.generate_private_key(65537, 1024).public_key()
    assert refused(lambda: endorsed(MAKER.chain(small))) == "ek_key_unusual"


def test_a_revoked_certificate_counts_no_more_and_a_forged_list_revokes_nobody():
    chain = MAKER.chain(EK.public_key(), serial=4711)
    assert refused(lambda: endorsed(chain, crls=[MAKER.crl(4711)])) == "ek_certificate_revoked"
    endorsed(chain, crls=[MAKER.crl(1), Maker().crl(4711), MAKER.crl(4711, issuer="root")])
    later = MAKER.crl(4711, at=NOW + timedelta(days=1))
    endorsed(chain, crls=[later])
    assert refused(lambda: endorsed(chain, now=NOW + timedelta(days=2), crls=[later]))


def test_too_many_or_too_long_certificates_are_malformed():
    for chain in ([], [*CHAIN, *CHAIN, CHAIN[1]], [CHAIN[0] + bytes(9000)], [b"no certificate"]):
        assert refused(lambda c=chain: endorsed(c)) == "ek_certificate_malformed"


@given(st.data())
def test_a_damaged_certificate_gets_a_verdict(data):
    damaged = bytearray(CHAIN[0])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    if bytes(damaged) != CHAIN[0]:
        with pytest.raises(NotGenuine) as caught:
            endorsed([bytes(damaged), CHAIN[1]])
        assert caught.value.step in (Step.PARSE, Step.CHAIN)


def test_a_time_without_a_zone_is_misuse_and_a_root_that_is_none_is_told():
    with pytest.raises(Misuse):
        endorsed(now=NOW.replace(tzinfo=None))
    pem = MAKER.root.public_bytes(Encoding.PEM)
    assert tpm2_chain.pinned([pem, CHAIN[1]]) == (MAKER.root, MAKER.middle)
    with pytest.raises(EvidenceInvalid):
        tpm2_chain.pinned([b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
