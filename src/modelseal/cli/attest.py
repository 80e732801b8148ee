"""``modelseal attest``: what evidence proves, and what is good enough."""

from __future__ import annotations

import json as jsons
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelseal.cli import (
    attest_bundle,
    attest_call,
    attest_collect,
    attest_manifest,
    attest_prove,
    attest_result,
    attest_serve,
    files,
    options,
    tables,
    talk,
)
from modelseal.errors import AssuranceNotReached, InvalidBytes, Misuse

if TYPE_CHECKING:
    from modelseal.attest.verify.kinds import Kind
    from modelseal.attest.verify.policy import Policy, PolicyFile
    from modelseal.attest.verify.result import AttestationResult

app = typer.Typer(no_args_is_help=True, help="What machines prove about themselves.")
policies = typer.Typer(no_args_is_help=True, help="What is good enough.")
references = typer.Typer(no_args_is_help=True, help="What a good machine measures.")
app.add_typer(policies, name="policy")
app.add_typer(references, name="reference")
app.add_typer(attest_bundle.app, name="bundle")
app.command("collect")(attest_collect.collect)
app.command("prove")(attest_prove.prove)
app.command("result")(attest_result.result)
policies.command("use")(attest_prove.use)
app.command("serve")(attest_serve.serve)
app.command("call")(attest_call.call)
app.command("manifest")(attest_manifest.manifest)

EvidenceFiles = Annotated[
    list[Path],
    typer.Argument(metavar="EVIDENCE...", help="The files of one evidence.", readable=False),
]
KindName = Annotated[
    str,
    typer.Option(
        "--kind",
        help="sgx, tdx, snp, nitro, azure-vtpm, tpm2, android, nvidia, cca or psa.",
    ),
]
EndorsementFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--endorsements",
        help="Certificates, revocation lists or collateral of the vendor.",
        readable=False,
    ),
]
PolicyPath = Annotated[
    Path | None,
    typer.Option("--policy", help="The appraisal policy (default: strict).", readable=False),
]
EntitlementName = Annotated[
    str | None, typer.Option("--entitlement", help="Use the policy's rules for this entitlement.")
]
ReportData = Annotated[
    list[str] | None,
    typer.Option(
        "--report-data",
        metavar="[KIND=]HEX",
        help="What the evidence has to be bound to; for another --also with its kind before it.",
    ),
]
Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        metavar="KIND=FILE",
        help="Evidence of another kind that has to stand beside it, like nvidia=gpus.json.",
    ),
]
Now = Annotated[
    str | None, typer.Option("--now", help="Judge at this time (RFC 3339), not at the present.")
]


@app.command()
def appraise(
    evidence: EvidenceFiles,
    kind: KindName,
    endorsements: EndorsementFiles = None,
    trust: options.Trust = None,
    policy: PolicyPath = None,
    entitlement: EntitlementName = None,
    report_data: ReportData = None,
    also: Also = None,
    now: Now = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", help="Write every finding and digest here.", readable=False),
    ] = None,
    json: options.Json = False,
) -> int:
    """Say whether evidence is genuine, and whether it is good enough.

    Works offline. Ends with 0 when it is both, 6 when it is genuine and not acceptable, 4 when
    not genuine.
    """
    found = _kind(kind)
    rules = _policy(policy, entitlement, found, endorsements)
    at, bound, beside = _now(now), _bound(found.name, report_data), _beside(also)
    result = _appraise(found, evidence, endorsements, rules, bound, at, trust=trust, beside=beside)
    if record is not None:
        with files.whole(record) as out:
            out.write(attest_result.text({**result.record(), "digest": result.digest.hex()}))
    talk.answer(_told(result), lambda: _tell(result), as_json=json)
    return exit_code(result)


def exit_code(result: AttestationResult) -> int:
    """0 affirming, 6 genuine but not acceptable, 4 not genuine."""
    if not result.genuine:
        return InvalidBytes.exit_code
    return 0 if result.affirming else AssuranceNotReached.exit_code


