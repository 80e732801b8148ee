"""From what a source says to a trait value, or to the reason why it is none.

Makers fill unset fields with texts, zeros and counting digits; images carry one machine id to many
computers; virtual network cards invent their addresses. Such values are *missing*: they would make
different computers look alike, or one computer look different every day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from modelseal.device.traits import (
    Confidence,
    MissingTrait,
    MissingWhy,
    TraitKind,
    TraitReading,
    TraitValue,
)

Normalised = TraitValue | MissingWhy

_MAX_TEXT = 1024
_HEX_ID_CHARS = 32
_MIN_SERIAL_CHARS = 4
_PLACEHOLDER_WORDS = """
    0000_0000_0000_0001 basechassisserialnumber baseboardserialnumber boardserialnumber
    chassisserialnumber default defaultstring empty filledbyodm filledbyoem invalid n/a na none
    notapplicable notassigned notavailable notdefined notfilled notpresent notset notsettable
    notspecified null o.e.m. oem serial serialnumber serialno ssn1234567890 systemserialnumber
    sysserialnumber tbd tobefilledbyo.e.m. tobefilledbyo.e.m tobefilledbyoem undefined unknown
    unset type1systemserialnumber type2-boardserialnumber xxxxxxxx deadbeef qemu vbox vmware
    virtual nvme-serial drive-scsi0 drive-scsi0-0-0-0 qemu_harddisk invalidserialnumber
"""
_PLACEHOLDER_TEXTS = frozenset(_PLACEHOLDER_WORDS.split())
_PLACEHOLDER_PATTERNS = (
    re.compile(r"QM0000\d"),  # QEMU numbers its disks
    re.compile(r"(0123456789|1234567890|9876543210|0987654321|ABCDEFGH|A1B2C3D4).{0,6}"),
    re.compile(r"12345?6?7?8?9?"),
    re.compile(r"[.\-_ 0X?*#/\\]+"),
)
_PLACEHOLDER_UUIDS = frozenset(
    {
        "03000200040005000006000700080009",  # AMI's default in both byte orders
        "00020003000400050006000700080009",
        "12345678123456781234567812345678",
        "12345678123456789012345678901234",
        "123456781234567890abcddeefaabbcc",
        "11111111222233334444555555555555",
        "00112233445566778899aabbccddeeff",
        "0123456789abcdef0123456789abcdef",
        "deadbeefdeadbeefdeadbeefdeadbeef",
    }
)
_SHARED_MACS = frozenset(
    bytes.fromhex(text)
    for text in (
        "005345000000",  # Windows PPP adapter
        "005056c00001",  # VMware's host-only and NAT adapters, the same on every host
        "005056c00008",
        "00e04c534458",  # cheap USB adapters with one address for all
        "000000000001",
    )
)
_PLACEHOLDER_INSTANCES = frozenset({"iid-datasource-none", "iid-local01", "nocloud", "none"})
_MIN_DISTINCT_DIGITS = 3


def smbios_uuid(text: str) -> Normalised:
    """The 16 bytes of an SMBIOS system UUID as the firmware's text has them."""
    return _hex_id(text, _PLACEHOLDER_UUIDS)


def machine_id(text: str) -> Normalised:
    """The 16 bytes of a machine-id, MachineGuid or IOPlatformUUID."""
    if text.strip().lower() == "uninitialized":
        return MissingWhy.EMPTY
    return _hex_id(text, _PLACEHOLDER_UUIDS)


def serial(text: str) -> Normalised:
    """A maker's serial number: upper case, inner white space collapsed, padding removed."""
    clean = " ".join(text.replace("\x00", " ").split()).upper()
    if not clean:
        return MissingWhy.EMPTY
    if len(clean) > _MAX_TEXT or not clean.isprintable():
        return MissingWhy.MALFORMED
    bare = clean.replace(" ", "")
    if len(bare) < _MIN_SERIAL_CHARS or len(set(bare)) == 1:
        return MissingWhy.PLACEHOLDER
    if bare.lower() in _PLACEHOLDER_TEXTS:
        return MissingWhy.PLACEHOLDER
    if any(pattern.fullmatch(bare) for pattern in _PLACEHOLDER_PATTERNS):
        return MissingWhy.PLACEHOLDER
    return TraitValue(clean.encode("utf-8"))


def mac(address: bytes | str) -> Normalised:
    """The six bytes of a permanent, universally administered address (IEEE 802, section 8)."""
    raw = _mac_bytes(address) if isinstance(address, str) else bytes(address)
    if raw is None or len(raw) != 6:
        return MissingWhy.MALFORMED
    if len(set(raw)) == 1:
        return MissingWhy.EMPTY if raw[0] == 0 else MissingWhy.PLACEHOLDER
    if raw[0] & 1:
        return MissingWhy.RANDOM  # what uuid.getnode() makes up has the multicast bit
    if raw[0] & 2:
        return MissingWhy.LOCALLY_ADMINISTERED
    if raw in _SHARED_MACS:
        return MissingWhy.PLACEHOLDER
    return TraitValue(raw)


def cloud_instance(text: str) -> Normalised:
    """The instance id of a cloud, as it writes it."""
    clean = text.strip().strip("\x00")
    if not clean:
        return MissingWhy.EMPTY
    if len(clean) > 256 or not clean.isprintable():
        return MissingWhy.MALFORMED
    if clean.lower() in _PLACEHOLDER_INSTANCES or len(set(clean)) < _MIN_DISTINCT_DIGITS:
        return MissingWhy.PLACEHOLDER
    return TraitValue(clean.encode("utf-8"))


def cpu_class(parts: Iterable[str]) -> Normalised:
    """The processor's class from the maker's fields, in the collector's fixed order."""
    clean = [" ".join(part.split()) for part in parts]
    text = "|".join(clean)
    if not any(clean):
        return MissingWhy.ABSENT
    if len(text) > _MAX_TEXT or not text.isprintable():
        return MissingWhy.MALFORMED
    return TraitValue(text.encode("utf-8"))


def found(
    kind: TraitKind,
    value: Normalised,
    *,
    confidence: Confidence = Confidence.HIGH,
    privileged: bool = False,
) -> TraitReading | MissingTrait:
    """``value`` as a reading of ``kind``, or as the reason why there is none."""
    if isinstance(value, MissingWhy):
        return MissingTrait(kind, value)
    return TraitReading(kind, value, confidence, privileged)


def _hex_id(text: str, placeholders: frozenset[str]) -> Normalised:
    clean = text.strip().strip("\x00").strip("{}").replace("-", "").lower()
    if not clean:
        return MissingWhy.EMPTY
    if len(clean) != _HEX_ID_CHARS or not re.fullmatch("[0-9a-f]+", clean):
        bare = "".join(text.split()).lower()
        known = bare in _PLACEHOLDER_TEXTS
        return MissingWhy.PLACEHOLDER if known else MissingWhy.MALFORMED
    if clean in placeholders or len(set(clean)) < _MIN_DISTINCT_DIGITS:
        return MissingWhy.PLACEHOLDER
    return TraitValue(bytes.fromhex(clean))


def _mac_bytes(text: str) -> bytes | None:
    digits = re.sub("[:.-]", "", text.strip())
    return bytes.fromhex(digits) if re.fullmatch("[0-9a-fA-F]{12}", digits) else None
