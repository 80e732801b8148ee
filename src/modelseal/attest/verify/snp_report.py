"""The attestation report of SEV-SNP, versions 2 to 5, as it lies in memory. Pure.

Layout: AMD SEV-SNP Firmware ABI Specification (56860), table "ATTESTATION_REPORT". Whatever the
signature does not cover has to be zero, so that no byte can be changed unnoticed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from modelseal.attest.verify.steps import malformed

BYTES = 0x4A0
SIGNED_BYTES = 0x2A0
_HEADER_BYTES = 32  # of the firmware's answer, in front of the report
_SCALAR = 72
_USED = 48
_VERSIONS = range(2, 6)
_MASK_CHIP_KEY, _AUTHOR_KEY = 1 << 1, 1 << 0
_SIGNERS = {0: "vcek", 1: "vlek", 7: "none"}
_POLICY_BITS = {
    "smt_allowed": 16,
    "migration_agent_allowed": 18,
    "debug_allowed": 19,
    "single_socket": 20,
    "cxl_allowed": 21,
    "memory_aes_256_xts": 22,
    "rapl_disabled": 23,
    "ciphertext_hiding": 24,
    "page_swap_disabled": 25,
}
_PLATFORM_BITS = {
    "smt_enabled": 0,
    "tsme_enabled": 1,
    "ecc_enabled": 2,
    "rapl_disabled": 3,
    "ciphertext_hiding": 4,
    "alias_check_complete": 5,
    "tio_enabled": 7,
}


@dataclass(frozen=True, slots=True)
class Tcb:
    """The security versions of one chip. ``fmc`` exists from Turin on."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int | None = None

    @classmethod
    def read(cls, raw: bytes, product: str) -> Tcb:
        """The versions in the 8 bytes of a report; Turin orders them anew."""
        if product == "Turin":
            return cls(fmc=raw[0], bootloader=raw[1], tee=raw[2], snp=raw[3], microcode=raw[7])
        return cls(bootloader=raw[0], tee=raw[1], snp=raw[6], microcode=raw[7])

    def as_map(self) -> dict[str, int]:
        """By name, as policies and claims write it."""
        named = {
            "bootloader": self.bootloader,
            "tee": self.tee,
            "snp": self.snp,
            "microcode": self.microcode,
        }
        return named if self.fmc is None else {**named, "fmc": self.fmc}


