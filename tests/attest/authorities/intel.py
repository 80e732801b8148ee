"""Intel of our own: platform, quoting enclave, quotes of SGX and TDX, and collateral for them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.attest.authorities import certificates as c
from tests.attest.authorities import der_writer as w
from tests.attest.authorities.crls import crl

ARC = "1.2.840.113741.1.13.1"
VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
SGX_QE = bytes.fromhex("8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff")
TDX_QE = bytes.fromhex("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5")
FMSPC = bytes.fromhex("00a067110000")
PPID = bytes(range(16))
REPORT_DATA = bytes(range(64))
CPU_SVN = bytes((5, 5, 2, 2, 3, 1, 0, 3, *[0] * 8))
PCE_SVN = 13


@dataclass(frozen=True)
class Enclave:
    """An SGX report body."""

    attributes: bytes = bytes((5, 0, 0, 0, 0, 0, 0, 0, 0xE7, *[0] * 7))
    mr_enclave: bytes = b"\xe1" * 32
    mr_signer: bytes = b"\x51" * 32
    isv_prod_id: int = 7
    isv_svn: int = 3
    report_data: bytes = REPORT_DATA

    def but(self, **changes: Any) -> Enclave:
        return replace(self, **changes)

    def body(self) -> bytes:
        raw = bytearray(384)
        raw[0:16] = CPU_SVN
        raw[48:64] = self.attributes
        raw[64:96] = self.mr_enclave
        raw[128:160] = self.mr_signer
        struct.pack_into("<HH", raw, 256, self.isv_prod_id, self.isv_svn)
        raw[320:384] = self.report_data
        return bytes(raw)


@dataclass(frozen=True)
class Guest:
    """A TD report body; ``later`` makes it one of TDX 1.5."""

    td_attributes: bytes = bytes((0, 0, 0, 0x10, 0, 0, 0, 0))
    tee_tcb_svn: bytes = bytes((5, 1, 2, *[0] * 13))
    mr_td: bytes = b"\x7d" * 48
    rtmrs: tuple[bytes, ...] = tuple(bytes([i]) * 48 for i in range(1, 5))
    report_data: bytes = REPORT_DATA
    later: bool = False

    def but(self, **changes: Any) -> Guest:
        return replace(self, **changes)

    def body(self) -> bytes:
        raw = bytearray(648 if self.later else 584)
        raw[0:16] = self.tee_tcb_svn
        raw[120:128] = self.td_attributes
        raw[128:136] = bytes((0xE7, 0, 6, 0, 0, 0, 0, 0))
        raw[136:184] = self.mr_td
        raw[328:520] = b"".join(self.rtmrs)
        raw[520:584] = self.report_data
        if self.later:
            raw[584:600] = self.tee_tcb_svn
        return bytes(raw)


@dataclass(frozen=True)
class Wrong:
    """What shall be wrong about a quote; nothing by default."""

    version: int | None = None
    key_type: int = 2
    vendor: bytes = VENDOR
    qe_signer: bytes | None = None
    qe_binds: bytes | None = None
    quote_key: Any = None
    qe_key: Any = None
    certificates: bytes | None = None
    certificate_type: int = 5
    behind: bytes = b""


@dataclass(frozen=True)
class Tcb:
    """What Intel shall say of the platform."""

    status: str = "UpToDate"
    advisories: tuple[str, ...] = ()
    fmspc: bytes = FMSPC
    evaluation: int = 17
    revoked: tuple[int, ...] = ()
    days: int = 30
    changes: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> Tcb:
        return replace(self, **changes)


class Intel:
    """Root, platform CA, TCB signing, one platform and its quoting enclave."""

    def __init__(self, *, package: bool = False) -> None:
        self.root = c.Plan({c.COMMON_NAME: "Intel SGX Root CA"}, c.p256(), _ca(), serial=1)
        name = {c.COMMON_NAME: "Intel SGX PCK Platform CA"}
        self.ca = c.Plan(name, c.p256(), _ca(0), serial=2)
        leaf = {"2.5.29.15": w.tlv(0x03, b"\x06\xc0"), "2.5.29.19": w.sequence()}
        self.tcb = c.Plan({c.COMMON_NAME: "Intel SGX TCB Signing"}, c.p256(), leaf, serial=3)
        said = {**leaf, ARC: _sgx_extension(package)}
        self.pck = c.Plan({c.COMMON_NAME: "Intel SGX PCK Certificate"}, c.p256(), said, serial=77)
        self.attestation = c.p256()
        self.root_der = c.issue(self.root, self.root)
        self.ca_der = c.issue(self.ca, self.root)

    @property
    def pin(self) -> str:
        return c.pem([self.root_der]).decode()

    def chain(self, **changes: Any) -> bytes:
        leaf = c.issue(self.pck.but(**changes), self.ca)
        return c.pem([leaf, self.ca_der, self.root_der])

    def quote(self, said: Enclave | Guest, wrong: Wrong = Wrong()) -> bytes:
        tdx = isinstance(said, Guest)
        version = wrong.version or ((5 if getattr(said, "later", False) else 4) if tdx else 3)
        head = struct.pack("<HHI", version, wrong.key_type, 0x81 if tdx else 0)
        head += struct.pack("<HH", 0, 0) + wrong.vendor + bytes(20)
        body = said.body()
        if version == 5:
            kind = 1 if not tdx else (3 if len(body) == 648 else 2)
            head += struct.pack("<HI", kind, len(body))
        signature = _sign(wrong.quote_key or self.attestation, head + body)
        public = _point(self.attestation)
        qe_data = b"q" * 32
        qe = bytearray(384)
        qe[0:16] = CPU_SVN
        qe[48:64] = bytes((0x15, 0, 0, 0, 0, 0, 0, 0, 0xE7, *[0] * 7))
        qe[128:160] = wrong.qe_signer or (TDX_QE if tdx else SGX_QE)
        struct.pack_into("<HH", qe, 256, 2 if tdx else 1, 8)
        bound = hashlib.sha256(public + qe_data).digest()
        qe[320:352] = bound if wrong.qe_binds is None else wrong.qe_binds
        listed = self.chain() + b"\0" if wrong.certificates is None else wrong.certificates
        inner = bytes(qe) + _sign(wrong.qe_key or self.pck.key, bytes(qe))
        inner += struct.pack("<H", len(qe_data)) + qe_data
        inner += struct.pack("<HI", wrong.certificate_type, len(listed)) + listed
        if version > 3:
            inner = struct.pack("<HI", 6, len(inner)) + inner
        auth = signature + public + inner
        return head + body + struct.pack("<I", len(auth)) + auth + wrong.behind

    def collateral(self, now: datetime, tcb: Tcb = Tcb(), *, tdx: bool = False) -> bytes:
        """What ``dcap-qvl`` takes, issued an hour before ``now``."""
        issued, ends = now - timedelta(hours=1), now + timedelta(days=tcb.days)
        info = json.dumps(_info(tcb, issued, ends, tdx), separators=(",", ":"))
        identity = json.dumps(_identity(tcb, issued, ends, tdx), separators=(",", ":"))
        signers = c.pem([c.issue(self.tcb, self.root), self.root_der]).decode()
        document = {
            "pck_crl_issuer_chain": c.pem([self.ca_der, self.root_der]).decode(),
            "root_ca_crl": crl(self.root, now, days=tcb.days).hex(),
            "pck_crl": crl(self.ca, now, tcb.revoked, days=tcb.days).hex(),
            "tcb_info_issuer_chain": signers,
            "tcb_info": info,
            "tcb_info_signature": _sign(self.tcb.key, info.encode()).hex(),
            "qe_identity_issuer_chain": signers,
            "qe_identity": identity,
            "qe_identity_signature": _sign(self.tcb.key, identity.encode()).hex(),
            **tcb.changes,
        }
        return json.dumps(document).encode()


def _ca(path: int | None = 1) -> dict[str, bytes]:
    limits = (w.boolean(True),) if path is None else (w.boolean(True), w.integer(path))
    return {"2.5.29.19": w.sequence(*limits), "2.5.29.15": w.tlv(0x03, b"\x01\x06")}


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _pair(oid: str, value: bytes) -> bytes:
    return w.sequence(w.oid(oid), value)


def _sgx_extension(package: bool) -> bytes:
    tcb = [_pair(f"{ARC}.2.{i}", w.integer(svn)) for i, svn in enumerate(CPU_SVN, 1)]
    tcb += [_pair(f"{ARC}.2.17", w.integer(PCE_SVN)), _pair(f"{ARC}.2.18", w.octets(CPU_SVN))]
    members = [
        _pair(f"{ARC}.1", w.octets(PPID)),
        _pair(f"{ARC}.2", w.sequence(*tcb)),
        _pair(f"{ARC}.3", w.octets(bytes(2))),
        _pair(f"{ARC}.4", w.octets(FMSPC)),
        _pair(f"{ARC}.5", w.enumerated(1 if package else 0)),
    ]
    if package:
        flags = [_pair(f"{ARC}.7.{i}", w.boolean(True)) for i in (1, 2, 3)]
        members.append(_pair(f"{ARC}.6", w.octets(bytes(16))))
        members.append(_pair(f"{ARC}.7", w.sequence(*flags)))
    return w.sequence(*members)


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _info(tcb: Tcb, issued: datetime, ends: datetime, tdx: bool) -> dict[str, Any]:
    level: dict[str, Any] = {"sgxtcbcomponents": [{"svn": s} for s in CPU_SVN], "pcesvn": PCE_SVN}
    if tdx:
        level["tdxtcbcomponents"] = [{"svn": s} for s in (5, 0, 2, *[0] * 13)]
    status = {"tcb": level, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": tcb.status}
    if tcb.advisories:
        status["advisoryIDs"] = list(tcb.advisories)
    said = {
        "id": "TDX" if tdx else "SGX",
        "version": 3,
        "issueDate": _text(issued),
        "nextUpdate": _text(ends),
        "fmspc": tcb.fmspc.hex().upper(),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": tcb.evaluation,
        "tcbLevels": [status],
    }
    if tdx:
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        good = {"tcb": {"isvsvn": 4}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "UpToDate"}
        said["tdxModule"] = module
        said["tdxModuleIdentities"] = [{"id": "TDX_01", **module, "tcbLevels": [good]}]
    return said


def _identity(tcb: Tcb, issued: datetime, ends: datetime, tdx: bool) -> dict[str, Any]:
    good = {"tcb": {"isvsvn": 4}, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "UpToDate"}
    return {
        "id": "TD_QE" if tdx else "QE",
        "version": 2,
        "issueDate": _text(issued),
        "nextUpdate": _text(ends),
        "tcbEvaluationDataNumber": tcb.evaluation,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FBFFFFFFFFFFFFFF" + "00" * 8,
        "mrsigner": (TDX_QE if tdx else SGX_QE).hex().upper(),
        "isvprodid": 2 if tdx else 1,
        "tcbLevels": [good],
    }


def flip(data: bytes, places: Iterable[int]) -> bytes:
    bent = bytearray(data)
    for place in places:
        bent[place] ^= 1
    return bytes(bent)
