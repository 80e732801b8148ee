"""What cannot be done now, and what this machine has not proved."""

TEXTS: dict[str, tuple[str, str, str]] = {
    "unavailable": (
        "This cannot be done right now[: {detail}].",
        "Something needed is not available; nothing was decided or changed.",
        "Try again in a moment.",
    ),
    "server_unreachable": (
        "The license server cannot be reached[: {server}].",
        "The network, a firewall or the server is down[: {detail}].",
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
        "It is expired, for another name, or from an unknown authority[: {detail}].",
        "Check the address and the clock; behind an inspecting proxy give its authority with --ca.",
    ),
    "provider_unavailable": (
        "The identity provider cannot be asked[: {detail}].",
        "It is down, cannot be reached, or answered something else; nothing was decided.",
        "Check the provider's address and certificate, then sign in again; tokens work meanwhile.",
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
    "relay_waiting": (
        "The relay has noted it and has no answer yet.",
        "[It last met the license server at {synced_at}. ]Only the license server decides, and the"
        " relay reaches it at its next synchronisation; nothing was refused.",
        "Ask for `modelseal server relay sync`, then do the same again; a running lease goes on.",
    ),
    "relay_cannot": (
        "A relay cannot do that.",
        "{detail}.",
        "Do it with a line to the license server itself, or by a request file:"
        " `modelseal lease request`.",
    ),
    "relay_budget_spent": (
        "The relay has given out all that it may give by itself.",
        "[It last met the license server at {synced_at}. ]It noted the question, and the license"
        " server answers it at the next synchronisation.",
        "Ask for `modelseal server relay sync`, then do the same again; a running lease goes on.",
    ),
    "relay_seals": (
        "The relay wants the license key sealed to itself.",
        "It may give out leases, and can read only what was sealed to it.",
        "Update modelseal on this device and activate again.",
    ),
    "store_behind": (
        "The server's records are older than this device's lease.",
        "The server was probably restored from a backup; nobody is refused for that.",
        "Try again later; the lease goes on meanwhile.",
    ),
    "request_replayed": (
        "The server has answered this very request before; nothing was changed.",
        "It came a second time, after newer ones: something on the way repeated it, or an old"
        " request file was used.",
        "Try again, which makes a new request (`modelseal lease request` makes a new file); if it"
        " says so again, check the clock of this computer.",
    ),
    "disk_full": (
        "The disk is full[: {path}].",
        "There was no room to finish; what was there before is unchanged.",
        "Free some space and try again.",
    ),
    "state_not_writable": (
        "This place cannot be written[: {path}].",
        "This user has no right to write there, or the disk is read-only[: {detail}].",
        "Run as the user who owns it, or choose another place (--state for an activation).",
    ),
    "state_not_readable": (
        "This user may not read it[: {path}].",
        "It was probably made by another user, for example with sudo.",
        "Give this user the file or folder; an activation is made by the user who runs the app.",
    ),
    "state_busy": (
        "Another process is using the activation[: {path}].",
        "It has held the lock for too long.",
        "Wait until it ends, or stop it, and try again.",
    ),
    "key_store_unavailable": (
        "The key store cannot be used[: {uri}].",
        "It is locked, absent or refuses access[: {detail}].",
        "Unlock or connect it, then try again.",
    ),
    "tpm_failed": (
        "The TPM could not do it.",
        "It answered with an error[: {detail}].",
        "Try again; if it stays so, restart the computer and look at modelseal doctor.",
    ),
    "secret_needed": (
        "The key store needs a secret[: {uri}].",
        "Its passphrase or PIN must be typed, and nobody can be asked here.",
        "Run the command in a terminal, or name a file for the PIN with pin-source in the key URI.",
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
    "assurance_not_reached": (
        "This machine has not proved enough[: {detail}].",
        "The plan demands a higher level of assurance.",
        "Run `modelseal status` to see which level was reached and what is missing.",
    ),
    "level_not_reached": (
        "The assurance level is too low[: {level} reached, {needed} demanded].",
        "Only machines that prove a higher level get it[ ({entitlement})][: {verdict}][. {why}].",
        "Use hardware that can prove it (`modelseal status` says what is missing).",
    ),
    "evidence_outdated": (
        "The server wants the proof of this machine made anew[: {verdict}].",
        "A nonce is used or late, the TPM key would live longer than the lease, or the TPM is new.",
        "It is asked again by itself; where that does not help, run `modelseal lease renew`.",
    ),
    "evidence_unavailable": (
        "This machine gives no evidence now[: {detail}].",
        "The hardware, its driver or the host did not answer[ ({source})].",
        "Run it inside the machine that shall prove itself, with the rights to ask its hardware.",
    ),
    "enforcement_not_reached": (
        "The plan's enforcement is not possible here[: {needed}].",
        "It demands keys that the hardware itself ends, and this machine has none that it proved"
        "[ ({verdict})].",
        "Use a machine with a TPM whose maker's certificate verifies, or ask your vendor.",
    ),
    "evidence_refused": (
        "The service[ at {server}] did not prove that it is good enough[ ({verdict})].",
        "Its evidence is genuine, and your policy does not accept it[: {detail}].",
        "Nothing was sent to it. Ask its operator, or correct the policy.",
    ),
    "memory_not_reached": (
        "The memory protection is too low[: {reached} reached, {needed} demanded].",
        "The model may only be opened in memory that others cannot read.",
        "Raise the memory lock limit (ulimit -l) or use a system with secret memory.",
    ),
}
