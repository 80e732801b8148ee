"""``modelseal plan``: what a license grants, as versioned data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelseal.cli import context, options, spans, tables, talk
from modelseal.errors import Misuse

if TYPE_CHECKING:
    from modelseal.admin import PlanRecord
    from modelseal.license.plans import Plan

app = typer.Typer(no_args_is_help=True, help="What a license grants, as versioned data.")

Entitlements = Annotated[
    list[str] | None,
    typer.Option(
        "--entitlement",
        help="A capability the plan grants; repeated: each. NAME@L4 demands an assurance level.",
    ),
]
Seats = Annotated[int | None, typer.Option("--seats", help="Devices at a time.")]
Lease = Annotated[
    str | None, typer.Option("--lease", help="How long a device works without contact (7d).")
]
Enforcement = Annotated[
    str | None, typer.Option("--enforcement", help="online, hardware or software.")
]
PowerCuts = Annotated[
    int | None,
    typer.Option(
        "--power-cuts",
        help="With hardware enforcement: resets of the TPM until a renewal is due (24).",
    ),
]
Ahead = Annotated[
    int | None,
    typer.Option(
        "--ahead", help="Further leases that a relay may hold ready for each device, 0 to 12 (0)."
    ),
]
Period = Annotated[
    str | None, typer.Option("--period", help="How long a license of this plan runs (30d).")
]
TermsFile = Annotated[
    Path | None,
    typer.Option(
        "--terms",
        help="All terms as a JSON file (docs/spec/tokens.md); options win.",
        readable=False,
    ),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The plan's name.")],
    entitlement: Entitlements = None,
    seats: Seats = None,
    lease: Lease = None,
    enforcement: Enforcement = None,
    power_cuts: PowerCuts = None,
    ahead: Ahead = None,
    period: Period = None,
    terms: TermsFile = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Make a plan."""
    from modelseal.admin import PlanDraft

    wanted = _terms(_base(terms), entitlement, seats, lease, enforcement, power_cuts, ahead, period)
    with context.admin(home, server, ca) as api:
        record = api.create_plan(PlanDraft(name=name, terms=wanted))
    talk.answer(record, lambda: _tell("made", record), as_json=json)


@app.command()
def update(
    name: Annotated[str, typer.Argument(help="The plan's name.")],
    entitlement: Entitlements = None,
    seats: Seats = None,
    lease: Lease = None,
    enforcement: Enforcement = None,
    power_cuts: PowerCuts = None,
    ahead: Ahead = None,
    period: Period = None,
    terms: TermsFile = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Make the plan's next version; licenses issued before keep theirs."""
    import msgspec

    from modelseal.admin import PlanDraft

    with context.admin(home, server, ca) as api:
        base = _base(terms) if terms is not None else msgspec.to_builtins(api.show_plan(name).terms)
        wanted = _terms(base, entitlement, seats, lease, enforcement, power_cuts, ahead, period)
        record = api.update_plan(name, PlanDraft(name=name, terms=wanted))
    talk.answer(record, lambda: _tell("updated", record), as_json=json)


@app.command("list")
def list_(
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """The newest version of every plan."""
    with context.admin(home, server, ca) as api:
        items, following = context.pages(api.list_plans, everything=everything)
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table(
            "Plans",
            ("name", "version", "entitlements", "seats", "lease", "enforcement"),
            [
                (
                    plan.name,
                    plan.version,
                    [e.id for e in plan.terms.entitlements],
                    plan.terms.seats,
                    f"{plan.terms.lease.max_seconds / 86400:g} d",
                    plan.terms.enforcement,
                )
                for plan in items
            ],
        ),
        as_json=json,
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The plan's name.")],
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """One plan with all its terms."""
    with context.admin(home, server, ca) as api:
        record = api.show_plan(name)
    shown = talk.plain(record)
    terms = shown.pop("terms")
    talk.answer(record, lambda: tables.pairs([*shown.items(), *terms.items()]), as_json=json)


def _terms(
    base: Mapping[str, Any],
    entitlement: list[str] | None,
    seats: int | None,
    lease: str | None,
    enforcement: str | None,
    power_cuts: int | None,
    ahead: int | None,
    period: str | None,
) -> Plan:
    """``base`` with what the options say; every member is checked by the plan's own schema."""
    from modelseal.license import plans

    terms = dict(base)
    if entitlement:
        terms["entitlements"] = [_entitlement(text) for text in entitlement]
    if seats is not None:
        terms["seats"] = seats
    if lease is not None:
        kept = {n: v for n, v in terms.get("lease", {}).items() if n in ("power_cuts", "ahead")}
        terms["lease"] = {**kept, "max_seconds": spans.seconds(lease)}
    for member, wanted in (("power_cuts", power_cuts), ("ahead", ahead)):
        if wanted is not None:
            terms["lease"] = {**terms.get("lease", {}), member: wanted}
    if enforcement is not None:
        terms["enforcement"] = enforcement
    if period is not None:
        terms["period_seconds"] = spans.seconds(period)
    if "entitlements" not in terms:
        raise Misuse("a plan grants something: name it with --entitlement")
    return plans.parse(terms)


def _entitlement(text: str) -> dict[str, Any]:
    name, at, level = text.partition("@")
    if not at:
        return {"id": name}
    if level not in {f"L{number}" for number in range(6)}:
        raise Misuse(f"{text!r}: an assurance level is written L0 to L5")
    return {"id": name, "min_level": int(level[1])}


def _base(path: Path | None) -> dict[str, Any]:
    import json

    from modelseal.cli import files

    if path is None:
        return {}
    try:
        found = json.loads(files.read(path, 65536))
    except (ValueError, RecursionError):
        raise Misuse(f"{path} is no JSON") from None
    if not isinstance(found, dict):
        raise Misuse(f"{path} holds no object")
    return found


def _tell(verb: str, record: PlanRecord) -> None:
    talk.write(f"{record.name}\n")
    granted = ", ".join(e.id for e in record.terms.entitlements)
    talk.said(f"plan_{verb}", name=record.name, version=record.version, granted=granted)
