"""AWS Nitro, with a hypervisor of our own so that each field can be wrong."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from tests.attest.authorities import certificates as c
from tests.attest.authorities import der_writer as w
from tests.attest.authorities.nitro import NONCE, PCRS, USER_DATA, Aws, Document
from tests.attest.judging import holds, judge, verdict

from modelseal.attest.verify.steps import Status, Step
from modelseal.types import Level

GOOD = Document()
REFERENCE = {f"pcr{i}": PCRS[i].hex() for i in (0, 1, 2)}


@pytest.fixture(scope="module")
def aws() -> Aws:
    return Aws()


def ask(aws, evidence, **given):
    given.setdefault("roots", [aws.pin])
    given.setdefault("expected", NONCE)
    given.setdefault("reference", REFERENCE)
    raw = evidence if isinstance(evidence, bytes) else aws.sign(evidence)
    return judge("nitro", raw, **given)


@pytest.mark.parametrize("tagged", [True, False])
def test_a_good_enclave_is_affirmed_with_its_tag_or_without(aws, tagged):
    result = ask(aws, aws.sign(GOOD, tagged=tagged))
    assert result.affirming and result.level is Level.L4
    assert result.claims["bound_by"] == "nonce" and result.claims["revocation"] == "absent"


def test_the_document_may_come_as_base64_or_hex(aws):
    raw = aws.sign(GOOD)
    assert ask(aws, base64.b64encode(raw)).affirming
    assert ask(aws, raw.hex().encode()).affirming
    wrapped = {"attestation_document": base64.b64encode(raw).decode()}
    assert ask(aws, json.dumps(wrapped).encode()).affirming


def test_nothing_of_it_is_affirmed_under_the_shipped_root(aws):
    assert verdict(ask(aws, GOOD, roots=())) == (False, "chain", "chain_not_anchored")


def test_user_data_binds_too_and_the_public_key_only_where_the_policy_says_so(aws):
    assert ask(aws, GOOD, expected=USER_DATA).claims["bound_by"] == "user_data"
    said = GOOD.but(public_key=b"k" * 64)
    assert verdict(ask(aws, said, expected=b"k" * 64))[1:] == ("binding", "binding_length")
    bound = ask(aws, said, expected=b"k" * 64, options={"bound_by": ["public_key"]})
    assert bound.affirming and bound.claims["bound_by"] == "public_key"
    only = ask(aws, said, options={"bound_by": ["public_key"]})
    assert verdict(only)[1] == "binding"


@pytest.mark.parametrize("empty", [None, ...])
def test_a_document_that_binds_nothing_answers_no_question(aws, empty):
    said = GOOD.but(nonce=empty, user_data=empty, public_key=empty)
    assert verdict(ask(aws, said)) == (True, "binding", "binding_length")
    assert verdict(ask(aws, said, expected=b""))[1:] == ("binding", "binding_length")


def test_an_empty_bound_value_is_no_binding(aws):
    said = GOOD.but(nonce=b"", user_data=None)
    assert verdict(ask(aws, said, expected=b"")) == (True, "binding", "binding_mismatch")


def test_a_debug_enclave_is_genuine_and_refused(aws):
    said = GOOD.but(pcrs={**PCRS, 0: bytes(48)})
    result = ask(aws, said)
    assert verdict(result) == (True, "platform", "debug_enabled")
    assert result.status is Status.CONTRAINDICATED


def test_another_image_is_told_by_its_registers(aws):
    said = GOOD.but(pcrs={**PCRS, 2: b"\x99" * 48})
    result = ask(aws, said)
    assert verdict(result) == (True, "measurement", "measurement_mismatch")
    assert result.deciding.params == {"names": ["pcr2"]}


def test_an_owner_is_proved_and_no_chip(aws):
    assert ask(aws, GOOD, rules={"owners": ["aws"]}).affirming
    assert verdict(ask(aws, GOOD, rules={"chips": ["00"]}))[2] == "chip_not_proved"


def test_another_key_does_not_hold(aws):
    bent = aws.sign(GOOD, key=c.p384())
    assert verdict(ask(aws, bent)) == (False, "signature", "signature_invalid")


def test_the_algorithm_is_es384_and_nothing_else(aws):
    for header in (b"\xa1\x01\x26", b"\xa1\x01\x38\x23", b"\xa1\x01\x27"):
        assert verdict(ask(aws, aws.sign(GOOD, header=header)))[0] is False
    weak = aws.chain(key=c.p256())
    assert verdict(ask(aws, aws.sign(GOOD, chain=weak)))[:2] == (False, "signature")


@pytest.mark.parametrize(
    "bent",
    [
        {"header": b"\xa2\x01\x38\x22\x04\x41\x31"},
        {"header": b""},
        {"unprotected": {4: b"kid"}},
    ],
)
def test_a_header_with_more_than_the_algorithm_is_refused(aws, bent):
    assert verdict(ask(aws, aws.sign(GOOD, **bent)))[:2] == (False, "parse")


@pytest.mark.parametrize(
    "said",
    [
        GOOD.but(digest="SHA256"),
        GOOD.but(module_id=""),
        GOOD.but(module_id="x" * 257),
        GOOD.but(module_id=b"i-1"),
        GOOD.but(timestamp=0),
        GOOD.but(timestamp=True),
        GOOD.but(timestamp=1 << 60),
        GOOD.but(timestamp="now"),
        GOOD.but(pcrs={}),
        GOOD.but(pcrs={1: PCRS[1]}),
        GOOD.but(pcrs={**PCRS, 32: PCRS[1]}),
        GOOD.but(pcrs={**PCRS, "0": PCRS[1]}),
        GOOD.but(pcrs={**PCRS, 3: PCRS[1][:32]}),
        GOOD.but(pcrs=[PCRS[0]]),
        GOOD.but(nonce=b"n" * 513),
        GOOD.but(nonce="n"),
        GOOD.but(public_key=b"k" * 1025),
        GOOD.but(digest=...),
        GOOD.but(more={"nitrotpm_pcrs": {}}),
        GOOD.but(more={"certificate": b""}),
        GOOD.but(more={"certificate": b"\x30\x00"}),
        GOOD.but(more={"cabundle": []}),
        GOOD.but(more={"cabundle": [b"\x30\x00"]}),
        GOOD.but(more={"cabundle": [b"x"] * 9}),
    ],
    ids=range(24),
)
def test_a_document_of_another_form_is_refused(aws, said):
    assert verdict(ask(aws, said)) == (False, "parse", "evidence_malformed")


@pytest.mark.parametrize(
    "raw", [b"", b"\xd2", b"\x80", b"\xd2\x84", b"\xa0", b"\x84\x40\xa0\x40\x40", b"\xd8\x3d\x80"]
)
def test_what_is_no_document_is_refused(aws, raw):
    assert verdict(ask(aws, raw))[:2] == (False, "parse")


def test_bytes_behind_the_document_and_other_encodings_are_refused(aws):
    raw = aws.sign(GOOD)
    assert verdict(ask(aws, raw + b"\0"))[:2] == (False, "parse")
    longer = aws.sign(GOOD, tagged=False)
    assert verdict(ask(aws, b"\x98\x04" + longer[1:]))[:2] == (False, "parse")


def test_the_bundle_is_exactly_the_chain(aws):
    leaf, instance, region, root = aws.chain()
    assert verdict(ask(aws, aws.sign(GOOD, chain=[leaf, region, root])))[:2] == (False, "chain")
    swapped = [leaf, region, instance, root]
    assert verdict(ask(aws, aws.sign(GOOD, chain=swapped)))[:2] == (False, "chain")
    more = [leaf, instance, region, root, c.issue(c.Plan({c.COMMON_NAME: "x"}, c.p384()), aws.root)]
    assert verdict(ask(aws, aws.sign(GOOD, chain=more)))[:2] == (False, "chain")


def test_a_root_of_the_same_name_is_not_the_root(aws):
    other = Aws()
    assert verdict(ask(aws, other.sign(GOOD))) == (False, "chain", "chain_not_anchored")


def test_an_intermediate_that_may_not_issue_leads_nowhere(aws):
    plans = [aws.enclave, aws.instance.but(extensions=c.LEAF), aws.region, aws.root]
    bent = aws.sign(GOOD, chain=c.chain(plans))
    assert verdict(ask(aws, bent)) == (False, "chain", "chain_not_anchored")


def test_a_chain_longer_than_an_issuer_allows_is_refused(aws):
    short = {**c.CA, "2.5.29.19": w.sequence(w.boolean(True), w.integer(0))}
    plans = [aws.enclave, aws.instance, aws.region.but(extensions=short), aws.root]
    leaf, instance, region, _ = c.chain(plans)
    bent = aws.sign(GOOD, chain=[leaf, instance, region, aws.above[-1]])
    assert verdict(ask(aws, bent)) == (False, "chain", "chain_too_long")


def test_dates_are_judged_apart_from_the_chain(aws):
    late = ask(aws, GOOD, now=datetime(2041, 1, 1, tzinfo=UTC))
    assert verdict(late) == (True, "freshness", "certificate_expired")
    assert holds(late, Step.CHAIN) and holds(late, Step.SIGNATURE)
    early = ask(aws, GOOD, now=datetime(2019, 1, 1, tzinfo=UTC))
    assert verdict(early)[2] == "certificate_not_yet_valid"


def test_a_second_file_is_refused(aws):
    assert verdict(judge("nitro", aws.sign(GOOD), b"x", roots=[aws.pin]))[:2] == (False, "parse")
