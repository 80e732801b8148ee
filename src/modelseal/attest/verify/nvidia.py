"""NVIDIA GPUs with confidential computing: Hopper and Blackwell.

1. parse: report and certificates of each GPU, from raw files or NVIDIA's JSON
2. chain: up to the pinned NVIDIA Device Identity CA; dates; revocation lists
3. signature: the leaf's key over all of the report that stands before it
4. platform: architecture, the firmware id in report and certificate, driver and VBIOS

What the measurements ought to be stands in reference values of the policy. NVIDIA's own reference
manifests (RIM) are not read: until somebody writes reference values, measurement is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from modelseal import strict_json
from modelseal.attest.verify import chains, encodings, nvidia_report, x509
from modelseal.attest.verify.kinds import Case, Kind, Option
from modelseal.attest.verify.nvidia_report import NONCE_BYTES, Report
from modelseal.attest.verify.nvidia_roots import ROOTS
from modelseal.attest.verify.steps import Ledger, NotGenuine, Step, malformed
from modelseal.attest.verify.x509 import Certificate
from modelseal.errors import EvidenceInvalid
from modelseal.strict_json import JsonInvalid
from modelseal.types import Level

MAX_GPUS = 16
_MAX_JSON_BYTES = 4 << 20
_TCB_INFO = ("2.23.133.5.4.1", "2.23.133.5.4.1.1")
_ARCHITECTURES = {"GH": "hopper", "GB": "blackwell"}


@dataclass(frozen=True, slots=True)
class _Gpu:
    """One GPU's report with its certificates, leaf first."""

    report: Report
    chain: tuple[Certificate, ...]

    @property
    def architecture(self) -> str:
        """By the name in its leaf, which NVIDIA's chain vouches for."""
        return _ARCHITECTURES.get(self.chain[0].title[:2], "unknown")

    @property
    def identity(self) -> str | None:
        """The serial number, in hex, of the key that was burnt into the chip."""
        for certificate in self.chain[1:]:
            found = certificate.attribute(x509.SERIAL_NUMBER)
            if found:
                return found.lower()
        return None


def judge(case: Case, ledger: Ledger) -> None:
    """Judge the evidence of one or more GPUs that answered the same nonce."""
    gpus = _read(case)
    shown = [_claims(gpu) for gpu in gpus]
    ledger.claims.update(shown[0] if len(gpus) == 1 else {"gpus": shown})
    ledger.ok(Step.PARSE)
    pinned = chains.anchors(case.roots)
    for gpu in gpus:
        chains.check(gpu.chain, pinned)
    ledger.ok(Step.CHAIN)
    for gpu in gpus:
        _check_signature(gpu)
    ledger.ok(Step.SIGNATURE)
    for gpu in gpus:
        chains.check_revocation(gpu.chain, case.endorsements.crls, case.now, ledger)
        chains.check_dates(gpu.chain, case.now, ledger)
    _bound(ledger, gpus)
    _platform(case, ledger, gpus)
    _measured(ledger, gpus)


def _read(case: Case) -> tuple[_Gpu, ...]:
    try:
        if len(case.parts) == 1:
            return _from_json(case.parts[0])
        report = [part for part in case.parts if part[:1] == b"\x11"]
        rest = [part for part in case.parts if part[:1] != b"\x11"]
        if len(report) != 1:
            malformed("one report and its certificates, or NVIDIA's JSON")
        chain = tuple(c for part in rest for c in x509.read_chain(part))
        return (_gpu(report[0], chain),)
    except EvidenceInvalid as error:
        malformed(error.detail)


def _from_json(data: bytes) -> tuple[_Gpu, ...]:
    try:
        document = strict_json.decode(data, max_bytes=_MAX_JSON_BYTES)
    except JsonInvalid as error:
        malformed(error.detail)
    if isinstance(document, dict) and "evidence" not in document:
        lists = [value for value in document.values() if isinstance(value, list)]
        document = lists[0] if len(lists) == 1 else None
    listed = [document] if isinstance(document, dict) else document
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_GPUS:
        malformed(f"a list of 1 to {MAX_GPUS} GPUs is needed")
    return tuple(map(_one, listed))


