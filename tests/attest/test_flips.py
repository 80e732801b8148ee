"""One byte changed, everywhere: noticed, or nothing that anybody signed has changed.

What goes unnoticed, all of it around the evidence and none of it in it: white space of PEM and hex
text, the case of hex digits, and in NVIDIA's JSON the member ``arch`` and the name of the member
``nonce``, which the report itself says better. Of binary tokens every byte counts.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.attest.judging import judge, sample

from modelseal.attest.verify import encodings, x509
from modelseal.attest.verify.steps import NotGenuine
from modelseal.errors import ModelsealError

IAK = sample("arm-cca-psa/iak-p256-pub.json").decode()
PHONE = tuple(sample(f"android-key/algorithm_EC_SecurityLevel_TEE/cert{i}.pem") for i in range(4))
HOPPER = (
    sample("nvidia-gpu/hopperAttestationReport.txt"),
    sample("nvidia-gpu/hopper_cert_chain_case1.txt"),
)
BLACKWELL = (sample("nvidia-gpu/blackwell-evidence.json"),)


def _content(part: bytes) -> Any:
    """What a file says, without the text around it; None when it is not readable at all."""
    try:
        if part.startswith(b"-----BEGIN"):
            return [c.der for c in x509.read_chain(part)]
        return encodings.peel(part)
    except (ModelsealError, NotGenuine):
        return None


def _gpus(part: bytes) -> Any:
    try:
        return [
            (base64.b64decode(e["evidence"]), _content(base64.b64decode(e["certificate"])))
            for e in json.loads(part)
        ]
    except (ValueError, KeyError, TypeError, binascii.Error):
        return None


Reader = Callable[[bytes], Any]
CASES: dict[str, tuple[str, tuple[bytes, ...], Reader]] = {
    "phone": ("android", PHONE, _content),
    "hopper": ("nvidia", HOPPER, _content),
    "blackwell": ("nvidia", BLACKWELL, _gpus),
    "cca": ("cca", (sample("arm-cca-psa/cca-good.cbor"),), bytes),
    "psa": ("psa", (sample("arm-cca-psa/psa-evidence.cbor"),), bytes),
}


def _flipped(parts: tuple[bytes, ...], mask: int, stride: int) -> Iterator[tuple[int, int, Any]]:
    for which, part in enumerate(parts):
        for place in range(mask % stride, len(part), stride):
            bent = part[:place] + bytes([part[place] ^ mask]) + part[place + 1 :]
            yield which, place, (*parts[:which], bent, *parts[which + 1 :])


def _said(kind: str, parts: tuple[bytes, ...]) -> Any:
    result = judge(kind, *parts, roots=[IAK] if kind in ("cca", "psa") else ())
    one = result.submodules[0]
    return one.genuine, one.findings, dict(one.claims), dict(one.measured)


def _sweep(name: str, masks: tuple[int, ...], stride: int) -> None:
    kind, parts, content = CASES[name]
    before = _said(kind, parts)
    assert before[0]
    for mask in masks:
        for which, place, bent in _flipped(parts, mask, stride):
            after = _said(kind, bent)
            if after[0]:
                told = (name, which, place, hex(mask))
                assert after == before, told
                assert content(bent[which]) == content(parts[which]), told


@pytest.mark.parametrize(("name", "stride"), [("cca", 7), ("psa", 3), ("phone", 61)])
def test_a_changed_byte_is_noticed_or_changes_nothing_signed(name, stride):
    _sweep(name, (0x01, 0x20), stride)


@pytest.mark.parametrize("name", ["hopper", "blackwell"])
def test_a_changed_byte_of_a_gpus_evidence_is_noticed_too(name):
    _sweep(name, (0x01, 0x20), 211)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(CASES))
def test_every_byte_of_every_file_is_noticed_or_changes_nothing_signed(name):
    _sweep(name, (0x01, 0x20, 0x80), 1)
