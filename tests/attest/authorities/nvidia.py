"""A maker of GPUs: SPDM reports and chains whose every field can be made wrong."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.attest.authorities import certificates as c
from tests.attest.authorities import der_writer as w

NONCE = bytes(range(32))
FWID = b"\x77" * 48


@dataclass(frozen=True)
class Report:
    """A request and a response to it, unsigned."""

    nonce: bytes = NONCE
    version: int = 0x11
    request_code: int = 0xE0
    response_code: int = 0x60
    measurements: dict[int, bytes] = field(
        default_factory=lambda: {i: bytes([i]) * 48 for i in range(1, 65)}
    )
    blocks: int | None = None
    opaque: tuple[tuple[int, bytes], ...] = (
        (3, b"550.90.07\0"),
        (6, bytes.fromhex("009f009601000000")),
        (20, FWID),
    )

    def but(self, **changes: Any) -> Report:
        return replace(self, **changes)

    def unsigned(self) -> bytes:
        record = b"".join(
            bytes([i, 1])
            + (len(v) + 3).to_bytes(2, "little")
            + b"\0"
            + len(v).to_bytes(2, "little")
            + v
            for i, v in self.measurements.items()
        )
        opaque = b"".join(
            kind.to_bytes(2, "little") + len(v).to_bytes(2, "little") + v for kind, v in self.opaque
        )
        blocks = len(self.measurements) if self.blocks is None else self.blocks
        return (
            bytes([self.version, self.request_code, 1, 0xFF])
            + self.nonce
            + b"\0"
            + bytes([self.version, self.response_code, 0, 0, blocks])
            + len(record).to_bytes(3, "little")
            + record
            + b"\x55" * 32
            + len(opaque).to_bytes(2, "little")
            + opaque
        )


class Maker:
    """The device identity authority and one GPU of it."""

    def __init__(self, model: str = "GH100 A01 GSP FMC LF") -> None:
        self.root = c.Plan({c.COMMON_NAME: "Device Identity CA"}, c.p384(), c.CA)
        self.family = c.Plan({c.COMMON_NAME: "GH100 Identity"}, c.p384(), c.CA, 2)
        self.chip = c.Plan(
            {c.SERIAL_NUMBER: "41ABCDEF0123456789", c.COMMON_NAME: "BROM"}, c.p384(), c.CA, 3
        )
        tcb = w.sequence(w.integer(1), w.sequence(w.octets(FWID)))
        self.leaf = c.Plan({c.COMMON_NAME: model}, c.p384(), {**c.LEAF, "2.23.133.5.4.1": tcb}, 4)

    @property
    def pin(self) -> bytes:
        """What a policy pins instead of NVIDIA's root."""
        return c.issue(self.root, self.root)

    @property
    def chain(self) -> list[bytes]:
        return c.chain([self.leaf, self.chip, self.family, self.root])

    def sign(self, report: Report) -> bytes:
        data = report.unsigned()
        r, s = decode_dss_signature(self.leaf.key.sign(data, ec.ECDSA(hashes.SHA384())))
        return data + r.to_bytes(48, "big") + s.to_bytes(48, "big")

    def entry(self, report: Report) -> dict[str, str]:
        """One GPU in NVIDIA's JSON."""
        return {
            "arch": "HOPPER",
            "nonce": report.nonce.hex(),
            "evidence": base64.b64encode(self.sign(report)).decode(),
            "certificate": base64.b64encode(c.pem(self.chain)).decode(),
        }


def as_json(*entries: dict[str, str]) -> bytes:
    return json.dumps(list(entries)).encode()
