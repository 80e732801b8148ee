"""Arm PSA and CCA tokens, with a chip maker of our own so that each claim can be wrong."""

from __future__ import annotations

import hashlib

import cbor2
import pytest
from tests.attest.authorities import certificates as c
from tests.attest.authorities.arm import COMPONENT, INSTANCE, Maker, cose_key, raw_point, sign1
from tests.attest.judging import judge, sample, verdict

from modelseal.attest.verify.steps import Status
from modelseal.types import Level

IAK = sample("arm-cca-psa/iak-p256-pub.json").decode()
CCA, PSA = sample("arm-cca-psa/cca-good.cbor"), sample("arm-cca-psa/psa-evidence.cbor")
MALFORMED = (False, "parse", "evidence_malformed")


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


def psa(maker, claims, **given):
    token = claims if isinstance(claims, bytes) else cbor2.dumps(sign1(maker.iak, claims))
    given.setdefault("roots", [maker.jwk.decode()])
    given.setdefault("expected", b"\x0a" * 32)
    given.setdefault("reference", {"component_0": "01" * 32, "signer_0": "02" * 32})
    return judge("psa", token, **given)


def cca(maker, token, **given):
    given.setdefault("roots", [maker.jwk.decode()])
    given.setdefault("expected", b"\x0b" * 64)
    given.setdefault("reference", {"realm_initial": "0d" * 32, "platform_0": "01" * 32})
    return judge("cca", token, **given)


def test_a_good_psa_token_is_affirmed(maker):
    result = psa(maker, maker.psa())
    assert result.affirming and result.level is Level.L2
    assert result.claims["lifecycle"] == "secured"


def test_the_profile_of_the_rfc_and_the_old_one_are_read_too(maker):
    assert psa(maker, maker.psa(k265="tag:psacertified.org,2023:psa#tfm")).affirming
    assert psa(maker, maker.legacy(), expected=b"\x0a" * 48).affirming
    assert psa(maker, maker.legacy(n75000=None), expected=b"\x0a" * 48).affirming


def test_a_key_may_be_pinned_as_pem(maker):
    assert psa(maker, maker.psa(), roots=[maker.pem.decode()]).affirming


def test_an_untagged_token_says_the_same(maker):
    assert psa(maker, cbor2.dumps(sign1(maker.iak, maker.psa(), tag=None))).affirming


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (0x0000, "unknown"),
        (0x1000, "assembly_and_test"),
        (0x2000, "rot_provisioning"),
        (0x3100, "unknown"),
        (0x4000, "non_rot_debug"),
        (0x5000, "recoverable_debug"),
        (0x60FF, "decommissioned"),
    ],
)
def test_every_lifecycle_but_secured_is_refused(maker, value, state):
    for result in (
        psa(maker, maker.psa(k2395=value)),
        cca(maker, maker.cca(platform=maker.platform(k2395=value))),
    ):
        assert verdict(result) == (True, "platform", "arm_lifecycle")
        assert state in result.reason


def test_a_lifecycle_may_be_admitted_by_name(maker):
    options = {"lifecycles": ["secured", "non_rot_debug"]}
    assert psa(maker, maker.psa(k2395=0x4000), options=options).affirming


@pytest.mark.parametrize(
    "changes",
    [
        {"k265": "http://arm.com/psa/3.0.0"},
        {"k265": None},
        {"k10": b"\x0a" * 31},
        {"k10": [b"\x0a" * 32]},
        {"k10": None},
        {"k256": b"\x02" + b"\x09" * 32},
        {"k256": INSTANCE[:-1]},
        {"k2394": "1"},
        {"k2394": None},
        {"k2395": 0x7000},
        {"k2395": True},
        {"k2395": None},
        {"k2396": b"\x07" * 31},
        {"k2399": []},
        {"k2399": None},
        {"k2399": [{**COMPONENT, 2: b"\x01" * 33}]},
        {"k2399": [{1: "BL"}]},
        {"k2399": [b"BL"]},
        {"k2400": 5},
    ],
)
def test_a_wrong_psa_claim_is_no_evidence(maker, changes):
    assert verdict(psa(maker, maker.psa(**changes))) == MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"k265": "http://arm.com/CCA-SSD/2.0.0"},
        {"k265": None},
        {"k10": b"\x01" * 31},
        {"k256": b""},
        {"k2401": "x"},
        {"k2402": "md5"},
        {"k2399": None},
    ],
)
def test_a_wrong_platform_claim_is_no_evidence(maker, changes):
    assert verdict(cca(maker, maker.cca(platform=maker.platform(**changes)))) == MALFORMED


