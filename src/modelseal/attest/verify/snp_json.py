"""A report of SEV-SNP that came taken apart into JSON, put back into its 1184 bytes. Pure.

Verifiers written in Rust pass the report on as the members of the ``sev`` crate's struct, under
names that changed between its releases. What is put together here is believed as little as any
other bytes: the chip's signature covers every one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelseal.attest.verify import wrappers
from modelseal.attest.verify.snp_report import BYTES, SIGNED_BYTES
from modelseal.attest.verify.steps import malformed

_NUMBERS = (
    (0x00, 4, ("version",)),
    (0x04, 4, ("guest_svn",)),
    (0x08, 8, ("policy",)),
    (0x30, 4, ("vmpl",)),
    (0x34, 4, ("sig_algo",)),
    (0x40, 8, ("plat_info", "platform_info")),
    (0x48, 4, ("key_info", "_author_key_en", "author_key_en", "flags")),
    (0x188, 1, ("cpuid_fam_id",)),
    (0x189, 1, ("cpuid_mod_id",)),
    (0x18A, 1, ("cpuid_step",)),
    (0x1F8, 8, ("launch_mit_vector",)),
    (0x200, 8, ("current_mit_vector",)),
)
_FIELDS = (
    (0x10, 16, "family_id"),
    (0x20, 16, "image_id"),
    (0x50, 64, "report_data"),
    (0x90, 48, "measurement"),
    (0xC0, 32, "host_data"),
    (0xE0, 48, "id_key_digest"),
    (0x110, 48, "author_key_digest"),
    (0x140, 32, "report_id"),
    (0x160, 32, "report_id_ma"),
    (0x1A0, 64, "chip_id"),
)
_TCBS = (
    (0x38, "current_tcb"),
    (0x180, "reported_tcb"),
    (0x1E0, "committed_tcb"),
    (0x1F0, "launch_tcb"),
)
_VERSIONS = ((0x1E8, "current"), (0x1EC, "committed"))
_TURIN = 0x1A


def report(members: Mapping[str, Any]) -> bytes:
    """The report whose members these are; malformed where one is missing or does not fit."""
    raw = bytearray(BYTES)
    for at, size, names in _NUMBERS:
        value = next((members[name] for name in names if members.get(name) is not None), 0)
        raw[at : at + size] = _number(value, size, names[0])
    for at, size, name in _FIELDS:
        raw[at : at + size] = _field(members.get(name), size, name)
    turin = raw[0x188] == _TURIN
    for at, name in _TCBS:
        raw[at : at + 8] = _tcb(members.get(name), turin, name)
    for at, name in _VERSIONS:
        raw[at : at + 3] = _version(members, name)
    signature = members.get("signature")
    if not isinstance(signature, dict):
        malformed("a report without its signature")
    for place, name in enumerate("rs"):
        at = SIGNED_BYTES + 72 * place
        raw[at : at + 72] = _field(signature.get(name), 72, name)
    return bytes(raw)


def certificates(chain: Any) -> tuple[bytes, ...]:
    """The certificates in a ``cert_chain``; none where there is no such list."""
    if not isinstance(chain, list):
        return ()
    return tuple(
        wrappers.blob(entry["data"], "a certificate")
        for entry in chain[:8]
        if isinstance(entry, dict) and entry.get("data")
    )


def _number(value: Any, size: int, name: str) -> bytes:
    if type(value) is not int or not 0 <= value < 1 << 8 * size:
        malformed(f"{name} is no number of {size} bytes")
    return value.to_bytes(size, "little")


def _field(value: Any, size: int, name: str) -> bytes:
    found = wrappers.blob(value, name)
    if len(found) != size:
        malformed(f"{name} has {len(found)} bytes, not {size}")
    return found


def _tcb(value: Any, turin: bool, name: str) -> bytes:
    if not isinstance(value, dict):
        malformed(f"{name} is no map")
    part = {
        key: _number(value.get(key) or 0, 1, key)
        for key in ("fmc", "bootloader", "tee", "snp", "microcode")
    }
    if turin:
        head = part["fmc"] + part["bootloader"] + part["tee"] + part["snp"]
        return head + bytes(3) + part["microcode"]
    return part["bootloader"] + part["tee"] + bytes(4) + part["snp"] + part["microcode"]


def _version(members: Mapping[str, Any], name: str) -> bytes:
    whole = members.get(name)
    parts = (
        [whole.get(part) for part in ("build", "minor", "major")]
        if isinstance(whole, dict)
        else [members.get(f"{name}_{part}") for part in ("build", "minor", "major")]
    )
    return b"".join(_number(part or 0, 1, name) for part in parts)
