"""Evidence collectors: how a machine is made to say what it is.

One file per interface of kernel or vendor. ``collect`` asks one by name, or the first that is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelseal.attest.collect.collected import Collected, Collector, Part
from modelseal.errors import EvidenceUnavailable, Misuse

__all__ = ["Collected", "Collector", "Part", "collect", "collectors"]


def _tsm() -> Collector:
    from modelseal.attest.collect.tsm import TsmCollector

    return TsmCollector()


def _gramine() -> Collector:
    from modelseal.attest.collect.gramine import GramineCollector

    return GramineCollector()


def _nitro() -> Collector:
    from modelseal.attest.collect.nitro import NitroCollector

    return NitroCollector()


def _azure() -> Collector:
    from modelseal.attest.collect.azure import AzureCollector

    return AzureCollector()


def _tpm2() -> Collector:
    from modelseal.attest.collect.tpm2 import Tpm2Collector

    return Tpm2Collector()


def _nvidia() -> Collector:
    from modelseal.attest.collect.nvidia import NvidiaCollector

    return NvidiaCollector()


def _software() -> Collector:
    from modelseal.attest.collect.software import SoftwareCollector

    return SoftwareCollector()


def collectors() -> Mapping[str, Callable[[], Collector]]:
    """Every collector by name; the first that is here is asked where nobody names one.

    Azure stands before configfs-tsm and TPM: its paravisor answers for both.
    """
    return {
        "azure-vtpm": _azure,
        "gramine": _gramine,
        "nitro": _nitro,
        "tsm": _tsm,
        "tpm2": _tpm2,
        "nvidia": _nvidia,
        "software": _software,
    }


def collect(
    report_data: bytes,
    name: str | None = None,
    *,
    known: Mapping[str, Callable[[], Collector]] | None = None,
) -> Collected:
    """Evidence bound to ``report_data`` by the collector ``name``, or by the first that is here.

    Raises ``Misuse`` for an unknown name or a length that cannot be bound, and
    ``EvidenceUnavailable`` when this machine has nothing that could answer.
    """
    table = collectors() if known is None else known
    if name is not None:
        if name not in table:
            raise Misuse(f"a collector is one of {', '.join(table)}")
        return table[name]().collect(report_data)
    for make in table.values():
        found = make()
        if found.is_here():
            return found.collect(report_data)
    raise EvidenceUnavailable("no hardware here that could prove anything")
