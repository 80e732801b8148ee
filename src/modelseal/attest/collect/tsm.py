"""SEV-SNP, TDX and Arm CCA through the kernel's one interface: configfs-tsm (Linux 6.7).

    /sys/kernel/config/tsm/report/NAME/
        inblob      what to bind, written once (at most 64 bytes)
        generation  how often anybody wrote here
        outblob     the report     auxblob  certificates of the host     provider  whose it is

The folder is ours alone, yet root can write into it: the report counts only when the generation
before the first write and after the last read says that nobody else did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from modelseal.attest.collect.collected import REPORT_DATA_BYTES, Collected, Part, check_length
from modelseal.attest.collect.ports import KernelFiles, SystemFiles, unavailable
from modelseal.errors import EvidenceUnavailable

BASE = "/sys/kernel/config/tsm/report"
CCEL = "/sys/firmware/acpi/tables/data/CCEL"
KINDS = {"sev_guest": "snp", "tdx_guest": "tdx", "arm_cca_guest": "cca"}
_MAX_CERTIFICATES = 16
_ENTRY_BYTES = 24
_TRIES = 3


class TsmCollector:
    """Evidence by configfs-tsm. ``base`` is its folder of reports."""

    name = "tsm"

    def __init__(
        self,
        files: KernelFiles | None = None,
        base: str = BASE,
        *,
        log: str = CCEL,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._files = SystemFiles() if files is None else files
        self._base = base
        self._log = log
        self._random = random

    def is_here(self) -> bool:
        """See ``Collector``."""
        return self._files.exists(self._base)

    def collect(self, report_data: bytes) -> Collected:
        """See ``Collector``; exactly 64 bytes are bound."""
        check_length(report_data, REPORT_DATA_BYTES)
        try:
            for _ in range(_TRIES):
                with self._folder() as folder:
                    found = self._ask(folder, report_data)
                if found is not None:
                    return found
        except OSError as error:
            raise unavailable(error, "configfs-tsm") from None
        raise EvidenceUnavailable("configfs-tsm: somebody else writes there", source="configfs-tsm")

    @contextmanager
    def _folder(self) -> Iterator[str]:
        folder = f"{self._base}/modelseal-{self._random(8).hex()}"
        self._files.make_folder(folder)
        try:
            yield folder
        finally:
            with suppress(OSError):
                self._files.remove_folder(folder)

    def _ask(self, folder: str, report_data: bytes) -> Collected | None:
        """The report; None when somebody else wrote between."""
        before = self._generation(folder)
        self._files.write(f"{folder}/inblob", report_data)
        outblob = self._files.read(f"{folder}/outblob")
        auxblob = self._optional(f"{folder}/auxblob")
        provider = self._files.read(f"{folder}/provider").strip().decode("ascii", "replace")
        if self._generation(folder) != before + 1:
            return None
        kind = KINDS.get(provider)
        if kind is None or not outblob:
            raise EvidenceUnavailable(
                f"configfs-tsm: the provider {provider[:32]!r} is not known", source="configfs-tsm"
            )
        parts = [Part("report.bin", outblob)]
        log = self._optional(self._log) if kind == "tdx" else b""
        if log:
            parts.append(Part("ccel.bin", log))
        return Collected(kind, f"configfs-tsm {provider}", tuple(parts), _certificates(auxblob))

    def _generation(self, folder: str) -> int:
        text = self._files.read(f"{folder}/generation").strip()
        if not text.isdigit():
            raise EvidenceUnavailable("configfs-tsm: no generation", source="configfs-tsm")
        return int(text)

    def _optional(self, path: str) -> bytes:
        try:
            return self._files.read(path)
        except OSError:
            return b""


def _certificates(table: bytes) -> tuple[Part, ...]:
    """The certificates of the host's table (GHCB, SNP_EXT_GUEST_REQUEST): GUID, offset, length."""
    found: list[Part] = []
    for at in range(0, len(table) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        guid = table[at : at + 16]
        offset, length = (int.from_bytes(table[at + n : at + n + 4], "little") for n in (16, 20))
        if not any(guid) or len(found) == _MAX_CERTIFICATES:
            break
        data = table[offset : offset + length]
        if not length or len(data) != length:
            break
        found.append(Part(f"host-{len(found)}.der", data))
    return tuple(found)
