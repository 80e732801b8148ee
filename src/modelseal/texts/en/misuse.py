"""What the caller got wrong, and our own bugs."""

TEXTS: dict[str, tuple[str, str, str]] = {
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
    "misuse": (
        "The command makes no sense as given[: {detail}].",
        "An argument is missing, has the wrong form or contradicts another.",
        "Run the command with --help and correct it.",
    ),
    "license_key_mistyped": (
        "The license key is mistyped[ in group {group}].",
        "[The check symbol of group {group} does not match. ]A key has the form"
        " MS-XXXXX-XXXXX-XXXXX-XXXXX; this one was not sent anywhere.",
        "Compare[ group {group} of] the key with your purchase confirmation and type it again.",
    ),
    "code_mistyped": (
        "The code is mistyped[ in group {group}].",
        "[The check symbol of group {group} does not match. ]A code has the form"
        " XXXX-XXXX-XXXX-XXXX-XXXX-XXXX-XXXX; this one was not used.",
        "Ask to have[ group {group} of] the code read out again, then type it again.",
    ),
    "parts_missing": (
        "Some of the {count} codes are missing[: {missing}].",
        "Every code of the set is needed; the order does not matter and repetitions do no harm.",
        "Scan the missing ones too, then try again with all of them.",
    ),
    "part_foreign": (
        "The codes are of two sets[; line {line} is of {set}].",
        "[The first one was of the set {wanted}. ]Each request and each response is a set of its"
        " own.",
        "Take out the codes of the other set and try again.",
    ),
    "no_next_lease": (
        "There is no lease to read out a code for[: {detail}].",
        "[The device: {device}. ]Leases are made ahead for a request with --next, follow the"
        " answer to it, and end with it when the license or its plan changes.",
        "Answer a new request of the device: `modelseal lease request --next K` there, `modelseal"
        " lease respond` here.",
    ),
    "config_invalid": (
        "The configuration cannot be used[: {detail}].",
        "[It is said in {path}. ]A value is missing, unknown or has the wrong form.",
        "Correct it[ in {path}] and try again.",
    ),
    "recipe_invalid": (
        "The app recipe cannot be used[: {detail}].",
        "[It is said in {path}. ]A value is missing, unknown or has the wrong form.",
        "Correct it[ in {path}], or have it written anew by `modelseal app observe`.",
    ),
    "appraisal_policy_invalid": (
        "The appraisal policy cannot be used[: {detail}].",
        "[It is said in {path}. ][The member {member} is at fault. ]An unknown or odd rule could"
        " demand less than was meant.",
        "Correct it; docs/spec/attestation.md lists every rule.",
    ),
    "client_ambiguous": (
        "Two activations could be meant[: {candidates}].",
        "The environment and modelseal.toml name different ones, and choosing would be guessing.",
        "Name one with --state, MODELSEAL_STATE or `modelseal.use(client)`.",
    ),
    "extra_missing": (
        "A part of modelseal is not installed[: {extra}].",
        "This function needs a package that is an optional extra.",
        "Run `pip install 'modelseal[[{extra}]]'`.",
    ),
    "input_missing": (
        "The input cannot be read[: {path}].",
        "It is not there, is of another kind, or this user may not read it[ ({detail})].",
        "Check the path and its permissions, then try again.",
    ),
    "output_exists": (
        "The output exists already[: {path}].",
        "modelseal does not overwrite what it did not make.",
        "Choose another name, or remove the old file first.",
    ),
    "another_license": (
        "This device holds a seat of another license[: {license_id}][, plan {plan}].",
        "Entering a new license key now would leave that seat taken until its lease ends.",
        "Run `modelseal deactivate` first, or `modelseal activate KEY --switch`, which gives that"
        " seat back and enters the new key; another --state keeps both.",
    ),
    "workspace_missing": (
        "There is no workspace here[: {path}].",
        "The folder has no trust.json with desk/ or server/ beside it, or is no folder.",
        "Run `modelseal init --home DIR --product NAME`, or name the right folder with --home.",
    ),
    "workspace_exists": (
        "The folder is a workspace already[: {path}].",
        "Making it anew would destroy the keys in it.",
        "Use the workspace as it is, or choose another folder.",
    ),
    "desk_exposed": (
        "The server does not start beside the publisher's desk[ in {path}].",
        "A server that others can reach must not hold desk/ or recovery-kit.txt: who"
        " breaks in would have the offline keys.",
        "Move desk/ and recovery-kit.txt to an offline place, or listen on loopback only.",
    ),
    "not_found": (
        "There is nothing of that name[ ({id})][: {detail}].",
        "It is mistyped, belongs to another workspace, or was never made.",
        "List what there is with the `list` verb of the same noun.",
    ),
    "sign_in_off": (
        "People do not sign in at this server.",
        "It has no identity provider in its server.toml, or does not know the call.",
        "Use a token made by `modelseal server token create`, in MODELSEAL_TOKEN.",
    ),
    "conflict": (
        "The change collides with what is there[: {detail}].",
        "Somebody else changed it first, or it exists already.",
        "Look at the present state with `show`, then decide again.",
    ),
    "budget_refused": (
        "This relay gets no budget[: {why}].",
        "The license's plan lets no relay give leases, or this relay gave more than it was let,"
        " or was revoked.",
        "Ask the publisher: `modelseal server relay budgets` shows them what it gave.",
    ),
    "idempotency_mismatch": (
        "The same request came twice with different contents.",
        "A request is answered once; a repetition must be identical.",
        "Repeat the command; it makes a new request.",
    ),
    "client_closed": (
        "This modelseal client is closed already.",
        "It was used after its `with` block or `close()`.",
        "Keep the client open while the program runs, or make a new `modelseal.Client()`.",
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
    "not_optimisable": (
        "The model cannot be optimised for this kind of machine[: {path}].",
        "Its optimised form could not be made or is not its equal[: {detail}].",
        "Seal it without --optimise; it then loads everywhere in its portable form.",
    ),
    "source_not_sealable": (
        "The input cannot be sealed[: {path}].",
        "Only regular files and folders of regular files are sealed[: {detail}].",
        "Name regular files, with no links out of the folder and no devices.",
    ),
}
