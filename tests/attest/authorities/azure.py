"""An Azure of our own: paravisor, claims and virtual TPM round a report of our own chips."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.attest.authorities.intel import Guest, Intel
from tests.attest.authorities.snp import Amd, Report

NONCE = b"challenge-of-any-size"
PCRS = tuple(bytes([i]) * 32 for i in range(24))
REPORT, GUEST = Report(), Guest()


@dataclass(frozen=True)
class Vm:
    """What machine and paravisor shall say."""

    nonce: bytes = NONCE
    pcrs: tuple[bytes, ...] = PCRS
    told: tuple[bytes, ...] = PCRS
    magic: bytes = b"\xffTCG"
    kind: int = 0x8018
    selection: bytes = b"\0\0\0\1\0\x0b\3\xff\xff\xff"
    quote_key: Any = None
    keys: Any = None
    configuration: Mapping[str, Any] = field(default_factory=lambda: {"secure-boot": True})
    bound: bytes | None = None
    header: bytes = b"HCLA"
    header_version: int = 2
    hash_type: int = 1
    size: int | None = None
    behind: bytes = bytes(100)
    more: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> Vm:
        return replace(self, **changes)


class Azure:
    """One virtual machine on a chip of ours."""

    def __init__(self) -> None:
        self.amd, self.intel = Amd(), Intel()
        self.ak = rsa.generate_private_key(65537, 2048)

    @property
    def pins(self) -> list[str]:
        return [self.amd.pin, self.intel.pin]

    def claims(self, vm: Vm) -> bytes:
        numbers = self.ak.public_key().public_numbers()
        key = {"kid": "HCLAkPub", "kty": "RSA", "e": _b64(numbers.e), "n": _b64(numbers.n)}
        keys = [key] if vm.keys is None else vm.keys
        said = {"keys": keys, "vm-configuration": vm.configuration, "user-data": "00" * 64}
        return json.dumps({k: v for k, v in said.items() if v is not ...}).encode()

    def hcl(self, vm: Vm, report: bytes, kind: int) -> bytes:
        claims = self.claims(vm)
        whole = 32 + 1184 + 20 + len(claims)
        head = struct.pack(
            "<4sIIIII8s", vm.header, vm.header_version, vm.size or whole, 2, 0, 0, bytes(8)
        )
        runtime = struct.pack("<IIIII", 20 + len(claims), 1, kind, vm.hash_type, len(claims))
        return head + report.ljust(1184, b"\0") + runtime + claims + vm.behind

    def bound(self, vm: Vm) -> bytes:
        digest = hashlib.sha256(self.claims(vm)).digest() if vm.bound is None else vm.bound
        return digest.ljust(64, b"\0")

    def quote(self, vm: Vm) -> dict[str, Any]:
        digest = hashlib.sha256(b"".join(vm.pcrs)).digest()
        message = vm.magic + struct.pack(">H", vm.kind) + b"\0\x22" + b"\0\x0b" + bytes(32)
        message += struct.pack(">H", len(vm.nonce)) + vm.nonce
        message += bytes(8) + bytes(8) + b"\1" + bytes(8)
        message += vm.selection + b"\0\x20" + digest
        key = vm.quote_key or self.ak
        signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        told = [value.hex() for value in vm.told]
        return {"message": message.hex(), "signature": signature.hex(), "pcrs": told}

    def on_amd(self, vm: Vm = Vm(), report: Report = REPORT) -> bytes:
        raw = self.amd.sign(report.but(report_data=self.bound(vm)))
        evidence = {
            "version": 1,
            "hcl_report": base64.urlsafe_b64encode(self.hcl(vm, raw, 2)).decode().rstrip("="),
            "tpm_quote": self.quote(vm),
            "vcek": base64.b64encode(self.amd.certificate()).decode(),
            **vm.more,
        }
        return json.dumps({k: v for k, v in evidence.items() if v is not ...}).encode()

    def on_intel(self, vm: Vm = Vm(), guest: Guest = GUEST, shown: Guest | None = None) -> bytes:
        guest = guest.but(report_data=self.bound(vm))
        report = td_report((shown or guest).but(report_data=guest.report_data))
        evidence = {
            "version": 1,
            "hcl_report": base64.urlsafe_b64encode(self.hcl(vm, report, 4)).decode(),
            "tpm_quote": self.quote(vm),
            "td_quote": base64.urlsafe_b64encode(self.intel.quote(guest)).decode(),
            **vm.more,
        }
        return json.dumps({k: v for k, v in evidence.items() if v is not ...}).encode()


def td_report(guest: Guest) -> bytes:
    body = guest.body()
    info = body[120:520].ljust(512, b"\0")
    raw = bytearray(1024)
    module = (bytes(8) + body[:120]).ljust(239, b"\0")
    raw[0] = 0x81
    raw[32:80] = hashlib.sha384(module).digest()
    raw[256:495] = module
    raw[80:128] = hashlib.sha384(info).digest()
    raw[128:192] = guest.report_data
    raw[512:1024] = info
    return bytes(raw)


def _b64(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
