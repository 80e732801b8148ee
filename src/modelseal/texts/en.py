"""English texts: what happened, why, what to do next.

A clause in [brackets] falls away when a parameter in it is absent.
"""

TEXTS: dict[str, tuple[str, str, str]] = {
    # -- the root and our own bugs
    "error": (
        "Something went wrong[: {detail}].",
        "The reason has no text in this release.",
        "Run `modelseal doctor` and send its report with this message to support.",
    ),
    "internal_error": (
        "modelseal made a mistake[: {detail}].",
        "This is a bug of ours, not yours; nothing was changed.",
        "Run `modelseal doctor --bundle report.zip` and send the file to support.",
    ),
    # -- misuse
    "misuse": (
        "The command makes no sense as given[: {detail}].",
        "An argument is missing, has the wrong form or contradicts another.",
        "Run the command with --help and correct it.",
    ),
    "license_key_mistyped": (
        "The license key is mistyped[ in group {group}].",
        "The check symbol of the group does not match, so the key was not sent anywhere.",
        "Compare[ group {group} of] the key with your purchase confirmation and type it again.",
    ),
    "config_invalid": (
        "The configuration cannot be used[: {detail}].",
        "[The file {path} ]is missing a value, has an unknown one or does not parse.",
        "Correct the file and try again.",
    ),
    "client_ambiguous": (
        "Two activations could be meant[: {candidates}].",
        "The environment and modelseal.toml name different ones, and choosing would be guessing.",
        "Name one with --state, MODELSEAL_STATE or `modelseal.use(client)`.",
    ),
    "extra_missing": (
        "A part of modelseal is not installed[: {extra}].",
        "This function needs a package that is an optional extra.",
        "Run `pip install 'modelseal[{extra}]'`.",
    ),
    "input_missing": (
        "The input was not found[: {path}].",
        "There is no file or folder of that name[ ({detail})].",
        "Check the path and try again.",
    ),
    "output_exists": (
        "The output exists already[: {path}].",
        "modelseal does not overwrite what it did not make.",
        "Choose another name, or remove the old file first.",
    ),
    "workspace_missing": (
        "There is no workspace here[: {path}].",
        "The folder has no trust.json with desk/ or server/ beside it.",
        "Run `modelseal init --home DIR --product NAME`, or name the right folder with --home.",
    ),
    "workspace_exists": (
        "The folder is a workspace already[: {path}].",
        "Making it anew would destroy the keys in it.",
        "Use the workspace as it is, or choose another folder.",
    ),
    "desk_exposed": (
        "The server does not start beside the publisher's desk[ in {path}].",
        "A server that others can reach must not hold desk/ or recovery-kit.txt:"
        " who breaks in would have the offline keys.",
        "Move desk/ and recovery-kit.txt to an offline place, or listen on loopback only.",
    ),
    "not_found": (
        "There is nothing of that name[: {id}].",
        "The id is unknown here[ ({detail})].",
        "List what there is with the `list` verb of the same noun.",
    ),
    "conflict": (
        "The change collides with what is there[: {detail}].",
        "Somebody else changed it first, or it exists already.",
        "Look at the present state with `show`, then decide again.",
    ),
    "idempotency_mismatch": (
        "The same request came twice with different contents.",
        "A request is answered once; a repetition must be identical.",
        "Repeat the command; it makes a new request.",
    ),
    "reader_closed": (
        "The sealed model is closed already.",
        "It was read after its `with` block or `close()`.",
        "Read everything you need before closing it.",
    ),
    "source_changed": (
        "The file changed while it was being sealed[: {path}].",
        "Sealing stopped, because half old and half new would be neither.",
        "Wait until nobody writes the file, then seal it again.",
    ),
    "source_not_sealable": (
        "The input cannot be sealed[: {path}].",
        "[It is {detail}; ]only regular files and folders of regular files are sealed.",
        "Name regular files, with no links out of the folder and no devices.",
    ),
    # -- refused
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
        "Check `product` and `server` in modelseal.toml.",
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
    "lease_superseded": (
        "A newer answer from the server replaces this lease.",
        "Leases and denials are numbered, and the highest number counts.",
        "Run `modelseal status` to see where the device stands.",
    ),
    "not_entitled": (
        "The license does not include this[: it lacks {entitlement}].",
        "[{model} needs {entitlement}; ][the license grants {granted}; ]"
        "no key for it is on this device.",
        "Ask your vendor for a plan that includes[ {entitlement}],"
        " then run `modelseal lease renew`.",
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
        "The model file is older than its publisher allows[: release {release},"
        " at least {min_release}].",
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
        "Run `modelseal activate KEY --replace DEVICE`"
        " (`modelseal activate KEY` names the holders).",
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
        "Run `modelseal deactivate` on one of them, or take its seat with"
        " `modelseal activate KEY --replace DEVICE`.",
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
        "The same activation asked twice from different states, as after a restored backup"
        " or a copied folder[; differing: {traits}].",
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
    "trial_used": (
        "The trial was used on this computer already.",
        "The plan gives one trial per computer.",
        "Ask your vendor for a license.",
    ),
    "meter_exceeded": (
        "The license's limit is used up[: {meter}, {limit}].",
        "The plan counts this use and the count is reached.",
        "Wait for the next period or ask your vendor for a larger plan.",
    ),
    "egress_refused": (
        "The program tried to write the protected model out[: {what}].",
        "A copy outside the sealed file would be unprotected.",
        "Switch the option off[ ({what})]; loading works without it.",
    ),
    "access_denied": (
        "This token may not do that[: {detail}].",
        "Its role does not include the call.",
        "Use a token of a role that may, made by `modelseal server token create`.",
    ),
    "credential_invalid": (
        "The access token is not valid.",
        "It is missing, mistyped, expired or revoked.",
        "Set MODELSEAL_TOKEN to a valid token, made by `modelseal server token create`.",
    ),
    "passphrase_wrong": (
        "The passphrase does not open this[: {path}].",
        "It is mistyped, or belongs to another file.",
        "Type it again, exactly as printed.",
    ),
    # -- invalid bytes
    "invalid_bytes": (
        "The data is not valid[: {detail}].",
        "It is damaged, forged or of an unknown kind.",
        "Get the file again from its source.",
    ),
    "cbor_invalid": (
        "The data is not valid[: {detail}].",
        "It is not in the one encoding modelseal accepts.",
        "Get the file again from its source.",
    ),
    "json_invalid": (
        "The data is not valid[: {detail}].",
        "It is not in the one encoding modelseal accepts.",
        "Get the file again from its source.",
    ),
    "not_sealed": (
        "The file is not a sealed model[: {path}].",
        "It does not begin as one; a plain file is refused where a sealed one is expected.",
        "Run `modelseal pull`, or allow plain files on purpose with allow_plain=True.",
    ),
    "container_version": (
        "The sealed model needs a newer modelseal[: {path}].",
        "Its format version or a critical part is unknown to this release.",
        "Run `pip install --upgrade modelseal`.",
    ),
    "container_truncated": (
        "The sealed model is not complete[: {path}].",
        "The file is shorter or longer than its own front says.",
        "Run `modelseal pull` to complete it.",
    ),
    "container_malformed": (
        "The sealed model is damaged[: {path}].",
        "Its front does not follow the format[ ({detail})].",
        "Run `modelseal pull` to get it again.",
    ),
    "container_signature": (
        "The sealed model's signature does not hold[: {path}].",
        "The file was altered after its publisher signed it.",
        "Delete the file and run `modelseal pull`.",
    ),
    "wrong_publisher": (
        "The sealed model is another publisher's[: {path}].",
        "Its key is not among those this app trusts.",
        "Use the files that came with this app, or run `modelseal pull`.",
    ),
    "wrong_product": (
        "The file belongs to another product[: {product}].",
        "This app and its license are for one product only.",
        "Use the files of this product, or run `modelseal pull`.",
    ),
    "container_damaged": (
        "The sealed model cannot be opened[: {path}].",
        "A part of it was altered, or the key is another file's.",
        "Run `modelseal pull` to get it again.",
    ),
    "token_malformed": (
        "The token cannot be read[: {detail}].",
        "It is damaged or was never one of ours.",
        "Run `modelseal lease renew`; if that fails, activate again.",
    ),
    "token_too_large": (
        "The token is too large.",
        "It is longer than any of ours can be.",
        "Run `modelseal lease renew`; if that fails, activate again.",
    ),
    "token_type": (
        "The token is of another kind than needed here[: {detail}].",
        "A license, a lease and a denial cannot stand for each other.",
        "Put the right file in its place, or run `modelseal lease renew`.",
    ),
    "token_algorithm": (
        "The token is signed in a way that is not accepted.",
        "Its algorithm is not the one of its key.",
        "Run `modelseal lease renew`; if that fails, activate again.",
    ),
    "token_key_unknown": (
        "The token is signed by a key this app does not trust.",
        "The key is unknown, retired, or another publisher's.",
        "Run `modelseal lease renew`, which also refreshes the trusted keys.",
    ),
    "token_signature": (
        "The token's signature does not hold.",
        "It was altered after it was signed.",
        "Run `modelseal lease renew`; if that fails, activate again.",
    ),
    "token_claims": (
        "The token's contents are not acceptable[: {detail}].",
        "A claim is missing, unknown or of the wrong type.",
        "Run `modelseal lease renew`; if that fails, update modelseal.",
    ),
    "token_issuer": (
        "The token comes from another server.",
        "Its issuer is not the one this app trusts.",
        "Activate with the license key of this product.",
    ),
    "token_audience": (
        "The token is meant for another product or server.",
        "Its audience is not this one.",
        "Activate with the license key of this product.",
    ),
    "token_not_yet_valid": (
        "The token is not valid yet.",
        "It starts in the future; the clock of this computer may be wrong.",
        "Set the clock right and try again.",
    ),
    "token_expired": (
        "The token has expired.",
        "Its time is over.",
        "Run `modelseal lease renew`.",
    ),
    "sealed_key_invalid": (
        "The sealed keys cannot be opened.",
        "They were sealed for another device, another request or were altered.",
        "Run `modelseal lease renew`; if that fails, activate again.",
    ),
    "trust_malformed": (
        "The trust file cannot be used[: {path}].",
        "It is damaged or not a trust.json[ ({detail})].",
        "Get trust.json again from the publisher.",
    ),
    "trust_signature": (
        "The trust file's signatures do not hold[: {path}].",
        "It was altered, or belongs to another publisher.",
        "Get trust.json again from the publisher.",
    ),
    "trust_rollback": (
        "The server offered older keys than those known already.",
        "Going back is never allowed, it could bring a leaked key back.",
        "Tell the publisher; nothing was changed on this device.",
    ),
    "trust_expired": (
        "The server's list of keys has expired.",
        "Its publisher has not signed it anew in time.",
        "Tell the publisher to run `modelseal catalog sign`; nothing was changed here.",
    ),
    "catalog_invalid": (
        "The catalog of models cannot be trusted[: {detail}].",
        "It is damaged, old or not signed by the publisher.",
        "Try again later; if it stays so, tell the publisher.",
    ),
    "download_damaged": (
        "The download does not match what its publisher signed[: {name}].",
        "The bytes were altered on the way or at the mirror; none of them was used.",
        "Run `modelseal pull` again; good parts are kept.",
    ),
    "audit_broken": (
        "The audit log does not hold[: {detail}].",
        "[Event {index} was altered, removed, moved or added. ]"
        "The log no longer matches its signed checkpoint.",
        "Keep the export, and compare it with an older checkpoint or backup.",
    ),
    "state_damaged": (
        "The activation on this device is damaged[: {path}].",
        "A file in the state folder was altered, truncated or comes from another device.",
        "Run `modelseal activate KEY` again; the same computer keeps its seat.",
    ),
    "backup_invalid": (
        "The backup cannot be used[: {path}].",
        "It is damaged, or not a backup of modelseal keys.",
        "Try another copy of the backup.",
    ),
    "answer_invalid": (
        "The server's answer does not fit the question.",
        "It echoes another request or belongs to another device; it was not accepted.",
        "Try again; if it stays so, tell your vendor.",
    ),
    "evidence_invalid": (
        "The evidence is not genuine[: {detail}].",
        "A signature or a certificate in it does not hold.",
        "Collect the evidence again on the machine itself.",
    ),
    # -- unavailable
    "unavailable": (
        "This cannot be done right now[: {detail}].",
        "Something needed is not available; nothing was decided or changed.",
        "Try again in a moment.",
    ),
    "server_unreachable": (
        "The license server cannot be reached[: {server}].",
        "[{detail}; ]the network, a firewall or the server is down.",
        "Check the connection and try again; a running lease goes on meanwhile.",
    ),
    "server_failed": (
        "The license server could not answer[ (status {status})].",
        "It reported a problem of its own; nothing was decided.",
        "Try again in a few minutes; a running lease goes on meanwhile.",
    ),
    "answer_unsigned": (
        "Something other than the license server answered[ (status {status}, {saw})].",
        "A proxy, a captive portal or another server stands in between; its answer is no decision.",
        "Sign in to the network, or ask for direct access to[ {server}], then try again.",
    ),
    "certificate_invalid": (
        "The server's certificate cannot be trusted[: {server}].",
        "[{detail}; ]it is expired, for another name, or from an unknown authority.",
        "Check the address and the clock; behind an inspecting proxy give its authority with --ca.",
    ),
    "rate_limited": (
        "Too many requests.",
        "The server asks to wait[ {retry_after_seconds} seconds].",
        "Wait[ {retry_after_seconds} seconds] and try again.",
    ),
    "storage_failed": (
        "The storage could not be used[: {detail}].",
        "The database or disk reported an error; nothing was half-done.",
        "Check the disk and the database, then try again.",
    ),
    "store_behind": (
        "The server's records are older than this device's lease.",
        "The server was probably restored from a backup; nobody is refused for that.",
        "Try again later; the lease goes on meanwhile.",
    ),
    "disk_full": (
        "The disk is full[: {path}].",
        "There was no room to finish; what was there before is unchanged.",
        "Free some space and try again.",
    ),
    "state_not_writable": (
        "The folder cannot be written[: {path}].",
        "This user has no right to write there, or the disk is read-only.",
        "Run as the user who owns it, or choose another folder with --state.",
    ),
    "state_not_readable": (
        "The activation cannot be read[: {path}].",
        "It was probably made by another user, for example with sudo.",
        "Run `modelseal activate` as the user who runs the app, or give this user the folder.",
    ),
    "state_busy": (
        "Another process is using the activation[: {path}].",
        "It has held the lock for too long.",
        "Wait until it ends, or stop it, and try again.",
    ),
    "key_store_unavailable": (
        "The key store cannot be used[: {uri}].",
        "[{detail}; ]it is locked, absent or refuses access.",
        "Unlock or connect it, then try again.",
    ),
    "memory_unavailable": (
        "Not enough memory to open the model[: {size_bytes} bytes].",
        "The system refused the memory.",
        "Close other programs and try again.",
    ),
    "address_in_use": (
        "The address is in use[: {address}].",
        "Another program listens there.",
        "Stop it, or choose another address with --listen.",
    ),
    # -- assurance
    "assurance_not_reached": (
        "This machine has not proved enough[: {detail}].",
        "The plan demands a higher level of assurance.",
        "Run `modelseal status` to see which level was reached and what is missing.",
    ),
    "level_not_reached": (
        "The assurance level is too low[: {level} reached, {needed} demanded].",
        "The plan gives[ {entitlement}] only to machines that proved a higher level.",
        "Use hardware that can prove it (`modelseal status` says what is missing).",
    ),
    "enforcement_not_reached": (
        "The plan's enforcement is not possible here[: {needed}].",
        "It demands keys that the hardware itself ends, and this machine has none that it proved.",
        "Use a machine with a TPM whose maker's certificate verifies, or ask your vendor.",
    ),
    "memory_not_reached": (
        "The memory protection is too low[: {reached} reached, {needed} demanded].",
        "The model may only be opened in memory that others cannot read.",
        "Raise the memory lock limit (ulimit -l) or use a system with secret memory.",
    ),
}
