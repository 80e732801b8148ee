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
}