@pytest.mark.parametrize(
    "changes",
    [
        {"k265": "tag:arm.com,2023:realm#2.0.0"},
        {"k10": b"\x0b" * 32},
        {"k10": b"\x0b" * 65},
        {"k44235": b"\x0c" * 63},
        {"k44238": b"\x0d" * 31},
        {"k44239": [b"\x00" * 32] * 3},
        {"k44239": None},
        {"k44237": b"\x04" * 97},
        {"k44237": b""},
        {"k44240": "sha-1"},
        {"k44236": None},
    ],
)
def test_a_wrong_realm_claim_is_no_evidence(maker, changes):
    assert verdict(cca(maker, maker.cca(realm=maker.realm(**changes)))) == MALFORMED


@pytest.mark.parametrize("tag", [399, 907])
def test_a_good_cca_token_is_affirmed_in_both_collections(maker, tag):
    result = cca(maker, maker.cca(tag=tag))
    assert result.affirming and result.level is Level.L4
    assert result.claims["realm"]["initial_measurement"] == "0d" * 32


def test_the_legacy_profile_carries_the_realms_key_as_a_raw_point(maker):
    key = raw_point(maker.rak)
    platform = maker.platform(
        k265="http://arm.com/CCA-SSD/1.0.0", k10=hashlib.sha512(key).digest(), k2395=0x3000
    )
    realm = maker.realm(k265=None, k44237=key, k44240="sha-512")
    assert cca(maker, maker.cca(platform=platform, realm=realm)).affirming


def test_a_realm_key_that_the_platform_does_not_vouch_for_is_not_genuine(maker):
    token = maker.cca(platform=maker.platform(k10=b"\x01" * 32))
    assert verdict(cca(maker, token)) == (False, "signature", "cca_realm_key_unbound")


def test_the_named_hash_is_the_one_that_binds(maker):
    digest = hashlib.sha256(cose_key(maker.rak)).digest()
    token = maker.cca(platform=maker.platform(k10=digest), realm=maker.realm(k44240="sha-512"))
    assert verdict(cca(maker, token)) == (False, "signature", "cca_realm_key_unbound")


def test_a_realm_that_another_key_signed_is_not_genuine(maker):
    other = Maker()
    tokens = [
        cbor2.dumps(sign1(maker.iak, maker.platform())),
        cbor2.dumps(sign1(other.rak, maker.realm())),
    ]
    token = cbor2.dumps(cbor2.CBORTag(399, {44234: tokens[0], 44241: tokens[1]}))
    assert verdict(cca(maker, token)) == (False, "signature", "signature_invalid")


def test_a_realm_key_must_lie_on_p384(maker):
    small = c.p256()
    platform = maker.platform(k10=hashlib.sha256(cose_key(small)).digest())
    realm = sign1(small, maker.realm(k44237=cose_key(small)))
    tokens = cbor2.dumps(sign1(maker.iak, platform)), cbor2.dumps(realm)
    token = cbor2.dumps(cbor2.CBORTag(399, {44234: tokens[0], 44241: tokens[1]}))
    assert verdict(cca(maker, token)) == MALFORMED


def test_assigned_devices_are_not_read_and_leave_the_platform_unknown(maker):
    members = {
        44234: [263, cbor2.dumps(sign1(maker.iak, maker.platform()))],
        44241: [263, cbor2.dumps(sign1(maker.rak, maker.realm()))],
        44258: [601, b"\xa0"],
    }
    result = cca(maker, cbor2.dumps(cbor2.CBORTag(907, members)))
    assert verdict(result) == (True, "platform", "cca_devices_unread")
    assert result.status is Status.NONE


