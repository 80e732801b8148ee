"""SGX inside a Gramine enclave: its pseudo files below ``/dev/attestation``.

What is written into ``user_report_data`` is what the next quote binds; both belong to this process
alone, since an enclave's files are its own.
"""

from __future__ import annotations

from modelseal.attest.collect.collected import REPORT_DATA_BYTES, Collected, Part, check_length
from modelseal.attest.collect.ports import KernelFiles, SystemFiles, unavailable
from modelseal.errors import EvidenceUnavailable

BASE = "/dev/attestation"


class GramineCollector:
    """Evidence of a Gramine enclave with DCAP. ``base`` is its folder of pseudo files."""

    name = "gramine"

    def __init__(self, files: KernelFiles | None = None, base: str = BASE) -> None:
        self._files = SystemFiles() if files is None else files
        self._base = base

    def is_here(self) -> bool:
        """See ``Collector``."""
        return self._files.exists(f"{self._base}/attestation_type")

    def collect(self, report_data: bytes) -> Collected:
        """See ``Collector``; exactly 64 bytes are bound."""
        check_length(report_data, REPORT_DATA_BYTES)
        try:
            kind = self._files.read(f"{self._base}/attestation_type").strip(b"\0 \n")
            if kind != b"dcap":
                shown = kind[:16].decode("ascii", "replace")
                raise EvidenceUnavailable(f"Gramine attests by {shown!r}", source="Gramine")
            self._files.write(f"{self._base}/user_report_data", report_data)
            quote = self._files.read(f"{self._base}/quote")
        except OSError as error:
            raise unavailable(error, "Gramine") from None
        return Collected("sgx", "Gramine", (Part("quote.bin", quote),))
