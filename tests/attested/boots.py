"""Measured boots of an emulated TPM: what a firmware would extend, with the log beside it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.attest.authorities.event_logs import Line, separator, variable, write
from tests.tpm import SwTpm

from modelseal.attest.collect.tpm2 import Tpm2Collector
from modelseal.tpm2.chip import state

SECURE = (
    variable("SecureBoot", b"\x01"),
    *(separator(register) for register in range(8)),
    Line(4, 0x80000003, b"boot loader"),
    Line(8, 0x0D, b"kernel_cmdline: /vmlinuz ro quiet"),
)
ALTERED = (*SECURE[:-1], Line(8, 0x0D, b"kernel_cmdline: /vmlinuz ro debug"))
_NAMES = ("pcr4", "pcr7", "pcr8")


def boot(tpm: SwTpm, lines: tuple[Line, ...] = SECURE) -> bytes:
    """The log of ``lines``, each of which now stands in the TPM's registers."""
    with tpm.connect() as found:
        for line in lines:
            state.extend_pcr(found, line.register, line.digest("sha256"))
    return write(lines)


class Log:
    """The kernel's file with the log, in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, _path: str) -> bytes:
        if not self.data:
            raise OSError("no such file")
        return self.data

    def exists(self, _path: str) -> bool:
        return True


def collector(tpm: SwTpm, log: bytes) -> Tpm2Collector:
    """What quotes this TPM, with that log beside it."""
    return Tpm2Collector(tpm.address, Log(log))  # type: ignore[arg-type]


def registers(lines: tuple[Line, ...] = SECURE) -> dict[str, list[str]]:
    """The reference values of a machine that booted so."""
    from modelseal.attest.verify import event_log

    replayed = event_log.read(write(lines)).replay("sha256")
    return {name: [replayed[int(name[3:])].hex()] for name in _NAMES}


def policy(home: Path, rules: dict[str, object] | None = None) -> Path:
    """The server at ``home`` wants machines that booted securely, or what ``rules`` say."""
    wanted = {"kinds": ["tpm2"], "reference": {"tpm2": [registers()]}} if rules is None else rules
    path = home / "server" / "attestation-policy.json"
    whole = {"typ": "modelseal-appraisal-policy", "version": 1, **wanted}
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path
