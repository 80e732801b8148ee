"""Refusals."""

TEXTS: dict[str, tuple[str, str, str]] = {
    "refused": (
        "The license does not allow this[: {detail}].",
        "The license server or the license on this device said no.",
        "Run `modelseal status` for the reason, or ask your vendor.",
    ),
    "not_activated": (
        "This device is not activated.",
        "There is no license[ in {path}].",
        "Run `modelseal activate KEY` with the license key from your purchase.",
    ),
    "unknown_license_key": (
        "The license key is not known to this server.",
        "It is well formed, but was never issued here, or was replaced by a newer one.",
        "Check that the key is for this product[ ({product})], or ask your vendor for the new key.",
    ),
    "unknown_product": (
        "The server does not know this product[: {product}].",
        "The app and the server belong to different publishers or products.",
        "Check server and trust: --server and --trust, or those in modelseal.toml.",
    ),
    "license_not_yet_valid": (
        "The license is not valid yet[; it starts at {starts_at}].",
        "Its first day lies ahead of now.",
        "Wait until it starts, or ask your vendor.",
    ),
    "license_expired": (
        "The license has expired[ at {expires_at}].",
        "Its time is over, so no further lease is given.",
        "Renew the subscription with your vendor, then run `modelseal lease renew`.",
    ),
    "license_suspended": (
        "The license is suspended.",
        "[The vendor gave the reason: {why}. ]The vendor has put it on hold; it can be resumed.",
        "Contact your vendor[ with the reference {reference}], then run `modelseal lease renew`.",
    ),
    "license_revoked": (
        "The license has been revoked.",
        "[The vendor gave the reason: {why}. ]The vendor has ended it for good.",
        "Contact your vendor[ with the reference {reference}].",
    ),
    "lease_expired": (
        "The lease on this device has ended[ at {expires_at}].",
        "A device may work without contact only for a time, and that time is over.",
        "Connect to the internet and run `modelseal lease renew`.",
    ),
    "lease_key_ended": (
        "The hardware no longer opens this lease[: {verdict}].",
        "Its key lives in this machine's TPM, which ends it by its own clock and after so many"
        " power cuts.",
        "Connect to the internet and run `modelseal lease renew`.",
    ),
    "lease_superseded": (
        "A newer answer from the server replaces this lease.",
        "Leases and denials are numbered, and the highest number counts.",
        "Run `modelseal status` to see where the device stands.",
    ),
    "not_entitled": (
        "The license does not include this[: it lacks {entitlement}].",
        "No key for it is on this device[; {model} needs {entitlement}][; the license grants"
        " {granted}].",
        "Ask your vendor for a plan that includes[ {entitlement}], then run `modelseal"
        " lease renew`.",
    ),
    "key_not_in_lease": (
        "The lease holds no key for this model[: {model}].",
        "The model was published after the last renewal, or is not published at all.",
        "Run `modelseal lease renew`, and `modelseal pull` if the model came that way.",
    ),
    "together_missing": (
        "A model that must be present beside this one is not[: {model}].",
        "It opens only together with authentic, licensed models that its publisher named.",
        "Run `modelseal pull` so that all models are there.",
    ),
    "release_too_old": (
        "The model file is older than its publisher allows[: release {release}, at least"
        " {min_release}].",
        "The publisher has withdrawn old releases.",
        "Run `modelseal pull` to get the present one.",
    ),
    "wrong_device": (
        "The license belongs to another device.",
        "The license is bound to a device key that this computer does not have.",
        "Run `modelseal activate KEY` on this computer; it takes a free seat.",
    ),
    "device_changed": (
        "This computer is not the one that was activated[: {traits} changed or missing].",
        "Too much of what identifies it differs, so the device key stays locked.",
        "Run `modelseal activate KEY --replace DEVICE` (`modelseal activate KEY` names"
        " the holders).",
    ),
    "device_unbound": (
        "This computer cannot be told from others.",
        "The plan demands a bound device, and too few hardware traits were found[: {traits}].",
        "Run on hardware or a virtual machine with its own identity, or ask your vendor.",
    ),
    "device_revoked": (
        "This device has been revoked.",
        "[The vendor gave the reason: {why}. ]The license itself may go on elsewhere.",
        "Contact your vendor[ with the reference {reference}].",
    ),
    "device_returned": (
        "This device gave its seat back.",
        "It was deactivated[ at {returned_at}], or another device took its seat.",
        "Run `modelseal activate KEY` to take a seat again.",
    ),
    "no_free_seat": (
        "No seat is free[: {holders}].",
        "The license allows {seats} device(s) at a time and all are taken.",
        "Run `modelseal deactivate` on one of them, or take its seat with `modelseal"
        " activate KEY --replace DEVICE`.",
    ),
    "replace_pending": (
        "The seat is being moved already[; it is free at {free_at}].",
        "A seat never has more than two live leases, and the last move still runs.",
        "Wait until the old lease ends[ at {free_at}], then try again.",
    ),
    "rebinds_used_up": (
        "The seat cannot be moved again now[; {limit} moves in 90 days are used].",
        "The plan limits how often a license moves to another computer.",
        "Wait[ until {free_at}], deactivate the old device, or ask your vendor.",
    ),
    "forked": (
        "Two copies of this activation are in use.",
        "The same activation asked twice from different states, as after a restored"
        " backup or a copied folder[; differing: {traits}].",
        "Enter the license key again with `modelseal activate KEY` on the computer that stays.",
    ),
    "clock_set_back": (
        "The clock of this computer is behind[; it shows {now}, at least {floor} is certain].",
        "A signed answer of the server is newer than the clock.",
        "Set the clock right; nothing else is needed.",
    ),
    "eula_not_accepted": (
        "The license agreement has not been accepted.",
        "The plan binds activation to an agreement[ ({uri})].",
        "Read it, then run `modelseal activate KEY --eula accept`.",
    ),
    "platform_not_allowed": (
        "The plan does not allow use on this kind of computer[: {detail}].",
        "It excludes virtual machines or containers, or the computer does not say which it is.",
        "Activate on another computer, or ask your vendor for a plan that allows this one.",
    ),
    "trial_used": (
        "The trial was used on this computer already.",
        "The plan gives one trial per computer.",
        "Ask your vendor for a license.",
    ),
    "meter_exceeded": (
        "The license's limit is used up[: {meter}, {limit}].",
        "The plan counts this use and the count is reached.",
        "Wait for the next period[ (it begins {resets_at})] or ask your vendor for a larger plan.",
    ),
    "egress_refused": (
        "The program tried to write the protected model out[: {what}].",
        "A copy outside the sealed file would be unprotected.",
        "Switch the option off[ ({what})]; loading works without it.[ Where {reader} needs a part"
        " of the model, `modelseal app observe` writes an app recipe that gives it.]",
    ),
    "sealed_file_kept": (
        "The program tried to delete or overwrite a sealed model[: {path}].",
        "[The app recipe {recipe} keeps it. ]Programs delete what fails a check of theirs, and"
        " a sealed file is not the plain one.",
        "Let `modelseal app observe` write a recipe, so that the check is answered; a file that is"
        " not wanted any more you can delete yourself.",
    ),
    "access_denied": (
        "This is not allowed[: {path}][: {detail}].",
        "The permissions of the file, or the role of the access token, do not include it.",
        "Use a file this user may use, or a token of a role that may, made by `modelseal"
        " server token create`.",
    ),
    "credential_invalid": (
        "The access token is not valid.",
        "It is missing, mistyped, expired or revoked.",
        "Set MODELSEAL_TOKEN to a valid token, made by `modelseal server token create`.",
    ),
    "sign_in_refused": (
        "The sign-in is refused[: {detail}].",
        "What the identity provider gave is not acceptable to the license server.",
        "Run `modelseal login --server URL` again.",
    ),
    "sign_in_malformed": (
        "The ID token cannot be read[: {detail}].",
        "It is cut, odd, or another kind of token.",
        "Run `modelseal login --server URL` again; if it stays, tell whoever runs the provider.",
    ),
    "sign_in_algorithm": (
        "The ID token is signed in a way this server does not accept[: {detail}].",
        "Only the algorithms in server.toml count, never unsigned tokens or shared secrets.",
        "Let the provider sign with RS256, ES256 or EdDSA, then sign in again.",
    ),
    "sign_in_key_unknown": (
        "The ID token is signed with a key the provider does not publish[: {detail}].",
        "The key is forged, gone, or so new that this server has not seen it yet.",
        "Wait half a minute and run `modelseal login --server URL` again.",
    ),
    "sign_in_signature": (
        "The signature of the ID token does not hold.",
        "The token was changed after the provider signed it, or another key signed it.",
        "Run `modelseal login --server URL` again and look who stands in between.",
    ),
    "sign_in_issuer": (
        "The ID token comes from another identity provider.",
        "This server takes tokens of the one issuer in its server.toml only.",
        "Run `modelseal login --server URL`, which asks the right provider.",
    ),
    "sign_in_audience": (
        "The ID token was made for another client[: {detail}].",
        "Its audience or authorized party is not the client of this server.",
        "Run `modelseal login --server URL`, which signs in as the right client.",
    ),
    "sign_in_nonce": (
        "The ID token does not belong to this sign-in[: {detail}].",
        "Its nonce was not made by whoever shows it.",
        "Run `modelseal login --server URL` again, on this computer from start to end.",
    ),
    "sign_in_expired": (
        "The ID token is not valid now[: {detail}].",
        "It is over, older than ten minutes, or of the future.",
        "Check the clocks here and at the server, then run `modelseal login --server URL`.",
    ),
    "sign_in_replayed": (
        "The ID token was used before.",
        "Each opens one session.",
        "Run `modelseal login --server URL` again.",
    ),
    "sign_in_not_allowed": (
        "This person may not use the license server[: {detail}].",
        "The provider vouches for them, but server.toml lets them in with no role.",
        "Ask whoever runs the server for a role[; reference {reference}].",
    ),
    "passphrase_wrong": (
        "The passphrase does not open this[: {path}].",
        "It is mistyped, or belongs to another file.",
        "Type it again, exactly as printed.",
    ),
    "key_refused": (
        "The key store does not let its key be used[: {uri}].",
        "Its own rules forbid it now[: {detail}].",
        "Ask whoever set up the key.",
    ),
    "key_policy_failed": (
        "The TPM does not let its key be used[: {uri}].",
        "The computer was started in another state than the key is bound to, or its time is over.",
        "Start it as before, or give the key a policy that its owner signed for the new state.",
    ),
    "key_of_another_tpm": (
        "The key belongs to another TPM[: {path}].",
        "Its file was copied from another computer, or the computer got another TPM.",
        "Use it on its own computer, or activate this one:"
        " modelseal activate KEY --replace DEVICE.",
    ),
    "tpm_cleared": (
        "The TPM was cleared, and every key in it is gone[: {path}].",
        "Somebody reset it in the firmware or by a new operating system.",
        "Activate again with the license key: modelseal activate KEY --replace DEVICE.",
    ),
}