@policies.command("test")
def test_policy(
    policy: Annotated[
        Path, typer.Argument(metavar="POLICY", help="The appraisal policy.", readable=False)
    ],
    evidence: Annotated[
        list[Path],
        typer.Argument(
            metavar="EVIDENCE...",
            help="One file, or one folder of files, per machine.",
            readable=False,
        ),
    ],
    kind: KindName,
    endorsements: EndorsementFiles = None,
    entitlement: EntitlementName = None,
    now: Now = None,
    json: options.Json = False,
) -> None:
    """Show which machines a policy would refuse. Their evidence counts as bound as it is."""
    found = _kind(kind)
    rules = _policy(policy, entitlement, found, endorsements)
    machines = []
    for path in evidence:
        inside = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise Misuse(f"no file in {path}")
        first = _appraise(found, inside, endorsements, rules, None, _now(now))
        bound = next(iter(first.submodules[0].bound.values()), None)
        result = _appraise(found, inside, endorsements, rules, bound, _now(now))
        machines.append({"evidence": path, "accepted": result.affirming, **_told(result)})
    refused = sum(not machine["accepted"] for machine in machines)
    answer = {
        "policy": rules.digest.hex(),
        "accepted": len(machines) - refused,
        "refused": refused,
        "machines": machines,
    }
    talk.answer(answer, lambda: _tell_machines(machines), as_json=json)


@references.command()
def add(
    source: Annotated[
        list[Path],
        typer.Option("--from", help="Evidence of a golden machine.", readable=False),
    ],
    kind: KindName,
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[EVIDENCE]...", help="More files of it.", readable=False),
    ] = None,
    endorsements: EndorsementFiles = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            help="The policy to add to, made if need be (default: print).",
            readable=False,
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            help="Pin this as a root of the kind: a certificate, or the machine's own key.",
            readable=False,
        ),
    ] = None,
    accept_unknown: Annotated[
        list[str] | None,
        typer.Option("--accept-unknown", help="Let this step stay unknown: revocation."),
    ] = None,
    vouch_for_key: Annotated[
        bool,
        typer.Option(
            "--vouch-for-key",
            help="You collected this TPM's evidence yourself: its own key counts, this once.",
        ),
    ] = False,
    now: Now = None,
    json: options.Json = False,
) -> None:
    """Take a golden machine's reference values into a policy.

    Its evidence has to be genuine, by the roots of the policy where it names some. Its firmware
    becomes the least that others must have.
    """
    from modelseal.cli import attest_reference

    found, golden = _kind(kind), [*source, *(more or [])]
    before = attest_reference.rules_of(policy, found, root)
    trusted = (
        attest_reference.vouched(found, golden)
        if vouch_for_key
        else attest_reference.parsed(before)
    )
    result = _appraise(found, golden, endorsements, trusted, None, _now(now))
    rules, machine = attest_reference.taken(found, result, before, accept_unknown or [])
    text = attest_reference.written(rules)
    if policy is None and not json:
        talk.write(text.decode("utf-8"))
        return
    if policy is not None:
        attest_reference.replace(policy, text)
    talk.answer(
        {"policy": str(policy or ""), "kind": found.name, "machine": machine, "rules": rules},
        lambda: talk.said("reference_added", path=policy, kind=found.name, count=len(machine)),
        as_json=json,
    )


@app.command()
def selftest(json: options.Json = False) -> int:
    """Judge the recorded samples: all verdicts have to be as known."""
    from modelseal.attest import selftest as samples

    rows = samples.run()
    wrong = [row for row in rows if not row.as_known]
    answer = {"samples": len(rows), "wrong": len(wrong), "rows": [row.plain() for row in rows]}
    talk.answer(answer, lambda: _tell_samples(rows), as_json=json)
    return 1 if wrong else 0


def _kind(name: str) -> Kind:
    from modelseal.attest.kinds import known

    kinds = known()
    if name not in kinds:
        raise Misuse(f"--kind is one of {', '.join(sorted(kinds))}")
    return kinds[name]


def _policy(
    path: Path | None, entitlement: str | None, kind: Kind, endorsements: list[Path] | None
) -> Policy:
    from modelseal.attest.verify import policy as policies

    if path is not None:
        return read_policy(path).for_entitlement(entitlement)
    if entitlement is not None:
        raise Misuse("--entitlement chooses among the rules of --policy")
    if endorsements and "endorsed_keys" in kind.options:  # who types a key on this line vouches
        rules = policies.write({kind.name: {"endorsed_keys": True}})
        return policies.parse(rules, {kind.name: kind}).base
    return policies.strict()


def read_policy(path: Path) -> PolicyFile:
    """The policy file at ``path``; ``AppraisalPolicyInvalid`` says what is wrong with it."""
    from modelseal.attest.kinds import known
    from modelseal.attest.verify import policy as policies
    from modelseal.errors import AppraisalPolicyInvalid

    try:
        return policies.parse(files.read(path), known())
    except AppraisalPolicyInvalid as error:
        error.params.setdefault("path", str(path))
        raise


