"""What a publisher's commands tell when all went well."""

PUBLISHER: dict[str, str] = {
    "initialised": (
        "Workspace for {product} made in {home}.\n"
        "  Apps ship {trust}; it holds public keys only.\n"
        "  Print {kit} now, then remove it from this disk.\n"
        "  Next: modelseal seal MODEL -o MODEL.sealed --entitlement NAME{where}"
    ),
    "sealed": "Sealed {model} release {release}, {size} bytes, opens with {entitlements}.",
    "sealed_optimised": "Optimised for machines like this one too: {names}.",
    "or": " or ",
    "sealed_next": "  Next: modelseal model publish {files}{where}",
    "genuine": "{path} is genuine.",
    "published": "Model {model} release {release} published.",
    "published_already": "Model {model} release {release} was published already.",
    "published_next": "  Licensed devices get it by `modelseal pull`.",
    "withdrawn": "Model {model} release {release} is withdrawn.",
    "resealed": (
        "Resealed {model} as release {release}: {path}. Publish it, then withdraw the old release."
    ),
    "model_restored": "{path} is plain again: {model} release {release}, byte for byte.",
    "plan_made": "Plan {name} made, version {version}: {granted}.",
    "plan_updated": "Plan {name} updated, version {version}: {granted}.",
    "issued": (
        "License {license_id} for {customer}, {plan}.\n"
        "  Seats {seats}[, ends {ends}]. The key is shown this once.\n"
        "  The customer runs: modelseal activate {license_key} --server https://…"
        " --trust trust.json\n"
        "  (an app whose modelseal.toml names server and trust needs neither option)."
    ),
    "never": "never",
    "license_changed": "License changed: {told}",
    "license_renewed": "License renewed: {told}",
    "license_suspended": "License suspended: {told}",
    "license_resumed": "License resumed: {told}",
    "license_revoked": "License revoked: {told}",
    "license_told": "plan {plan}, {state}, seats {seats_used}/{seats}[, ends {ends}].",
    "license_next": "  Devices take it over at their next renewal (`modelseal lease renew`).",
    "revoked_next": "  Online devices learn it within 5 minutes, offline ones by their lease's"
    " end.",
    "rekeyed": "License {license_id} has a new key; the old one opens nothing from now on.",
    "erase_question": "This revokes the customer's licenses and cannot be undone. Erase?",
    "erased": "Erased: {licenses} license(s), {devices} device(s).",
    "device_revoked": (
        "Device {device_id} is revoked.[ Its seat is free when its last lease has ended ({ends}).]"
    ),
    "backed_up": (
        "{keys} keys are in {path}. Keep it apart from the printed passphrase, and run:"
        " modelseal keys recovery-test {path}{where}"
    ),
    "backup_elsewhere": (
        "  Hardware or a key store keeps {count} more. They are in no backup of modelseal:"
        " keep the backup of that hardware or service, too."
    ),
    "backup_good": "The backup is good: {keys} keys open and match trust.json.",
    "backup_by_kit": (
        "  The passphrase came from recovery-kit.txt. Print that page, delete the file,\n"
        "  and run this again with the passphrase typed from the paper."
    ),
    "restored": "{keys} keys are back in {home}.",
    "exported": "{count} lines are in {path}.",
    "log_holds": "The log holds: {size} events, root {root_hash}.",
    "listening": "modelseal server listens on {url} (Ctrl-C stops it).",
    "inference_listening": ("{models} served on {url}, proved by {kinds} (Ctrl-C stops it)."),
    "manifest_written": (
        "{path} holds {count} files, checked for their syntax and not tested on the hardware."
        " Start it there and record what it measures: modelseal attest reference add."
    ),
    "inference_stopped": "The inference service stopped; what was under way is answered.",
    "stopped": "modelseal server stopped; what was under way is answered.",
    "schema": "Schema {version}.",
    "store_backed_up": (
        "{rows} rows, as they were at {at}, are in {path}. Keys and sealed models are not in it:\n"
        "  run `modelseal keys backup` and copy server/blobs as well."
    ),
    "store_restored": (
        "{rows} rows are back, as they were at {at}; {done} later acts were done again.\n"
        "  Leases given out since are taken over when their devices ask."
    ),
    "store_restored_without_events": (
        "  Revocations after {at} are lost. If there is an export of the log, run this again with\n"
        "  --replace --events EXPORT."
    ),
    "store_restored_unknown": (
        "  {count} acts concern what was made after the backup; the export says which."
    ),
    "store_restored_rekey": (
        "  License {license} had got another key, which is lost: run"
        " `modelseal license rekey {license}`."
    ),
    "token_made": (
        "Token {token_id}, role {role}, until {ends}.\n"
        "  Shown this once; use it as MODELSEAL_TOKEN."
    ),
    "token_revoked": "Token {token_id} is revoked.",
    "webhook_made": (
        "Webhook {webhook_id} is made. Its secret is shown this once; the receiver verifies with"
        " it.\n"
        "  Try it: modelseal webhook test {webhook_id}"
    ),
    "webhook_removed": "Webhook {webhook_id} is gone, with what waited for it.",
    "webhook_rotated": "The new secret signs from now on, the old one beside it until {ends}.",
    "webhook_tested": (
        "A message is on its way once the server runs; see it by\n"
        "  modelseal webhook messages {webhook_id}"
    ),
    "webhook_replayed": "{count} message(s) are sent again.",
    "bundled": "The report for support is {path}.",
    "none": "{title}: none.",
}
