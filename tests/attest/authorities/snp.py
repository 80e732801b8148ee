"""AMD of our own: a chip, its key and the chain above it, every field of which can be wrong."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.attest.authorities import certificates as c
from tests.attest.authorities import der_writer as w

ARC = "1.3.6.1.4.1.3704.1."
CHIP_ID = bytes(range(64))
REPORT_DATA = bytes(range(100, 164))
MEASUREMENT = b"\x5a" * 48
TCB = {"bootloader": 4, "tee": 1, "snp": 20, "microcode": 210}
CSP = "cloud-1.example"


@dataclass(frozen=True)
class Report:
    """What the chip shall say, in the words of AMD's table."""

    version: int = 3
    guest_svn: int = 1
    policy: int = 0x3001F
    vmpl: int = 0
    signature_algorithm: int = 1
    platform_info: int = 0
    flags: int = 0
    report_data: bytes = REPORT_DATA
    measurement: bytes = MEASUREMENT
    host_data: bytes = bytes(32)
    family: int = 0x19
    model: int = 0x01
    chip_id: bytes = CHIP_ID
    reported: Mapping[str, int] = field(default_factory=lambda: TCB)
    launched: Mapping[str, int] = field(default_factory=lambda: TCB)
    behind: bytes = b""

    def but(self, **changes: Any) -> Report:
        return replace(self, **changes)

    def signed_part(self) -> bytes:
        turin = self.family == 0x1A
        raw = bytearray(0x2A0)
        struct.pack_into("<IIQ", raw, 0, self.version, self.guest_svn, self.policy)
        struct.pack_into("<II", raw, 0x30, self.vmpl, self.signature_algorithm)
        raw[0x38:0x40] = tcb(self.reported, turin)
        struct.pack_into("<QI", raw, 0x40, self.platform_info, self.flags)
        raw[0x50:0x90] = self.report_data
        raw[0x90:0xC0] = self.measurement
        raw[0xC0:0xE0] = self.host_data
        raw[0x180:0x188] = tcb(self.reported, turin)
        if self.version >= 3:
            raw[0x188:0x18B] = bytes((self.family, self.model, 1))
        raw[0x1A0:0x1E0] = self.chip_id.ljust(64, b"\0")
        raw[0x1E0:0x1E8] = tcb(self.reported, turin)
        raw[0x1F0:0x1F8] = tcb(self.launched, turin)
        return bytes(raw)


def tcb(parts: Mapping[str, int], turin: bool) -> bytes:
    if turin:
        head = (parts.get("fmc", 0), parts["bootloader"], parts["tee"], parts["snp"])
        return bytes((*head, 0, 0, 0, parts["microcode"]))
    return bytes((parts["bootloader"], parts["tee"], 0, 0, 0, 0, parts["snp"], parts["microcode"]))


@dataclass(frozen=True)
class Endorsed:
    """What the signing key's certificate shall say."""

    product: str = "Milan-B0"
    tcb: Mapping[str, int] = field(default_factory=lambda: TCB)
    hwid: bytes | None = CHIP_ID
    csp: str | None = None

    def but(self, **changes: Any) -> Endorsed:
        return replace(self, **changes)

    def extensions(self) -> dict[str, bytes]:
        names = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
        found = {ARC + "1": w.integer(0), ARC + "2": w.tlv(0x16, self.product.encode())}
        found |= {ARC + names[name]: w.integer(value) for name, value in self.tcb.items()}
        if self.hwid is not None:
            found[ARC + "4"] = self.hwid
        if self.csp is not None:
            found[ARC + "5"] = w.tlv(0x16, f"CN={self.csp}".encode())
        return found


class Amd:
    """ARK, ASK and a chip's key, for one product line."""

    def __init__(self, line: str = "Milan", vlek: bool = False) -> None:
        issuer = f"SEV-VLEK-{line}" if vlek else f"SEV-{line}"
        self.ark = c.Plan({c.COMMON_NAME: f"ARK-{line}"}, c.p384(), c.CA)
        self.ask = c.Plan({c.COMMON_NAME: issuer}, c.p384(), c.CA, serial=2)
        self.key = c.p384()
        self.root = c.issue(self.ark, self.ark)
        self.intermediate = c.issue(self.ask, self.ark)

    @property
    def pin(self) -> str:
        return c.pem([self.root]).decode()

    def certificate(self, said: Endorsed = Endorsed(), **changes: Any) -> bytes:
        plan = c.Plan({c.COMMON_NAME: "SEV-VCEK"}, self.key, said.extensions(), serial=0)
        return c.issue(plan.but(**changes), self.ask)

    def sign(self, report: Report = Report(), key: Any = None) -> bytes:
        part = report.signed_part()
        signature = (key or self.key).sign(part, ec.ECDSA(hashes.SHA384()))
        r, s = (n.to_bytes(72, "little") for n in decode_dss_signature(signature))
        return part + (r + s).ljust(512, b"\0") + report.behind

    def table(self, certificates: list[bytes]) -> bytes:
        """The host's certificate table, with made-up names."""
        at = 24 * (len(certificates) + 1)
        head, body = b"", b""
        for number, der in enumerate(certificates, 1):
            head += bytes([number]) * 16 + struct.pack("<II", at + len(body), len(der))
            body += der
        return head + bytes(24) + body
