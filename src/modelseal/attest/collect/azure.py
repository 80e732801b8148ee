"""Azure confidential virtual machines: the report of the paravisor, and a quote of its virtual TPM.

The paravisor (HCL) stored the hardware's report in an NV index at boot; it binds the virtual TPM's
attestation key. What is bound now goes into the quote. The host adds what only it has: the chip's
certificates, or the quote that Intel's enclave makes of a TDREPORT.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from modelseal.attest.collect.collected import Collected, Part, check_length
from modelseal.attest.collect.imds import Imds, SystemImds
from modelseal.attest.collect.ports import KernelFiles, SystemFiles
from modelseal.errors import EvidenceInvalid, EvidenceUnavailable
from modelseal.tpm2.chip import attesting, nv, objects, state, transport
from modelseal.tpm2.chip.tpm import Tpm
from modelseal.tpm2.wire.attest import Signature
from modelseal.tpm2.wire.codes import Alg
from modelseal.tpm2.wire.policy import PcrSelection

REPORT_INDEX = 0x01400001
ATTESTATION_KEY = 0x81000003
_REGISTERS = tuple(range(24))
_HCL = b"HCLA"
_REPORT_AT, _TD_REPORT_BYTES = 32, 1024
_KIND_AT = _REPORT_AT + 1184 + 8
_SNP, _TDX = 2, 4


class AzureCollector:
    """Evidence of an Azure confidential virtual machine, in the JSON that others emit too."""

    name = "azure-vtpm"

    def __init__(
        self,
        address: str = "",
        files: KernelFiles | None = None,
        *,
        imds: Imds | None = None,
        connect: Callable[[str], Tpm] = transport.connect,
    ) -> None:
        self._address = address
        self._files = SystemFiles() if files is None else files
        self._imds = SystemImds() if imds is None else imds
        self._connect = connect

    def is_here(self) -> bool:
        """See ``Collector``: a TPM that holds the paravisor's report."""
        if not self._address and not self._files.exists(transport.DEFAULT):
            return False
        with self._connect(self._address) as tpm:
            return nv.find_index(tpm, REPORT_INDEX) is not None

    def collect(self, report_data: bytes) -> Collected:
        """See ``Collector``; up to 64 bytes of the length of a hash are bound."""
        check_length(report_data, 20, 32, 48, 64)
        selections = [PcrSelection(Alg.SHA256, _REGISTERS)]
        with self._connect(self._address) as tpm:
            report = self._report(tpm)
            key = objects.read_public(tpm, ATTESTATION_KEY)
            attest, signature = attesting.quote(tpm, key, report_data, selections)
            values = state.read_pcrs(tpm, selections)
        kind = int.from_bytes(report[_KIND_AT : _KIND_AT + 4], "little")
        document: dict[str, Any] = {
            "version": 1,
            "hcl_report": base64.urlsafe_b64encode(report).decode(),
            "tpm_quote": {
                "message": attest.hex(),
                "signature": _bare(signature).hex(),
                "pcrs": [values[(int(Alg.SHA256), number)].hex() for number in _REGISTERS],
            },
        }
        if kind == _TDX:
            quote = self._imds.td_quote(report[_REPORT_AT : _REPORT_AT + _TD_REPORT_BYTES])
            document["td_quote"] = base64.urlsafe_b64encode(quote).decode()
        part = Part("azure.json", json.dumps(document).encode())
        beside = self._certificates() if kind == _SNP else ()
        return Collected("azure-vtpm", "Azure virtual TPM", (part,), beside)

    def _certificates(self) -> tuple[Part, ...]:
        """The chip's certificates; a verifier may have them from elsewhere."""
        with suppress(EvidenceUnavailable):
            return (Part("vcek.pem", self._imds.certificates()),)
        return ()

    def _report(self, tpm: Tpm) -> bytes:
        index = nv.find_index(tpm, REPORT_INDEX)
        if index is None:
            raise EvidenceUnavailable(
                "the virtual TPM holds no report of a paravisor", source="Azure virtual TPM"
            )
        report = nv.read(tpm, index, by_owner=True)
        if not report.startswith(_HCL):
            raise EvidenceUnavailable(
                "the NV index holds something else than a report", source="Azure virtual TPM"
            )
        return report


def _bare(signature: bytes) -> bytes:
    """The signature as such, out of the TPM's structure."""
    try:
        return Signature.from_bytes(signature).r
    except EvidenceInvalid as error:
        raise EvidenceUnavailable(error.detail, source="Azure virtual TPM") from None
