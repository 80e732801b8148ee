"""Why evidence of phones, GPUs and Arm chips was taken or not, and what the operator can do."""

ATTEST_MORE: dict[str, str] = {
    "attest_root_unreadable": "A pinned root in the policy is neither a certificate nor a public"
    " key[: {detail}]. Correct the policy.",
    "attest_chain_extended": "An attested key has signed certificates of its own, and it was not"
    " made for that. This chain was forged with a real phone's help.",
    "attest_android_status_list_missing": "Nobody knows whether Google has taken the phone's key"
    " back. Import an endorsement bundle with Google's status list.",
    "attest_android_version_unknown": "The attestation is of version {version}, which this release"
    " does not know. Update modelseal.",
    "attest_android_level": "The key lies in the security level {level}, and the policy wants a"
    " better one. Make the key in the phone's secure hardware.",
    "attest_android_no_root_of_trust": "The secure hardware did not say how the phone was booted."
    " Make the key in the phone's secure hardware.",
    "attest_bootloader_unlocked": "Bootloader unlocked. Lock it again, which erases the phone.",
    "attest_boot_state": "The phone was booted in the state {state}. Install the maker's own"
    " system image and lock the bootloader.",
    "attest_boot_key_empty": "The phone names no key that verified its boot. Install the maker's"
    " own system image and lock the bootloader.",
    "attest_key_not_generated": "The key was not made inside the secure hardware (origin:"
    " {origin}). Make a new key there.",
    "attest_android_too_old": "The phone's {name} is {got}, and the policy wants {wanted}."
    " Update the phone.",
    "attest_android_application": "Another application made the key[: {found}]. Use the one that"
    " the policy names.",
    "attest_android_signer": "The application is signed by somebody else than the policy names."
    " Install the application from its publisher.",
    "attest_gpu_nonces_differ": "The GPUs answered different nonces. Collect all reports for one"
    " nonce.",
    "attest_gpu_architecture": "This is no GPU of an architecture that the policy admits: {name}.",
    "attest_gpu_firmware_id": "The GPU runs another firmware than its certificate was made for."
    " Restart the machine, and ask NVIDIA if it stays so.",
    "attest_gpu_version": "The GPU's {name} is {found}, and the policy does not list it."
    " Install a listed version, or add this one.",
    "attest_arm_key_missing": "No public key of this chip is pinned. Give it in the policy, under"
    " roots.",
    "attest_arm_lifecycle": "The chip is in the lifecycle state {state}, where it keeps no"
    " secrets. Use a chip that was secured.",
    "attest_psa_mac": "The token is only authenticated with a secret that its reader would share,"
    " so it proves nothing. Let the chip sign with an asymmetric key.",
    "attest_cca_realm_key_unbound": "The platform does not vouch for the key that signed the"
    " realm's claims. The two tokens are not of one machine.",
    "attest_cca_devices_unread": "The token also speaks of devices assigned to the realm, which"
    " this release does not read.",
    "attest_tpm2_key_not_endorsed": "Nobody vouches for the TPM's attestation key. Pin it in the"
    " policy under roots, give its certificate, or let the server prove it.",
    "attest_event_log_missing": "Without its event log nobody knows how this machine was booted."
    " Collect again with the rights to read the log.",
    "attest_secure_boot_off": "Secure Boot was off when this machine started. Switch it on, or"
    " admit it in the policy.",
    "attest_software_only": "This is only a program's word about itself. Use hardware that can"
    " prove something.",
    "attest_no_hardware": "Nothing here can prove that level: no confidential processor, and no TPM"
    " that may be used. Run it on a machine that has one.",
    "attest_kind_unknown": "The server does not know evidence of this kind. Update the server, or"
    " install the package that reads it there.",
    "attest_policy_unreadable": "The server's appraisal policy cannot be read, so nothing is good"
    " enough. The publisher corrects attestation-policy.json.",
    "attest_tpm_not_proved": "The quote counts only beside a proof of the device's own TPM, and"
    " that was missing or did not hold. The server has to know the TPM's maker.",
    "attest_level_none": "The evidence is good, and its kind shows no level. Use a processor or a"
    " TPM.",
    "attest_level_short": "The evidence is good, and its kind shows a lower level than is demanded."
    " Use hardware of a higher level.",
    "attest_nonce_unknown": "The nonce is none that was given to this device. Ask for a fresh one.",
    "attest_nonce_used": "The nonce was used before. It is good for one question.",
    "attest_nonce_late": "The nonce is too old. Collect the evidence faster, or ask again.",
}