def _one(entry: Any) -> _Gpu:
    if not isinstance(entry, dict):
        malformed("a GPU is an object")
    report = encodings.unbase64(entry.get("evidence"), "evidence")
    certificates = encodings.unbase64(entry.get("certificate"), "certificate")
    gpu = _gpu(report, x509.read_chain(certificates))
    nonce = entry.get("nonce")
    if nonce is not None and encodings.unhex(nonce, "nonce") != gpu.report.nonce:
        malformed("the nonce beside the report is another one")
    return gpu


def _gpu(report: bytes, chain: tuple[Certificate, ...]) -> _Gpu:
    if len(chain) > x509.MAX_CHAIN or len(chain) < 2:
        malformed("a chain of 2 to 10 certificates is needed")
    return _Gpu(nvidia_report.read(report), chain)


def _check_signature(gpu: _Gpu) -> None:
    half = nvidia_report.SIGNATURE_BYTES // 2
    signature = gpu.report.signature
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    try:
        key = gpu.chain[0].public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.key_size != half * 8:
            raise NotGenuine(Step.SIGNATURE, "signature_invalid", detail="not a P-384 key")
        key.verify(encode_dss_signature(r, s), gpu.report.signed, ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, ValueError, EvidenceInvalid):
        raise NotGenuine(
            Step.SIGNATURE, "signature_invalid", detail="the GPU's key did not sign this report"
        ) from None


def _bound(ledger: Ledger, gpus: tuple[_Gpu, ...]) -> None:
    nonces = {gpu.report.nonce for gpu in gpus}
    if len(nonces) > 1:
        ledger.refuse(Step.BINDING, "gpu_nonces_differ")
        return
    ledger.bound["nonce"] = gpus[0].report.nonce


def _platform(case: Case, ledger: Ledger, gpus: tuple[_Gpu, ...]) -> None:
    before = len(ledger.findings)
    for gpu in gpus:
        opaque = gpu.report.claims()
        if gpu.architecture not in case.options["architectures"]:
            ledger.refuse(Step.PLATFORM, "gpu_architecture", name=gpu.chain[0].title)
        if not _firmware_agrees(gpu):
            ledger.refuse(Step.PLATFORM, "gpu_firmware_id")
        for option, name in (
            ("driver_versions", "driver_version"),
            ("vbios_versions", "vbios_version"),
        ):
            allowed = [text.lower() for text in case.options[option]]
            found = str(opaque.get(name, "none")).lower()
            if allowed and found not in allowed:
                ledger.refuse(Step.PLATFORM, "gpu_version", name=name, found=found)
    if len(ledger.findings) == before:
        ledger.ok(Step.PLATFORM)
    identities = {gpu.identity for gpu in gpus}
    ledger.chip = identities.pop() if len(identities) == 1 else None


def _firmware_agrees(gpu: _Gpu) -> bool:
    """Early Hopper firmware tells no id in its report; where it does, the leaf was made for it."""
    said = gpu.report.opaque.get("fwid")
    endorsed = [gpu.chain[0].extensions[oid] for oid in _TCB_INFO if oid in gpu.chain[0].extensions]
    return said is None or any(said and said in extension for extension in endorsed)


def _measured(ledger: Ledger, gpus: tuple[_Gpu, ...]) -> None:
    """What all of the GPUs measure alike; what differs between them fits no reference value."""
    names = {index for gpu in gpus for index in gpu.report.measurements}
    for index in sorted(names):
        values = {gpu.report.measurements.get(index, b"").hex() for gpu in gpus}
        if len(values) == 1:
            ledger.measured[f"measurement_{index:02}"] = values.pop()


def _claims(gpu: _Gpu) -> dict[str, Any]:
    return {
        "architecture": gpu.architecture,
        "model": gpu.chain[0].title,
        "identity": gpu.identity,
        "nonce": gpu.report.nonce.hex(),
        "response_nonce": gpu.report.response_nonce.hex(),
        "measurements": {str(i): value.hex() for i, value in gpu.report.measurements.items()},
        **gpu.report.claims(),
    }


KIND = Kind(
    name="nvidia",
    level=Level.L5,
    judge=judge,
    reference=(r"measurement_[0-9]{2,3}",),
    bound_bytes=NONCE_BYTES,
    options={
        "architectures": Option(["hopper", "blackwell"], ("hopper", "blackwell")),
        "driver_versions": Option([]),
        "vbios_versions": Option([]),
    },
    roots=ROOTS,
)