def _appraise(
    kind: Kind,
    evidence: list[Path],
    endorsements: list[Path] | None,
    policy: Policy | None,
    expected: bytes | dict[str, bytes] | None,
    now: datetime,
    *,
    trust: Path | None = None,
    beside: Mapping[str, list[Path]] | None = None,
) -> AttestationResult:
    from modelseal.attest.verify import Endorsements, Evidence, strict
    from modelseal.attest.verify import appraise as judge

    if kind.name in (beside or {}):
        raise Misuse("evidence of the first kind stands on the line itself", kind=kind.name)
    pieces = {kind.name: evidence, **(beside or {})}
    known = {name: _kind(name) for name in pieces}
    items = [item for path in endorsements or () for item in _endorsements(path, trust, now)]
    given = Endorsements(tuple(items))
    rules = strict() if policy is None else policy
    found = [
        Evidence(name, tuple(files.read(path) for path in paths)) for name, paths in pieces.items()
    ]
    return judge(found, expected, given, rules, now, kinds=known)


def _beside(also: list[str] | None) -> dict[str, list[Path]]:
    """The further pieces of evidence by kind, each with its files."""
    found: dict[str, list[Path]] = {}
    for text in also or ():
        name, is_named, path = text.partition("=")
        if not is_named or not path:
            raise Misuse("--also is KIND=FILE, like nvidia=gpus.json")
        found.setdefault(_kind(name).name, []).append(Path(path))
    return found


def _bound(kind: str, texts: list[str] | None) -> dict[str, bytes] | None:
    """What each kind has to be bound to; a value without a kind is that of the first evidence."""
    found: dict[str, bytes] = {}
    for text in texts or ():
        name, is_named, value = text.rpartition("=")
        which = _kind(name).name if is_named else kind
        if which in found:
            raise Misuse("--report-data is given once for each kind", kind=which)
        found[which] = _hex(value)
    return found or None


def _endorsements(path: Path, trust: Path | None, now: datetime) -> list[bytes]:
    """The file, or what is in a bundle once ``trust`` has vouched for it."""
    from modelseal.attest.verify import bundle

    data = files.read(path)
    if not bundle.is_bundle(data):
        return [data]
    if trust is None:
        raise Misuse("an endorsement bundle counts by the trust.json of its publisher: --trust")
    from modelseal import trust as trusts
    from modelseal.desk import endorsing

    with files.about(trust):
        pinned = trusts.parse(files.read(trust))
    with files.about(path):
        return [item.data for item in endorsing.check(data, pinned, now).items]


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise Misuse("--report-data is hex") from None


def _now(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Misuse("--now is a time like 2026-01-31T12:00:00Z")
    return at.astimezone(UTC)


def _told(result: AttestationResult) -> dict[str, Any]:
    return {
        "genuine": result.genuine,
        "status": result.status.value,
        "step": result.step.value,
        "code": result.code,
        "reason": result.reason,
        "claims": result.claims,
    }


def _tell(result: AttestationResult) -> None:
    from modelseal.attest.verify.reasons import reason

    told = _told(result)
    claims = told.pop("claims")
    tables.pairs([*told.items(), ("level", f"L{int(result.level)}")])
    others = [
        (f.step.value, f.status.value, "" if f.code == "ok" else reason(f.code, f.params))
        for one in result.submodules
        for f in one.findings
    ]
    talk.write("\n")
    tables.table("Steps", ("step", "status", "why"), others)
    talk.write("\n")
    tables.pairs([(name, _short(value)) for name, value in claims.items()])


def _short(value: object) -> object:
    if isinstance(value, Mapping):
        return jsons.dumps(talk.plain(value), sort_keys=True)
    return value


def _tell_machines(machines: list[dict[str, Any]]) -> None:
    tables.table(
        "Machines",
        ("evidence", "accepted", "step", "code", "why"),
        [(m["evidence"], m["accepted"], m["step"], m["code"], m["reason"]) for m in machines],
    )


def _tell_samples(rows: list[Any]) -> None:
    tables.table(
        "Recorded evidence",
        ("sample", "kind", "at", "genuine", "status", "step", "code", "as known"),
        [(r.name, r.kind, r.at, r.genuine, r.status, r.step, r.code, r.as_known) for r in rows],
    )
