"""Why a TPM's proof was taken or not, and why a key in it no longer answers."""

ATTEST_TPM: dict[str, str] = {
    "attest_ek_certificate_malformed": "The certificate of the TPM's endorsement key cannot be"
    " read. Ask the maker of the TPM for it.",
    "attest_ek_certificate_missing": "The TPM holds no certificate of its maker. Nobody can"
    " tell whose it is.",
    "attest_ek_root_unknown": "No root that the server believes vouches for this TPM. The publisher"
    " adds the maker's root certificate to the server's endorsements/tpm2.",
    "attest_ek_certificate_expired": "The TPM's endorsement certificate, or one above it, is not"
    " valid now. Check the server's clock, or ask the maker for a newer one.",
    "attest_ek_certificate_purpose": "The certificate is not for the endorsement key of a TPM.",
    "attest_ek_certificate_revoked": "The maker has revoked this TPM's certificate."
    " It can no longer prove anything.",
    "attest_ek_key_unusual": "The TPM's endorsement key is of a kind that is not used here.",
    "attest_ak_unknown": "The attestation key has not been tied to an endorsed TPM yet."
    " It is done at the next contact by itself.",
    "attest_ak_hierarchy": "The attestation key is not in the endorsement hierarchy, where alone a"
    " TPM tells its true reset count.",
    "attest_credential_wrong": "The challenge was not answered by the TPM with this certificate.",
    "attest_credential_late": "The challenge was answered too late. Ask again.",
    "attest_attest_signature": "The TPM's signature does not hold: the statement was changed or is"
    " another key's.",
    "attest_attest_bound": "The TPM's statement was made for another question.",
    "attest_key_not_certified": "The TPM certified another key, or one of another policy.",
    "attest_key_hierarchy": "The key is not in the storage hierarchy, so clearing the TPM would"
    " set its clock back and keep the key.",
    "attest_key_ended": "The TPM's key has ended already. It is made anew.",
    "attest_key_limit": "The TPM's key would live longer than the lease. It is made anew.",
    "attest_key_resets": "The TPM's key would survive more power cuts than the plan allows."
    " It is made anew.",
    "attest_pcr_selection": "The quote covers other registers than were asked for.",
    "attest_pcr_digest": "The registers that were told are not those that the TPM signed.",
    "attest_time_over": "Its time is over by the TPM's own clock.",
    "attest_resets_over": "The TPM was reset more often than the plan allows between renewals.",
    "attest_another_tpm": "The TPM was cleared, or is another one.",
}
