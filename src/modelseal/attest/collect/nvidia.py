"""NVIDIA GPUs through NVML, NVIDIA's own library: every GPU answers one nonce."""

from __future__ import annotations

import base64
import json
from typing import Any

from modelseal.attest.collect.collected import Collected, Part, check_length
from modelseal.errors import EvidenceUnavailable, ExtraMissing

NONCE_BYTES = 32


class NvidiaCollector:
    """Evidence of all GPUs in confidential-computing mode. ``nvml`` is the module ``pynvml``."""

    name = "nvidia"

    def __init__(self, nvml: Any = None) -> None:
        self._given = nvml

    def is_here(self) -> bool:
        """See ``Collector``."""
        try:
            nvml = self._nvml()
            nvml.nvmlInit()
        except Exception:  # noqa: BLE001 - without module, driver or GPU it is not here
            return False
        try:
            return bool(nvml.nvmlDeviceGetCount())
        except nvml.NVMLError:
            return False
        finally:
            nvml.nvmlShutdown()

    def collect(self, report_data: bytes) -> Collected:
        """See ``Collector``; exactly 32 bytes are bound."""
        check_length(report_data, NONCE_BYTES)
        nvml = self._nvml()
        try:
            nvml.nvmlInit()
            try:
                count = nvml.nvmlDeviceGetCount()
                gpus = [_one(nvml, index, report_data) for index in range(count)]
            finally:
                nvml.nvmlShutdown()
        except nvml.NVMLError as error:
            raise EvidenceUnavailable(f"NVML: {error}", source="NVML") from None
        if not gpus:
            raise EvidenceUnavailable("NVML: no GPU", source="NVML")
        return Collected("nvidia", "NVML", (Part("gpus.json", json.dumps(gpus).encode()),))

    def _nvml(self) -> Any:
        if self._given is not None:
            return self._given
        try:
            import pynvml
        except ImportError:
            raise ExtraMissing("NVML's Python module is missing", extra="nvidia") from None
        return pynvml


def _one(nvml: Any, index: int, nonce: bytes) -> dict[str, str]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    report = nvml.nvmlDeviceGetConfComputeGpuAttestationReport(handle, nonce)
    certificate = nvml.nvmlDeviceGetConfComputeGpuCertificate(handle)
    chain = bytes(certificate.attestationCertChain[: certificate.attestationCertChainSize])
    signed = bytes(report.attestationReport[: report.attestationReportSize])
    return {
        "nonce": nonce.hex(),
        "evidence": base64.b64encode(signed).decode(),
        "certificate": base64.b64encode(chain.rstrip(b"\0")).decode(),
    }
