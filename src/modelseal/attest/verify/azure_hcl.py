"""What the paravisor of an Azure confidential VM writes: the hardware's report with its own claims.

The report binds the claims (SHA-256 of their JSON in the first half of its report data), and the
claims name the attestation key of the virtual TPM. Nothing else in this blob is signed, so nothing
else in it is believed: the header has to say what the rest shows, and what follows is zero.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from modelseal import strict_json
from modelseal.attest.verify.steps import NotGenuine, Step, malformed
from modelseal.strict_json import JsonInvalid, unb64u

_HEADER = struct.Struct("<4sIIIII8s")
_CLAIMS = struct.Struct("<IIIII")
REPORT_BYTES = 1184
_SNP, _TDX = 2, 4
_SHA256 = 1
_KEY_NAME = "HCLAkPub"
_MAX_CLAIMS = 16384
_TD_REPORT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Hcl:
    """The blob taken apart; nothing of it is verified."""

    tdx: bool
    report: bytes
    claims_json: bytes
    claims: dict[str, Any]

    def check_bound(self, report_data: bytes) -> None:
        """Returns when the hardware's ``report_data`` is the hash of these claims, and no more."""
        bound = hashlib.sha256(self.claims_json).digest() + bytes(32)
        if not hmac.compare_digest(report_data, bound):
            raise NotGenuine(Step.SIGNATURE, "azure_claims_unbound")

    def attestation_key(self) -> rsa.RSAPublicKey:
        """The virtual TPM's key that signs quotes."""
        keys = self.claims.get("keys")
        if not isinstance(keys, list):
            malformed("claims without keys")
        named = [k for k in keys if isinstance(k, dict) and k.get("kid") == _KEY_NAME]
        if len(named) != 1 or named[0].get("kty") != "RSA":
            malformed(f"not one RSA key named {_KEY_NAME}")
        try:
            n = int.from_bytes(unb64u(named[0].get("n", "")), "big")
            e = int.from_bytes(unb64u(named[0].get("e", "")), "big")
            if not 2048 <= n.bit_length() <= 4096 or e != 65537:
                malformed("an RSA key of an odd size")
            return rsa.RSAPublicNumbers(e, n).public_key()
        except (JsonInvalid, ValueError):
            malformed("an RSA key that is none")

    def check_td(self, body: bytes) -> None:
        """Returns when the TDREPORT in the blob is the one that the quote's ``body`` was made of.

        Its MAC is for this machine's own quoting enclave alone, which has checked it.
        """
        module, info = self.report[256:495], self.report[512:1024]
        same = (
            not any(self.report[_TD_REPORT_BYTES:])
            and self.report[128:192] == body[520:584]
            and module[8:128] == body[:120]
            and info[:400] == body[120:520]
            and hashlib.sha384(module).digest() == self.report[32:80]
            and hashlib.sha384(info).digest() == self.report[80:128]
        )
        if not same:
            raise NotGenuine(Step.SIGNATURE, "azure_report_mismatch")


def read(data: bytes) -> Hcl:
    """The blob; malformed for anything else."""
    if len(data) < _HEADER.size + REPORT_BYTES + _CLAIMS.size:
        malformed("a report of the paravisor that ends too early")
    magic, version, size, request, status, zero, reserved = _HEADER.unpack_from(data)
    if magic != b"HCLA" or version not in (1, 2) or request != 2:
        malformed("no report of the paravisor")
    if status or zero or any(reserved):
        malformed("a header with something in its reserved place")
    report = data[_HEADER.size : _HEADER.size + REPORT_BYTES]
    at = _HEADER.size + REPORT_BYTES
    whole, claims_version, kind, hashed, length = _CLAIMS.unpack_from(data, at)
    if kind not in (_SNP, _TDX) or hashed != _SHA256 or claims_version != 1:
        malformed("claims of an unknown kind")
    end = at + _CLAIMS.size + length
    if whole != _CLAIMS.size + length or size != end or length > _MAX_CLAIMS:
        malformed("lengths in the paravisor's report that do not fit")
    if end > len(data) or any(data[end:]):
        malformed("bytes behind the claims")
    claims_json = data[at + _CLAIMS.size : end]
    try:
        claims = strict_json.decode(claims_json, max_bytes=_MAX_CLAIMS)
    except JsonInvalid as error:
        malformed(f"the claims: {error.detail}")
    if not isinstance(claims, dict):
        malformed("claims that are no map")
    return Hcl(tdx=kind == _TDX, report=report, claims_json=claims_json, claims=claims)
