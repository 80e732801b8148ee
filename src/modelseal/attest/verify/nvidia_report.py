"""What an NVIDIA GPU signs: an SPDM 1.1 GET_MEASUREMENTS request and its response (DMTF DSP0274).

    request   version 11, code E0, signature asked, all blocks, nonce[32], slot
    response  version 11, code 60, param1, param2, blocks, record length[3], record,
              nonce[32], opaque length[2], opaque data, signature[96]

The signature (ECDSA P-384, SHA-384, r and s) covers all that stands before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from modelseal.errors import EvidenceInvalid

NONCE_BYTES = 32
SIGNATURE_BYTES = 96
_REQUEST_BYTES = 37
_HEADER_BYTES = 8
_VERSION, _GET, _MEASUREMENTS, _DMTF = 0x11, 0xE0, 0x60, 1
_DIGEST_BYTES = (32, 48, 64)
_OPAQUE: Mapping[int, str] = {
    1: "certificate_issuer",
    2: "authority_key_id",
    3: "driver_version",
    4: "gpu_info",
    5: "sku",
    6: "vbios_version",
    7: "manufacturer_id",
    8: "tamper_detection",
    9: "smc",
    10: "vpr",
    11: "nvdec0_status",
    12: "measurement_counts",
    13: "cpr_info",
    14: "board_id",
    15: "chip_sku",
    16: "chip_sku_mod",
    17: "project",
    18: "project_sku",
    19: "project_sku_mod",
    20: "fwid",
    21: "protected_pcie_status",
    22: "switch_pdi",
    23: "floorswept_ports",
    24: "position_id",
    25: "lock_switch_status",
    32: "gpu_link_connections",
    33: "system_enable_status",
    34: "opaque_data_version",
    35: "chip_info",
    36: "feature_flag",
}
_TEXTS = ("driver_version", "chip_sku", "chip_sku_mod", "project", "project_sku", "project_sku_mod")


@dataclass(frozen=True, slots=True)
class Report:
    """A request and its response, taken apart; ``signed`` is what ``signature`` covers."""

    nonce: bytes
    response_nonce: bytes
    measurements: Mapping[int, bytes]
    opaque: Mapping[str, bytes]
    unknown: tuple[int, ...]
    signed: bytes
    signature: bytes

    def claims(self) -> dict[str, Any]:
        """The opaque fields as JSON values."""
        shown: dict[str, Any] = {}
        for name, value in self.opaque.items():
            if name in _TEXTS and _is_text(value):
                shown[name] = value.rstrip(b"\0").decode("ascii")
            elif name == "vbios_version":
                shown[name] = _vbios(value)
            elif name == "measurement_counts":
                shown[name] = [
                    int.from_bytes(value[at : at + 4], "little") for at in range(0, len(value), 4)
                ]
            else:
                shown[name] = value.hex()
        return {**shown, "unknown_fields": list(self.unknown)} if self.unknown else shown


def read(data: bytes) -> Report:
    """The report in ``data``, whose length follows from its own header.

    Zero bytes may fill up the buffer behind it; ``EvidenceInvalid`` for anything else.
    """
    request, response = data[:_REQUEST_BYTES], data[_REQUEST_BYTES:]
    if len(response) < _HEADER_BYTES + NONCE_BYTES + 2 + SIGNATURE_BYTES:
        _refuse("cut off")
    if request[0] != _VERSION or response[0] != _VERSION:
        _refuse("not SPDM 1.1")
    if request[1] != _GET or response[1] != _MEASUREMENTS:
        _refuse("not GET_MEASUREMENTS and its answer")
    if request[2] != 0x01 or request[3] != 0xFF:
        _refuse("not all measurements, signed")
    at = _HEADER_BYTES + int.from_bytes(response[5:8], "little")
    record = _cut(response, _HEADER_BYTES, at)
    nonce = _cut(response, at, at + NONCE_BYTES)
    at += NONCE_BYTES + 2
    end = at + int.from_bytes(_cut(response, at - 2, at), "little")
    opaque, unknown = _opaque(_cut(response, at, end))
    signature = _cut(response, end, end + SIGNATURE_BYTES)
    if any(response[end + SIGNATURE_BYTES :]):
        _refuse("something stands behind the signature")
    return Report(
        nonce=request[4 : 4 + NONCE_BYTES],
        response_nonce=nonce,
        measurements=_measurements(record, response[4]),
        opaque=opaque,
        unknown=unknown,
        signed=request + response[:end],
        signature=signature,
    )


def _measurements(record: bytes, blocks: int) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(record):
        header = _cut(record, at, at + 7)
        index, size = header[0], int.from_bytes(header[2:4], "little")
        length = int.from_bytes(header[5:7], "little")
        if header[1] != _DMTF or size != length + 3 or length not in _DIGEST_BYTES:
            _refuse("a measurement block of another form")
        if not index or index in found:
            _refuse("a measurement stands twice")
        found[index] = _cut(record, at + 7, at + 7 + length)
        at += 7 + length
    if len(found) != blocks or not blocks:
        _refuse("another number of measurement blocks than said")
    return found


def _opaque(data: bytes) -> tuple[Mapping[str, bytes], tuple[int, ...]]:
    found: dict[str, bytes] = {}
    unknown: list[int] = []
    at = 0
    while at < len(data):
        header = _cut(data, at, at + 4)
        kind, size = int.from_bytes(header[:2], "little"), int.from_bytes(header[2:], "little")
        value = _cut(data, at + 4, at + 4 + size)
        at += 4 + size
        name = _OPAQUE.get(kind)
        if name is None:
            unknown.append(kind)
        elif name in found:
            _refuse("an opaque field stands twice")
        else:
            found[name] = value
    return found, tuple(unknown)


def _vbios(value: bytes) -> str:
    """``96.00.9f.00.01``: the first four bytes turned round, then the fifth."""
    if len(value) not in (5, 8):
        return value.hex()
    return ".".join(f"{byte:02x}" for byte in (*value[3::-1], value[4]))


def _is_text(value: bytes) -> bool:
    return value.rstrip(b"\0").isascii() and value.rstrip(b"\0").decode("ascii").isprintable()


def _cut(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        _refuse("cut off")
    return data[start:end]


def _refuse(why: str) -> NoReturn:
    raise EvidenceInvalid(f"SPDM: {why}")
