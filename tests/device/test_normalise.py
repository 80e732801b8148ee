"""Placeholders, random and shared values are missing; genuine ones survive in one form."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelseal.device import MissingWhy, TraitKind, TraitReading, TraitValue, normalise


def why(value: normalise.Normalised) -> MissingWhy:
    assert isinstance(value, MissingWhy)
    return value


def value(found: normalise.Normalised) -> bytes:
    assert isinstance(found, TraitValue)
    return found.reveal()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", MissingWhy.EMPTY),
        ("\x00\n", MissingWhy.EMPTY),
        ("Not Settable", MissingWhy.PLACEHOLDER),
        ("00000000-0000-0000-0000-000000000000", MissingWhy.PLACEHOLDER),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", MissingWhy.PLACEHOLDER),
        ("03000200-0400-0500-0006-000700080009", MissingWhy.PLACEHOLDER),
        ("FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE", MissingWhy.PLACEHOLDER),
        ("12345678-1234-5678-90ab-cddeefaabbcc", MissingWhy.PLACEHOLDER),
        ("4c4c4544-0042-3510-8050-b7c04f33443", MissingWhy.MALFORMED),
        ("zc4c4544-0042-3510-8050-b7c04f334432", MissingWhy.MALFORMED),
    ],
)
def test_a_uuid_that_identifies_nothing_is_missing(text: str, reason: MissingWhy) -> None:
    assert why(normalise.smbios_uuid(text)) == reason


def test_writings_of_one_uuid_give_one_value() -> None:
    forms = ["4C4C4544-0042-3510-8050-b7c04f334432\n", "{4c4c45440042351080 50b7c04f334432}"]
    assert value(normalise.smbios_uuid(forms[0])).hex() == "4c4c4544004235108050b7c04f334432"
    assert why(normalise.smbios_uuid(forms[1])) == MissingWhy.MALFORMED
    assert normalise.smbios_uuid(forms[0].lower()) == normalise.smbios_uuid(forms[0])


@given(st.uuids(version=4))
def test_every_random_uuid_is_a_value(one: uuid.UUID) -> None:
    assert value(normalise.machine_id(str(one))) == one.bytes
    assert value(normalise.machine_id(one.hex + "\n")) == one.bytes


def test_a_machine_id_that_systemd_has_not_made_yet_is_empty() -> None:
    assert why(normalise.machine_id("uninitialized\n")) == MissingWhy.EMPTY


@pytest.mark.parametrize(
    "text",
    [
        "To Be Filled By O.E.M.", "to be filled by O.E.M", "Default string", "System Serial Number",
        "None", "N/A", "Not Specified", "0", "00000000", "123456789", "0123456789", "1234567890",
        "XXXXXXXX", "QM00001", "Not Applicable", "Base Board Serial Number", "........", "abc",
        "1234", "0123456789ABCDEF", "-", "O.E.M.", "0x00000000",
    ],
)  # fmt: skip
def test_what_makers_leave_in_unset_serial_numbers_is_a_placeholder(text: str) -> None:
    assert why(normalise.serial(text)) == MissingWhy.PLACEHOLDER


def test_a_serial_number_is_upper_case_without_padding() -> None:
    assert value(normalise.serial("  s3z8nb0k \x00\n")) == b"S3Z8NB0K"
    assert value(normalise.serial("ATA  DISK\tX77")) == b"ATA DISK X77"
    assert why(normalise.serial(" \x00 ")) == MissingWhy.EMPTY
    assert why(normalise.serial("abcd\x1b[0m")) == MissingWhy.MALFORMED
    assert why(normalise.serial("A7" * 1000)) == MissingWhy.MALFORMED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("00:00:00:00:00:00", MissingWhy.EMPTY),
        ("ff:ff:ff:ff:ff:ff", MissingWhy.PLACEHOLDER),
        ("01:00:5e:11:22:33", MissingWhy.RANDOM),
        ("02:42:ac:11:00:02", MissingWhy.LOCALLY_ADMINISTERED),
        ("52:54:00:12:34:56", MissingWhy.LOCALLY_ADMINISTERED),
        ("00:50:56:c0:00:08", MissingWhy.PLACEHOLDER),
        ("00:53:45:00:00:00", MissingWhy.PLACEHOLDER),
        ("00:1b:21", MissingWhy.MALFORMED),
        ("hello", MissingWhy.MALFORMED),
        ("", MissingWhy.MALFORMED),
    ],
)
def test_an_address_that_is_not_burnt_in_is_missing(text: str, reason: MissingWhy) -> None:
    assert why(normalise.mac(text)) == reason


def test_every_writing_of_an_address_gives_the_same_six_bytes() -> None:
    for text in ("00:1B:21:aa:bb:cc", "00-1b-21-AA-BB-CC", "001b.21aa.bbcc", "001b21aabbcc\n"):
        assert value(normalise.mac(text)) == bytes.fromhex("001b21aabbcc")
    assert value(normalise.mac(bytes.fromhex("001b21aabbcc"))).hex() == "001b21aabbcc"


@given(st.binary(min_size=6, max_size=6))
def test_a_made_up_address_is_never_a_value(raw: bytes) -> None:
    found = normalise.mac(bytes([raw[0] | 1]) + raw[1:])
    assert why(found) in (MissingWhy.RANDOM, MissingWhy.PLACEHOLDER)


def test_placeholders_of_cloud_images_are_no_instance() -> None:
    assert value(normalise.cloud_instance("i-0abc1234def567890\n")) == b"i-0abc1234def567890"
    for text, reason in [
        ("", MissingWhy.EMPTY),
        ("iid-datasource-none", MissingWhy.PLACEHOLDER),
        ("nocloud", MissingWhy.PLACEHOLDER),
        ("x" * 20, MissingWhy.PLACEHOLDER),
        ("a\x07bcdef", MissingWhy.MALFORMED),
        ("abcdef" * 100, MissingWhy.MALFORMED),
    ]:
        assert why(normalise.cloud_instance(text)) == reason


def test_a_processor_class_keeps_its_fields_apart() -> None:
    one = normalise.cpu_class(["AuthenticAMD", "23", "1", "AMD  EPYC"])
    assert value(one) == b"AuthenticAMD|23|1|AMD EPYC"
    assert why(normalise.cpu_class(["", ""])) == MissingWhy.ABSENT
    assert why(normalise.cpu_class(["x" * 2000])) == MissingWhy.MALFORMED


@given(st.text(max_size=60))
def test_any_text_gives_a_value_or_a_reason(text: str) -> None:
    for clean in (normalise.smbios_uuid, normalise.serial, normalise.mac, normalise.machine_id,
                  normalise.cloud_instance):  # fmt: skip
        found = clean(text)
        assert isinstance(found, (MissingWhy, TraitValue))
        item = normalise.found(TraitKind.MAC, found)
        assert isinstance(item, TraitReading) == isinstance(found, TraitValue)
