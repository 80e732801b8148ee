"""What commands tell a person when all went well."""

SAID: dict[str, str] = {
    "request_written": (
        "The request[ is in {path}. It] asks to {op}. Carry it to your vendor and run"
        " `modelseal lease import RESPONSE` here with what comes back."
    ),
    "request_again": (
        "It is the question that was asked before and is not answered yet; either file gets the"
        " same answer."
    ),
    "return_written": (
        "Keys and lease are erased: nothing opens on this device from now on. The seat is free"
        " when your vendor has read the request[ in {path}]. Run this again for another copy."
    ),
    "responded": (
        "The response[ is in {path}. It] carries a lease until {expires_at}[ and {next_count}"
        " leases ahead, the last until {next_expires_at}]."
    ),
    "responded_refused": (
        "Refused: {code} (reference {reference}). The response[ in {path}] carries the signed"
        " denial, which the device carries out."
    ),
    "responded_returned": "The device gave its seat back; it is free at {seat_free_at}.",
    "imported": (
        "The lease runs until {expires_at}.[ {next_count} more wait for a code from your vendor.]"
    ),
    "imported_return": "Your vendor has read it: the seat is free at {seat_free_at}.",
    "code_given": (
        "Read it out group by group. It opens lease {seq} of {device_id}, until {expires_at};"
        " {left} more wait."
    ),
    "code_again": (
        "It was told before. The next one is told from {next_from_at} on, or now with --further."
    ),
    "qr_written": "{count} codes are in {path}; index.html shows them all.",
    "relay_made": (
        "The relay {relay} is in {path}. Synchronise it once, then `modelseal server relay run"
        " {path}`."
    ),
    "relay_question_written": (
        "{questions} questions are in {path}. On a computer with a line: `modelseal server relay"
        " carry {path} -o ANSWER --server URL`; then here `sync --read ANSWER`."
    ),
    "relay_carried": (
        "{answers} answers are in {path}, {models} sealed models in {path}.models. Carry both back."
    ),
    "relay_synced": (
        "{answers} answers wait for their devices; {documents} documents and {models} sealed models"
        " are new."
    ),
    "relay_failed": (
        "The license server failed at {count} questions; they are carried again next time."
    ),
    "relay_apart": (
        "The relay's last report is not what the server has: its folder was copied, or put back"
        " from an older copy. Stop the other one; the publisher's log says so, too."
    ),
    "relay_behind": (
        "The server does not know this relay's last report: it was probably restored from a backup."
    ),
    "relay_status": (
        "{relay}: {waiting} questions wait for the license server, {answers} answers for their"
        " devices; {models} sealed models.[ Last synchronised at {synced_at} ({state}).] Since the"
        " last report {handed} answers went out, {repeated} went out again; {doubles} to more than"
        " one computer. {ahead} leases ahead lie here, {released} were given out since.[ This relay"
        " and its devices did not agree about {overdrawn} of them.]"
    ),
    "relay_budget": (
        "By itself it may still give leases until {expires_at} ({state}): {seats_spent} of {seats}"
        " devices and {renewals_spent} of {renewals} renewals are given, {unreported} of them not"
        " reported yet.[ The server found {overdrawn} beyond its budget ({overdrawn_why}).]"
        "[ It does not look at {refused} of them ({refused_code}).][ The folder is an older copy or"
        " was altered ({stopped}): it gives nothing until it asks again.]"
    ),
    "relay_revoked": (
        "The relay {relay} gets no further budget, and what it gave is listed as revoked."
    ),
    "relay_restored": ("The relay {relay} may ask for a budget again."),
    "authority_made": (
        "The key {kid} approves measured states: {public} goes to the computers, {private} to a"
        " safe place."
    ),
    "sign_in_at": "Sign in with a browser on this computer: {url}",
    "sign_in_code": "Open {url} on any screen and type the code {code}",
    "signed_in": (
        "Signed in as {role} until {ends}, or {minutes} minutes without a command."
        " `modelseal logout` ends it."
    ),
    "signed_out": "Signed out.",
    "signed_out_nobody": "Nobody was signed in at this server.",
    "signed_in_page": "Signed in at the provider. Close this page and go back to the terminal.",
    "signed_in_page_foreign": "This is not the answer to the sign-in that is under way.",
    "approved": "Approved: {pcrs} with the digest {values} ({path} holds {approvals} approvals).",
}
