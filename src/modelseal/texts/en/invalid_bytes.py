"""Bytes that are not valid."""

TEXTS: dict[str, tuple[str, str, str]] = {
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
        "Name a sealed file (`modelseal pull` fetches, `modelseal seal` makes one), or allow"
        " plain files on purpose with allow_plain=True.",
    ),
    "cache_useless": (
        "The encrypted cache cannot be used[: {path}][: {detail}].",
        "It is damaged, or was made of a sealed model that is another one by now.",
        "Delete the file[ {path}] and let the program make it anew from the sealed model.",
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
    "token_header": (
        "The token's header says more than it may[: {detail}].",
        "Keys, addresses and extensions are never taken from a token; it may be forged.",
        "Get the file again from its source, or run `modelseal lease renew`.",
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
    "wrapped_key_invalid": (
        "A wrapped key does not open[: {detail}].",
        "It was wrapped by another key-encryption key, for another purpose, or was altered.",
        "Put the matching key file back, or restore the keys from a backup.",
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
    "delegation_exceeded": (
        "The relay gave more than the license server let it give.",
        "[`{member}` is beyond its delegation. ]It was altered or works for somebody else.",
        "Use another server address, and tell the publisher; nothing was changed here.",
    ),
    "delegation_over": (
        "The relay may not give out leases any more.",
        "Its delegation has ended; it needs a new one from the license server.",
        "Ask for `modelseal server relay budget` at the relay, or use the license server itself.",
    ),
    "trust_expired": (
        "The server's list of keys has expired.",
        "Its publisher has not signed it anew in time.",
        "Tell the publisher to sign it anew; nothing was changed here.",
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
        "[The kind of fault: {fault}. ]The log no longer matches its signed checkpoint.",
        "Keep the export, and compare it with an older checkpoint or backup.",
    ),
    "state_damaged": (
        "The activation on this device is damaged[: {path}].",
        "A file in the state folder was altered, truncated or comes from another device.",
        "Run `modelseal activate KEY` again; the same computer keeps its seat.",
    ),
    "backup_invalid": (
        "The backup cannot be used[: {path}].",
        "It is damaged, of another workspace, or no backup of this kind[: {detail}].",
        "Try another copy of the backup.",
    ),
    "answer_invalid": (
        "The server's answer does not fit the question.",
        "It echoes another request or belongs to another device; it was not accepted.",
        "Try again; if it stays so, tell your vendor.",
    ),
    "response_malformed": (
        "This is no response that can be imported[: {detail}].",
        "It is cut off, altered, or made by another version of modelseal; nothing changed.",
        "Copy the file again from where `modelseal lease respond` wrote it.",
    ),
    "response_replayed": (
        "The response was used before, or answers an older request.",
        "This device waits for no such answer[: {detail}]; nothing changed.",
        "Run `modelseal lease show`; where the lease is old, make a new request with `modelseal"
        " lease request`.",
    ),
    "response_foreign": (
        "The response is for another device.",
        "It answers a request that another device signed; nothing changed.",
        "Import it on the device that made the request.",
    ),
    "code_unknown": (
        "The code opens nothing on this device.",
        "It is well typed, but was used before, or belongs to another device or an older response[:"
        " {detail}].",
        "Compare the device id with your vendor, and import the newest response first.",
    ),
    "relay_file_invalid": (
        "The file is not what a relay and its courier carry[: {path}].",
        "{detail}; nothing was used.",
        "Write it anew: `modelseal server relay sync DIR --write FILE`.",
    ),
    "part_damaged": (
        "A code was not read rightly[; line {line}].",
        "[It is {detail}. ]Nothing was used.",
        "Scan[ number {number}] again.",
    ),
    "evidence_invalid": (
        "The evidence is not genuine[: {detail}].",
        "A signature or a certificate in it does not hold.",
        "Collect the evidence again on the machine itself.",
    ),
    "endorsement_bundle_invalid": (
        "This endorsement bundle cannot be used[: {detail}].",
        "A bundle counts once the publisher's key for endorsements has signed it, for one product"
        "[ ({product})].",
        "Fetch the bundle again from whoever made it, or check trust.json.",
    ),
    "endorsement_bundle_expired": (
        "The endorsement bundle[ {number}] ended[ {days} days ago].",
        "What vendors say of their hardware ages, so a bundle is valid for a time only"
        "[, until {expired_at}].",
        "Import a newer bundle: modelseal attest bundle import FILE.",
    ),
    "endorsement_bundle_replayed": (
        "This endorsement bundle[ ({number})] is not newer than the last one here[ ({seen})].",
        "An older bundle would bring back what was revoked since.",
        "Import the newest bundle.",
    ),
}
