"""Why evidence was taken or not, by the code of the verdict, and what the operator can do."""

ATTEST: dict[str, str] = {
    "attest_ok": "Genuine and acceptable.",
    "attest_other": "{code}[: {detail}].",
    "attest_evidence_malformed": "This is no evidence of that kind[: {detail}]."
    " Collect it again, or name its kind with --kind.",
    "attest_extra_missing": "This kind needs more software here."
    " Run `pip install 'modelseal[[{extra}]]'`.",
    "attest_chain_not_anchored": "No pinned root vouches for the signing key[ (issuer: {issuer})]."
    " Give the vendor's intermediate certificates as endorsements.",
    "attest_chain_too_long": "The certificate chain is longer than an issuer in it allows"
    "[: {issuer}].",
    "attest_certificate_missing": "The certificate of the signing key is missing[: {name}]."
    " Give it as an endorsement.",
    "attest_certificate_revoked": "The vendor has revoked a certificate of this chain[: {name}]."
    " This hardware can no longer prove anything.",
    "attest_revocation_unknown": "Nobody knows whether the certificates are revoked"
    "[: no list of {issuer}]. Import an endorsement bundle with the vendor's lists.",
    "attest_revocation_list_expired": "The revocation list is not current[: {issuer}]."
    " Import a newer endorsement bundle.",
    "attest_signature_invalid": "The signature does not hold[: {detail}]."
    " The evidence was changed or was made with another key.",
    "attest_binding_not_asked": "Nobody said what the evidence has to be bound to."
    " Give the expected report data.",
    "attest_binding_mismatch": "The evidence is bound to something else: it was made for another"
    " question. Ask with a fresh nonce.",
    "attest_binding_length": "The expected report data has {got} bytes where the evidence binds"
    " {wanted}. It is never padded or cut: give the exact value.",
    "attest_certificate_expired": "A certificate ended at {at}, {days} days earlier[: {name}]."
    " Collect new evidence, or import newer endorsements.",
    "attest_certificate_not_yet_valid": "A certificate begins only at {at}[: {name}]."
    " Check the clock.",
    "attest_reference_missing": "No reference values say what may run here."
    " Make them from a golden machine with `modelseal attest reference add`.",
    "attest_measurement_mismatch": "Something else runs there than the reference values allow"
    "[: {names}]. Start the approved image, or add reference values for the new one.",
    "attest_kind_not_allowed": "The policy does not admit evidence of the kind {kind}.",
    "attest_chip_not_proved": "The policy lists chips, and this evidence names none.",
    "attest_chip_not_listed": "This chip is not on the policy's list[: {found}].",
    "attest_owner_not_proved": "The policy lists owners, and this evidence proves none.",
    "attest_owner_not_listed": "The owner of this hardware is not on the policy's list[: {found}].",
    "attest_step_not_judged": "Nothing could be said of one step[: {name}].",
    "attest_composite_missing": "The policy wants acceptable evidence of one of these kinds beside"
    " it: {kinds}.",
    "reference_added": "{path}: the reference values of one more machine ({kind}, {count} values).",
}
