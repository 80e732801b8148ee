"""What the body of an SGX or TDX quote says, by Intel's names."""

from __future__ import annotations

from typing import Any

from modelseal.attest.verify.quote import TD15_BYTES, Quote
from modelseal.attest.verify.steps import Ledger


def sgx_claims(found: Quote, ledger: Ledger) -> dict[str, Any]:
    """The enclave's report (384 bytes); what can be a reference value goes into the ledger."""
    body = found.body
    ledger.measured.update(
        mr_enclave=body[64:96].hex(),
        mr_signer=body[128:160].hex(),
        isv_prod_id=body[256:258][::-1].hex(),
        config_id=body[192:256].hex(),
    )
    return {
        "quote_version": found.version,
        "cpu_svn": body[0:16].hex(),
        "attributes": body[48:64].hex(),
        "debug": bool(body[48] & 0x02),
        "isv_svn": int.from_bytes(body[258:260], "little"),
        "report_data": found.report_data.hex(),
        **ledger.measured,
    }


def tdx_claims(found: Quote, ledger: Ledger) -> dict[str, Any]:
    """The guest's report (584 or 648 bytes)."""
    body = found.body
    ledger.measured.update(
        mr_seam=body[16:64].hex(),
        mr_signer_seam=body[64:112].hex(),
        td_attributes=body[120:128].hex(),
        xfam=body[128:136].hex(),
        mr_td=body[136:184].hex(),
        mr_config_id=body[184:232].hex(),
        mr_owner=body[232:280].hex(),
        mr_owner_config=body[280:328].hex(),
        **{f"rtmr{n}": body[328 + 48 * n : 376 + 48 * n].hex() for n in range(4)},
    )
    said: dict[str, Any] = {
        "quote_version": found.version,
        "tee_tcb_svn": body[0:16].hex(),
        "seam_attributes": body[112:120].hex(),
        "debug": bool(body[120] & 0x01),
        "report_data": found.report_data.hex(),
        **ledger.measured,
    }
    if len(body) >= TD15_BYTES:
        said["tee_tcb_svn2"] = body[584:600].hex()
        said["mr_service_td"] = body[600:648].hex()
    return said