@pytest.mark.parametrize("ask", [psa, cca])
def test_without_a_pinned_key_nothing_is_genuine(maker, ask):
    token = cbor2.dumps(sign1(maker.iak, maker.psa())) if ask is psa else maker.cca()
    given = {"endorsements": [maker.jwk]}
    assert verdict(ask(maker, token, roots=[], **given)) == (False, "chain", "arm_key_missing")
    options = {"endorsed_keys": True}
    assert ask(maker, token, roots=[], options=options, **given).affirming


@pytest.mark.parametrize("ask", [psa, cca])
def test_another_chips_key_is_not_this_ones(maker, ask):
    token = cbor2.dumps(sign1(maker.iak, maker.psa())) if ask is psa else maker.cca()
    result = ask(maker, token, roots=[Maker().jwk.decode()])
    assert verdict(result) == (False, "signature", "signature_invalid")


def test_the_algorithm_is_the_pinned_keys_and_never_the_tokens(maker):
    for header in ({1: -35}, {1: -8}, {}, {1: None}):
        token = cbor2.dumps(sign1(maker.iak, maker.psa(), header=header))
        assert verdict(psa(maker, token)) == (False, "signature", "signature_invalid")


def test_a_demand_in_the_header_that_nobody_knows_is_no_evidence(maker):
    token = cbor2.dumps(sign1(maker.iak, maker.psa(), header={1: -7, 2: [99]}))
    assert verdict(psa(maker, token)) == MALFORMED


def test_a_mac_is_no_proof(maker):
    token = cbor2.CBORTag(17, [cbor2.dumps({1: 5}), {}, cbor2.dumps(maker.psa()), b"\0" * 32])
    result = psa(maker, cbor2.dumps(token))
    assert verdict(result) == (False, "parse", "psa_mac")


@pytest.mark.parametrize(
    "bent",
    [
        lambda token: token + b"\0",
        lambda token: token[:-1],
        lambda token: b"\xd9\x00\x12" + token[1:],  # the tag in a longer form
        lambda token: b"\xd1" + token[1:],
        lambda token: token[1:] + token[1:],
        lambda _token: b"",
        lambda _token: cbor2.dumps(1.5),
        lambda _token: bytes([0x81] * 50) + b"\0",
    ],
)
def test_cbor_of_another_shape_is_no_evidence(maker, bent):
    token = cbor2.dumps(sign1(maker.iak, maker.psa()))
    assert psa(maker, bent(token)).step.value == "parse"


def test_a_claim_that_stands_twice_is_no_evidence(maker):
    claims = cbor2.dumps(maker.psa())
    twice = bytes([claims[0] + 1]) + claims[1:] + cbor2.dumps(10) + cbor2.dumps(b"\x0a" * 32)
    assert verdict(psa(maker, cbor2.dumps(sign1(maker.iak, twice)))) == MALFORMED


def test_another_nonce_or_length_is_refused(maker):
    assert psa(maker, maker.psa(), expected=b"\x0a" * 48).code == "binding_length"
    assert psa(maker, maker.psa(), expected=b"\x0b" * 32).code == "binding_mismatch"
    assert cca(maker, maker.cca(), expected=b"\x0b" * 32).code == "binding_length"


def test_the_recorded_cca_token_is_genuine_with_its_key_only():
    result = judge("cca", CCA, roots=[IAK])
    assert result.genuine and result.claims["platform"]["lifecycle_value"] == 0x3000
    assert verdict(judge("cca", CCA))[0] is False
    assert verdict(judge("cca", CCA, roots=[Maker().jwk.decode()]))[0] is False


def test_the_recorded_psa_token_is_genuine_with_its_key_only():
    result = judge("psa", PSA, roots=[IAK])
    assert result.genuine and result.claims["lifecycle_value"] == 12288
    assert len(result.claims["components"]) == 3
    assert not judge("psa", PSA).genuine
