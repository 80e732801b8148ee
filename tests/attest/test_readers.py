"""The parsers below the evidence kinds: round trips with a writer, and no way out but a verdict."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attest.authorities import certificates as c
from tests.attest.authorities import der_writer as w
from tests.attest.authorities.android import Description
from tests.attest.authorities.event_logs import separator, variable, write
from tests.attest.authorities.nvidia import Report
from tests.attest.judging import SAMPLES, judge

from modelseal.attest.verify import (
    android_description,
    der,
    eat,
    event_log,
    nvidia_report,
    x509,
)
from modelseal.attest.verify.registry import builtin
from modelseal.errors import EvidenceInvalid

KINDS = ("android", "nvidia", "cca", "psa", "tpm2", "software")
WHOLE = {
    p.name: p.read_bytes() for p in sorted(SAMPLES.rglob("*")) if p.is_file() and p.suffix != ".md"
}


@given(st.integers(-(2**200), 2**200))
def test_an_integer_comes_back(value):
    assert der.read(w.integer(value)).integer() == value


@given(st.binary(max_size=300), st.integers(0, 2**27))
def test_a_tagged_value_comes_back_with_its_bytes(content, number):
    encoded = w.explicit(number, w.octets(content))
    element = der.read(encoded)
    assert element.explicit(number).octets() == content
    assert element.raw == encoded


@given(st.datetimes(datetime(1950, 1, 1), datetime(9999, 12, 31)))
def test_a_time_comes_back_to_the_second(at):
    aware = at.replace(microsecond=0, tzinfo=UTC)
    assert der.read(w.instant(aware)).instant() == aware


@given(st.integers(0, 1), st.integers(0, 39), st.lists(st.integers(0, 2**40), max_size=6))
def test_an_object_identifier_comes_back(first, second, rest):
    dotted = ".".join(map(str, (first, second, *rest)))
    assert der.read(w.oid(dotted)).oid() == dotted


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "02",
        "0201",
        "020200ff00",  # something behind the end
        "02020001",  # not the shortest integer
        "0202ffff",
        "028101ff",  # not the shortest length
        "0280ff0000",  # indefinite
        "0285000000000100",
        "1f01ff",  # a short tag in the long form
        "1f8081ff00",
        "1fffffffff7f00",
    ],
)
def test_what_is_not_der_is_refused(encoded):
    with pytest.raises(EvidenceInvalid):
        der.read(bytes.fromhex(encoded)).integer()


@pytest.mark.parametrize(
    ("reader", "encoded"),
    [
        (der.Element.boolean, "010101"),
        (der.Element.null, "050100"),
        (der.Element.bits, "03020101"),
        (der.Element.oid, "060180"),
        (der.Element.oid, "06028001"),
        (der.Element.instant, "170b3230303130313030303030"),
        (der.Element.instant, "170d3230313330313030303030305a"),
        (der.Element.octets, "2403040161"),
        (der.Element.sequence, "3100"),
    ],
)
def test_a_value_of_another_form_is_refused(reader, encoded):
    with pytest.raises(EvidenceInvalid):
        reader(der.read(bytes.fromhex(encoded)))


def test_a_certificate_is_read_as_cryptography_reads_it():
    from cryptography import x509 as theirs

    for name in ("cert1.pem", "cert2.pem", "cert3.pem", "hopper_cert_chain_case1.txt"):
        for mine in x509.read_chain(WHOLE[name]):
            other = theirs.load_der_x509_certificate(mine.der)
            assert mine.serial == other.serial_number
            assert mine.not_after == other.not_valid_after_utc
            assert mine.tbs == other.tbs_certificate_bytes
            assert mine.signature == other.signature
            names = {e.oid.dotted_string for e in other.extensions}
            assert set(mine.extensions) == names


def test_a_leaf_that_cryptography_refuses_is_read_here():
    from cryptography import x509 as theirs

    plan = c.Plan({c.COMMON_NAME: "leaf"}, c.p256(), null_parameters=True)
    encoded = c.issue(plan, plan)
    with pytest.raises(ValueError, match="."):
        theirs.load_der_x509_certificate(encoded).signature_hash_algorithm  # noqa: B018
    mine = x509.read(encoded)
    mine.check_issued_by(mine)


def test_names_in_other_string_types_are_the_same_name():
    utf8 = w.sequence(w.set_(w.sequence(w.oid("2.5.4.3"), w.text("A"))))
    printable = w.sequence(w.set_(w.sequence(w.oid("2.5.4.3"), w.tlv(19, b"A"))))
    other = w.sequence(w.set_(w.sequence(w.oid("2.5.4.3"), w.tlv(19, b"B"))))
    names = [x509.read_name(der.read(data)) for data in (utf8, printable, other)]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    "data",
    [b"", b"-----BEGIN CERTIFICATE-----", b"text\n" + WHOLE["cert1.pem"], b"\x30\x00" * 11],
)
def test_what_is_no_chain_is_refused(data):
    with pytest.raises(EvidenceInvalid):
        x509.read_chain(data)


@given(
    st.recursive(
        st.one_of(st.integers(-(2**63), 2**63), st.binary(max_size=20), st.text(max_size=20)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.integers(-99, 99), inner, max_size=4),
        ),
        max_leaves=12,
    )
)
def test_plain_cbor_in_any_order_comes_back(value):
    assert eat.decode(cbor2.dumps(value)) == value


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "1800",
        "0000",
        "f7",
        "fb3ff0000000000000",
        "c24101",
        "c074",
        "a2010101",
        "9f01ff",
        "d81c01",
    ],
)
def test_cbor_that_no_token_has_is_refused(encoded):
    with pytest.raises(EvidenceInvalid):
        eat.decode(bytes.fromhex(encoded))


@given(st.binary(max_size=600))
@settings(max_examples=300)
def test_no_reader_ends_in_anything_but_our_error(data):
    readers = (der.read, x509.read, x509.read_chain, x509.load_spki, android_description.read)
    for read in (*readers, eat.decode, eat.cose_key, nvidia_report.read, event_log.read):
        try:
            read(data)
        except EvidenceInvalid:
            continue


@cache
def _whole() -> tuple[tuple[object, bytes], ...]:
    log = write([separator(0), variable("SecureBoot", b"\x01")])
    return (
        (android_description.read, Description().encoded()),
        (x509.read, x509.read_chain(WHOLE["cert0.pem"])[0].der),
        (nvidia_report.read, Report().unsigned() + bytes(96)),
        (event_log.read, log),
        (eat.decode, WHOLE["psa-evidence.cbor"]),
    )


@given(st.data())
@settings(max_examples=300)
def test_damage_at_any_place_is_our_error_or_another_value(data):
    for read, whole in _whole():
        place = data.draw(st.integers(0, len(whole) - 1))
        cut = data.draw(st.integers(0, len(whole)))
        byte = data.draw(st.integers(0, 255))
        for damaged in (whole[:cut], whole[:place] + bytes([byte]) + whole[place + 1 :]):
            try:
                read(damaged)  # type: ignore[operator]
            except EvidenceInvalid:
                continue


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=3), st.sampled_from(KINDS))
@settings(max_examples=200)
def test_hostile_parts_give_a_verdict_and_never_an_exception(parts, kind):
    assert judge(kind, *parts).genuine is False


@given(st.sampled_from(KINDS), st.sampled_from(sorted(WHOLE)), st.sampled_from(sorted(WHOLE)))
@settings(max_examples=60)
def test_evidence_given_as_another_kind_is_a_verdict(kind, first, second):
    result = judge(kind, WHOLE[first], WHOLE[second])
    assert not result.affirming


@given(st.binary(max_size=200))
def test_hostile_endorsements_give_a_verdict(item):
    options = {"endorsed_keys": True}
    given_items = [item, base64.b64encode(item), b"{" + item, b'{"entries": [' + item]
    judge("psa", WHOLE["psa-evidence.cbor"], endorsements=given_items, options=options)
    judge("android", WHOLE["cert0.pem"], endorsements=given_items)


def test_these_kinds_are_known():
    assert set(KINDS) <= set(builtin())