@dataclass(frozen=True, slots=True)
class Report:
    """A report; nothing of it is verified."""

    raw: bytes

    def _number(self, offset: int, size: int) -> int:
        return int.from_bytes(self.raw[offset : offset + size], "little")

    @property
    def version(self) -> int:
        """2 to 5."""
        return self._number(0x00, 4)

    @property
    def policy(self) -> int:
        """What the guest's owner allowed at launch."""
        return self._number(0x08, 8)

    @property
    def vmpl(self) -> int:
        """The privilege level that asked, 0 the highest."""
        return self._number(0x30, 4)

    @property
    def signer(self) -> str:
        """``vcek``, ``vlek``, ``none`` (masked) or ``unknown``."""
        flags = self._number(0x48, 4)
        return "none" if flags & _MASK_CHIP_KEY else _SIGNERS.get(flags >> 2 & 7, "unknown")

    @property
    def debug(self) -> bool:
        """True when the host may read and write the guest's memory."""
        return bool(self.policy >> _POLICY_BITS["debug_allowed"] & 1)

    @property
    def migratable(self) -> bool:
        """True when a migration agent may take the guest's memory elsewhere."""
        return bool(self.policy >> _POLICY_BITS["migration_agent_allowed"] & 1)

    @property
    def report_data(self) -> bytes:
        """What the guest bound."""
        return self.raw[0x50:0x90]

    @property
    def chip_id(self) -> bytes:
        """64 bytes; all zero where the host masks it, and under a VLEK."""
        return self.raw[0x1A0:0x1E0]

    def tcb(self, offset: int, product: str) -> Tcb:
        """The security versions at ``offset``."""
        return Tcb.read(self.raw[offset : offset + 8], product)

    def reported_tcb(self, product: str) -> Tcb:
        """The versions for which the signing key was derived."""
        return self.tcb(0x180, product)

    def launch_tcb(self, product: str) -> Tcb:
        """The versions when the guest was started."""
        return self.tcb(0x1F0, product)

    @property
    def cpu_product(self) -> str | None:
        """The product line by family and model; None in version 2, which does not say."""
        if self.version < 3:
            return None
        family, model = self.raw[0x188], self.raw[0x189]
        if family == 0x19:
            return "Milan" if model < 0x10 else "Genoa"
        return "Turin" if family == 0x1A else "unknown"

    @property
    def signature(self) -> tuple[int, int]:
        """r and s."""
        start = SIGNED_BYTES
        return self._number(start, _SCALAR), self._number(start + _SCALAR, _SCALAR)

    def measured(self) -> dict[str, str]:
        """The fields that reference values are compared with."""
        fields = {
            "measurement": (0x90, 48),
            "host_data": (0xC0, 32),
            "id_key_digest": (0xE0, 48),
            "author_key_digest": (0x110, 48),
            "family_id": (0x10, 16),
            "image_id": (0x20, 16),
        }
        return {name: self.raw[at : at + size].hex() for name, (at, size) in fields.items()}

    def claims(self) -> dict[str, object]:
        """What it says that needs no product line to be read."""
        info = self._number(0x40, 8)
        said: dict[str, object] = {
            "report_version": self.version,
            "guest_svn": self._number(0x04, 4),
            "vmpl": self.vmpl,
            "signer": self.signer,
            "policy": {
                "abi_minor": self.policy & 0xFF,
                "abi_major": self.policy >> 8 & 0xFF,
                **{name: bool(self.policy >> bit & 1) for name, bit in _POLICY_BITS.items()},
            },
            "platform": {name: bool(info >> bit & 1) for name, bit in _PLATFORM_BITS.items()},
            "author_key": bool(self._number(0x48, 4) & _AUTHOR_KEY),
            "report_data": self.report_data.hex(),
            "report_id": self.raw[0x140:0x160].hex(),
            "chip_id": self.chip_id.hex(),
            "current_version": ".".join(str(self.raw[0x1E8 + i]) for i in (2, 1, 0)),
            **self.measured(),
        }
        if self.version >= 5:
            said["launch_mitigations"] = f"{self._number(0x1F8, 8):016x}"
            said["current_mitigations"] = f"{self._number(0x200, 8):016x}"
        return said


def looks_like(data: bytes) -> bool:
    """True for what has the length of a report and one of its versions, with a header or not."""
    return len(data) >= BYTES and (
        struct.unpack_from("<I", data)[0] in _VERSIONS
        or struct.unpack_from("<II", data) == (0, BYTES)
    )


def read(data: bytes) -> tuple[Report, bytes]:
    """The report at the start of ``data`` and what follows it (a certificate table, or nothing).

    Taken: the bare report; behind it zeros or the host's certificate table; the firmware's answer
    with its 32-byte header.
    """
    if len(data) >= _HEADER_BYTES + BYTES:
        status, size = struct.unpack_from("<II", data)
        if status == 0 and size == BYTES and not any(data[8:_HEADER_BYTES]):
            data = data[_HEADER_BYTES:]
    if len(data) < BYTES:
        malformed(f"a report has {BYTES} bytes, this has {len(data)}")
    report = Report(bytes(data[:BYTES]))
    if report.version not in _VERSIONS:
        malformed(f"a report of version {report.version}")
    if report.raw[0x34:0x38] != b"\x01\0\0\0":
        malformed("a signature other than ECDSA P-384 with SHA-384")
    for start in (SIGNED_BYTES, SIGNED_BYTES + _SCALAR):
        if any(report.raw[start + _USED : start + _SCALAR]):
            malformed("a signature longer than its curve")
    if any(report.raw[SIGNED_BYTES + 2 * _SCALAR :]):
        malformed("bytes behind the signature that nobody signed")
    rest = data[BYTES:]
    return report, rest if any(rest) else b""


def table(data: bytes) -> Iterator[bytes]:
    """The certificates in the host's table (GHCB, "SNP Extended Guest Request"), as they lie."""
    entry = struct.Struct("<16sII")
    for place in range(0, min(len(data), 64 * entry.size) - entry.size + 1, entry.size):
        name, offset, size = entry.unpack_from(data, place)
        if not any(name):
            return
        if offset + size > len(data) or size == 0:
            malformed("a certificate table that points beyond its end")
        yield data[offset : offset + size]
    malformed("a certificate table without an end")
