"""Verdicts over the CPU's own evidence: SEV-SNP, SGX, TDX, Nitro, the vTPM of Azure."""

ATTEST_TEE: dict[str, str] = {
    "attest_kind_failed": "The evidence could not be read[ ({detail})]. Collect it again; if that"
    " does not help, report it as a bug.",
    "attest_debug_enabled": "Debugging is on: the host can read the memory of this guest or"
    " enclave. Start it without.",
    "attest_migration_allowed": "A migration agent may move this guest's memory elsewhere. Start it"
    " with a policy that forbids migration.",
    "attest_smt_enabled": "Two guests may share a core here (SMT is on), and the policy forbids it."
    " Switch SMT off in the BIOS.",
    "attest_vmpl_not_allowed": "The report was asked for at privilege level {vmpl}, which the"
    " policy does not admit. Ask at level 0, or admit it under snp.vmpl.",
    "attest_signer_not_allowed": "The report is signed by a {signer}, which the policy does not"
    " admit.",
    "attest_minimum_tcb_missing": "Nothing says which firmware is new enough here."
    " Set a minimum TCB, or take it from a golden machine with `modelseal attest reference add`.",
    "attest_tcb_too_old": "Firmware is too old: {part} is at {got}, {wanted} is needed."
    " Install the vendor's BIOS or microcode update.",
    "attest_snp_not_signed": "The host hides its chip's key, so the report proves nothing."
    " Have the host unmask the chip key (MASK_CHIP_KEY).",
    "attest_snp_product": "Report and key are of different products ({report} and {key})."
    " Give the certificate and intermediates of this very chip.",
    "attest_snp_extension": "The certificate of the signing key lacks what AMD writes into it"
    "[: {name}]. Fetch it from AMD again.",
    "attest_snp_signer": "The report says that a {report} signed it, and the certificate is of a"
    " {key}. Give the certificate that belongs to it.",
    "attest_snp_tcb_mismatch": "The certificate is for other firmware ({key}) than the report"
    " ({report}). Fetch the certificate for the present firmware.",
    "attest_snp_chip_mismatch": "The certificate is of another chip than the report. Fetch the"
    " certificate of this chip.",
    "attest_quoting_enclave_unknown": "The quote was made by a quoting enclave that is not Intel's."
    " Install Intel's DCAP quote generation on that machine.",
    "attest_pck_extension": "The platform's certificate lacks what Intel writes into it. Provision"
    " the platform again.",
    "attest_collateral_missing": "Intel's collateral for this platform is missing (FMSPC {fmspc}),"
    " so nobody knows whether it is up to date: import an endorsement bundle.",
    "attest_collateral_expired": "Collateral expired {days} days ago (at {at}): import a bundle.",
    "attest_collateral_not_yet_valid": "Collateral was issued only at {at}, later than now: check"
    " the clock, or import the bundle of that time.",
    "attest_collateral_invalid": "Intel's collateral cannot be used[: {detail}]. Import it again.",
    "attest_collateral_foreign": "The collateral is for another platform[: {detail}]. Import a"
    " bundle with this platform's.",
    "attest_tcb_unknown": "Nobody knows whether this platform is up to date: import a bundle with"
    " current collateral.",
    "attest_tcb_status": "[BIOS update for {advisories} missing. ]Intel calls this platform"
    " {status}: install the update and configure it as the advisory says, or allow this status.",
    "attest_tcb_out_of_date": "[BIOS update for {advisories} missing. ]Intel calls this platform"
    " {status}: install the update, then register the platform again.",
    "attest_tcb_revoked": "Intel has revoked this platform's firmware level: its keys are known to"
    " others. Install the BIOS update, then provision new keys.",
    "attest_tcb_not_listed": "Intel lists no firmware level that this platform reaches[: {detail}]."
    " Install the BIOS update.",
    "attest_tcb_evaluation_old": "The collateral is of TCB evaluation {got}, {wanted} is needed:"
    " import a newer bundle.",
    "attest_package_setup": "The platform is set up with {name}, which the policy does not admit."
    " Change it in the BIOS, or set {option}.",
    "attest_td_attributes": "The guest was started with attributes that open it up[: {detail}]."
    " Start it without.",
    "attest_event_log_mismatch": "The event log does not explain the measured registers[: {names}]."
    " It was changed, or is of another start.",
    "attest_azure_claims_unbound": "The hardware's report belongs to other claims than these: the"
    " key of the virtual TPM is not this machine's. Collect the evidence anew, in one piece.",
    "attest_azure_report_mismatch": "The quote was made for another guest than the report shows."
    " Collect the evidence anew, in one piece.",
    "attest_pcr_digest_mismatch": "The measured registers are not those that the TPM signed."
    " Collect the evidence anew.",
    "attest_tcb_not_judged": "The library that judges Intel's platforms does not judge this one"
    "[: {detail}]. Quote in a version that it knows.",
}
