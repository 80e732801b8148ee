"""What AMD writes into VCEK and VLEK certificates: product, security versions, chip or cloud.

AMD's "VCEK Certificate and KDS Interface Specification" (57230), extensions below
1.3.6.1.4.1.3704.1. Values are DER; the hardware id stands there bare, older tools wrap it.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from modelseal.attest.verify import pki
from modelseal.attest.verify.snp_report import Tcb
from modelseal.attest.verify.steps import NotGenuine, Step

_ARC = "1.3.6.1.4.1.3704.1."
_PRODUCT, _HWID, _CSP = _ARC + "2", _ARC + "4", _ARC + "5"
_TCB = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
_INTEGER, _OCTETS, _IA5 = 0x02, 0x04, 0x16
_LINES = ("Milan", "Genoa", "Turin")
_HWID_BYTES = {"Milan": 64, "Genoa": 64, "Turin": 8}
_SIENA = "Siena"  # sold apart, endorsed by Genoa's keys


@dataclass(frozen=True, slots=True)
class Extensions:
    """``hwid`` of a VCEK, ``csp`` (whose cloud) of a VLEK; exactly one of the two."""

    product: str
    tcb: Tcb
    hwid: bytes | None
    csp: str | None


def is_leaf(certificate: x509.Certificate) -> bool:
    """True for a certificate that carries AMD's product name and a key on P-384."""
    return _PRODUCT in _values(certificate) and pki.ec_key(certificate, ec.SECP384R1) is not None


def read(certificate: x509.Certificate) -> Extensions:
    """The extensions of a VCEK or VLEK; ``NotGenuine`` at *chain* when one is missing or odd."""
    values = _values(certificate)
    product = _text(values, _PRODUCT).partition("-")[0]
    product = "Genoa" if product == _SIENA else product
    if product not in _LINES:
        raise NotGenuine(Step.CHAIN, "snp_extension", name="product")
    has_hwid, has_csp = _HWID in values, _CSP in values
    if has_hwid == has_csp:
        raise NotGenuine(Step.CHAIN, "snp_extension", name="hwID/CSP")
    tcb = Tcb(
        bootloader=_number(values, "bootloader"),
        tee=_number(values, "tee"),
        snp=_number(values, "snp"),
        microcode=_number(values, "microcode"),
        fmc=_number(values, "fmc") if product == "Turin" else None,
    )
    return Extensions(
        product=product,
        tcb=tcb,
        hwid=_hwid(values[_HWID], _HWID_BYTES[product]) if has_hwid else None,
        csp=_text(values, _CSP).removeprefix("CN=") if has_csp else None,
    )


def _values(certificate: x509.Certificate) -> dict[str, bytes]:
    try:
        return {
            extension.oid.dotted_string: extension.value.value
            for extension in certificate.extensions
            if isinstance(extension.value, x509.UnrecognizedExtension)
        }
    except ValueError:  # an extension that stands twice, or cannot be read
        return {}


def _number(values: dict[str, bytes], name: str) -> int:
    raw = values.get(_ARC + _TCB[name], b"")
    if len(raw) not in (3, 4) or raw[0] != _INTEGER or raw[1] != len(raw) - 2 or raw[2] & 0x80:
        raise NotGenuine(Step.CHAIN, "snp_extension", name=name)
    value = int.from_bytes(raw[2:], "big")
    if value > 255 or (len(raw) == 4 and value < 128):
        raise NotGenuine(Step.CHAIN, "snp_extension", name=name)
    return value


def _text(values: dict[str, bytes], oid: str) -> str:
    raw = values.get(oid, b"")
    body = raw[2:]
    fits = len(raw) > 2 and raw[0] == _IA5 and raw[1] == len(body) < 128 and body.isascii()
    if not fits or not body.decode("ascii", "replace").isprintable():
        raise NotGenuine(Step.CHAIN, "snp_extension", name=oid.removeprefix(_ARC))
    return body.decode("ascii")


def _hwid(raw: bytes, size: int) -> bytes:
    wrapped = len(raw) == size + 2 and raw[:2] == bytes((_OCTETS, size))
    bare = raw[2:] if wrapped else raw
    if len(bare) != size:
        raise NotGenuine(Step.CHAIN, "snp_extension", name="hwID")
    return bare
