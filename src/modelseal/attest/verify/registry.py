"""The built-in evidence kinds, one line each. Third parties' come in through ``appraise``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from modelseal.attest.verify.kinds import Kind


@cache
def builtin() -> Mapping[str, Kind]:
    """Every kind this release reads, by name."""
    from modelseal.attest.verify import (
        android,
        azure_vtpm,
        cca,
        nitro,
        nvidia,
        psa,
        sgx_tdx,
        snp,
        software,
        tpm2_evidence,
    )

    kinds: tuple[Kind, ...] = (
        sgx_tdx.SGX,
        sgx_tdx.TDX,
        snp.KIND,
        nitro.KIND,
        azure_vtpm.KIND,
        android.KIND,
        nvidia.KIND,
        cca.KIND,
        psa.KIND,
        tpm2_evidence.KIND,
        software.KIND,
    )
    return MappingProxyType({kind.name: kind for kind in kinds})
