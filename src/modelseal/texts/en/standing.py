"""Where a device stands, as ``modelseal status`` and its relatives tell a person."""

STANDING: dict[str, str] = {
    "state_NOT_ACTIVATED": "NOT_ACTIVATED: run `modelseal activate KEY` with your license key.",
    "state_ACTIVE": "ACTIVE: the license is in force, offline too.",
    "state_RENEW_DUE": "RENEW_DUE: in force; the lease is renewed at the next contact.",
    "state_OVERDUE": "OVERDUE: in force, but not for long: connect to the internet.",
    "state_EXPIRED": "EXPIRED: the lease has ended; connect and run `modelseal lease renew`.",
    "state_SUSPENDED": "SUSPENDED: the vendor has put the license on hold.",
    "state_REVOKED": "REVOKED: the vendor has ended the license.",
    "state_FORKED": "FORKED: two copies of this activation exist; run `modelseal activate KEY`.",
    "state_RETURNED": "RETURNED: the seat was given back; `modelseal activate KEY` takes one.",
    "label_product": "product",
    "label_plan": "plan",
    "label_entitlements": "entitlements",
    "label_license": "license",
    "label_device": "device",
    "label_lease": "lease",
    "label_enforcement": "enforcement",
    "label_level": "level",
    "label_proved": "proved",
    "label_unproved": "not proved",
    "label_missing": "missing",
    "label_hardware": "TPM",
    "label_verdict": "TPM",
    "label_memory": "memory",
    "label_meter": "used",
    "label_clock": "clock",
    "label_refused": "last refusal",
    "label_limits": "limits",
    "license_value": "{license_id}[, ends {ends_at}]",
    "device_value": "{device_id}[, {label}][, {binding}]",
    "lease_value": "number {seq}, ends {expires_at}[ ({days_left} days left)], renewed from"
    " {renew_after_at}",
    "missing_value": "{entitlement} needs L{needed}, L{reached} is proved[: {why}]",
    "proved_value": "L{level} by {kinds} at {at}, for the run that asked[, until {expires_at}]",
    "proved_not": "L{level} was not reached: {why}",
    "hardware_value": "ends it after {powered_on} powered on; each power cut may add 70 minutes,"
    " {power_cuts} of them: {longest} at most",
    "days_hours": "{days} d {hours} h",
    "meter_value": "{name}: {used} of {limit}, {left} left[, from {resets_at} anew]",
    "memory_value": "{protection}, {swap}",
    "swap_safe": "swap-safe",
    "not_swap_safe": "not swap-safe: raise the memory lock limit (ulimit -l)",
    "label_keys": "keys",
    "keys_erased_value": "erased while the clock ran ahead; run `modelseal lease renew`",
    "clock_value": "{behind_seconds} seconds behind; set it right",
    "refused_value": "{at}: {reason} {next_step}[ (reference {reference})]",
    "limit_software": "a copy of this lease made before its end, or before a denial, opens until"
    " its end",
    "limit_hardware": "the TPM counts only the time it is powered on, and its owner may slow its"
    " clock by up to a third",
    "limit_memory": "root on this computer can read opened models",
    "limit_copyable": "this computer has too few traits of its own: the state folder can be copied",
    "returned": "This device gave its seat back; keys and lease are erased.[ The seat is free at"
    " {seat_free_at}.]",
    "not_granted": "Not in this license: {names}.",
    "accepted": "Accepted: the license agreement {digest}[ ({uri})].",
    "traits_title": "Hardware traits",
    "trait_missing": "nothing ({why})",
    "traits_told": (
        "Sent is 32 bits of a hash per value, under a salt of this product's own; the values stay"
        " here. Nothing has been sent yet."
    ),
    "recipe_written": (
        "The recipe is in {path}: {files} model files, {readers} second readers, {checks} checks,"
        " {caches} caches.[ Mind: {notes}] Read it, seal what it lists, and ship it beside the"
        " program."
    ),
    "hook_installed": "Programs of this environment open sealed models from now on ({path}).",
    "hook_there": "The hook is there already ({path}).",
    "hook_removed": "The hook is out; `modelseal run` still works.",
    "hook_not_there": "There is no hook in this environment.",
    "interrupted": "modelseal: interrupted.",
}
