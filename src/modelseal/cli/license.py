"""``modelseal license``: issue, look at, change and end licenses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelseal import texts
from modelseal.cli import context, judged, options, spans, tables, talk
from modelseal.errors import Misuse

if TYPE_CHECKING:
    from modelseal.admin import LicenseChange, LicenseRecord

app = typer.Typer(no_args_is_help=True, help="Issue, show, change and end licenses.")

LicenseId = Annotated[str, typer.Argument(help="The license id (lic_…).", metavar="LICENSE_ID")]
Customer = Annotated[str | None, typer.Option("--customer", help="E-mail or your own reference.")]
Expires = Annotated[
    str | None, typer.Option("--expires", help="30d, 2027-01-31, or never (400 days at a time).")
]
Seats = Annotated[int | None, typer.Option("--seats", help="Devices at a time.")]
LabelText = Annotated[str | None, typer.Option("--label", help="A name for people.")]
MetadataItems = Annotated[
    list[str] | None, typer.Option("--metadata", help="NAME=VALUE, repeated as needed.")
]


@app.command()
def issue(
    plan: Annotated[str, typer.Option("--plan", help="The plan's name.")],
    customer: Annotated[str, typer.Option("--customer", help="E-mail or your own reference.")],
    expires: Expires = None,
    seats: Seats = None,
    label: LabelText = None,
    metadata: MetadataItems = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Issue a license; its key is shown this once."""
    from modelseal.admin import IssueLicense

    until = spans.end(expires)
    wish = IssueLicense(
        plan=plan,
        customer=customer,
        label=label,
        expires_in_seconds=until.in_seconds,
        expires_at=until.at,
        never=until.never,
        seats=seats,
        metadata=_metadata(metadata) or {},
    )
    with context.admin(home, server, ca) as api:
        issued = api.issue_license(wish)

    def human() -> None:
        talk.write(f"{issued.license_key}\n")
        ends = texts.said("never") if until.never else talk.plain(issued.expires_at)
        talk.said("issued", **{**talk.plain(issued), "ends": ends})

    talk.answer(issued, human, as_json=json)


@app.command("list")
def list_(
    customer: Customer = None,
    state: Annotated[
        str | None, typer.Option("--license-state", help="active, suspended, revoked or expired.")
    ] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """Licenses, of one customer or in one state."""
    from modelseal.admin import LicenseState

    try:
        wanted = LicenseState(state) if state else None
    except ValueError:
        raise Misuse(f"--license-state knows {', '.join(LicenseState)}") from None
    with context.admin(home, server, ca) as api:
        items, following = context.pages(
            lambda cursor: api.list_licenses(cursor, customer, wanted), everything=everything
        )
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table(
            "Licenses",
            ("license", "customer", "plan", "state", "seats", "expires"),
            [
                (
                    item.license_id,
                    item.customer,
                    item.plan,
                    item.state,
                    f"{item.seats_used}/{item.seats}",
                    item.expires_at,
                )
                for item in items
            ],
        ),
        as_json=json,
    )


@app.command()
def show(
    license_id: LicenseId,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """One license and its devices."""
    with context.admin(home, server, ca) as api:
        record = api.show_license(license_id)
        devices = api.list_devices(license_id).items
    shown = {**talk.plain(record), "devices": talk.plain(devices)}

    def human() -> None:
        tables.pairs([(name, value) for name, value in shown.items() if name != "devices"])
        if devices:
            tables.table(
                "Devices",
                ("device", "label", "state", "last contact"),
                [(d.device_id, d.label, d.state, d.last_contact_at) for d in devices],
            )

    talk.answer(shown, human, as_json=json)


@app.command()
def change(
    license_id: LicenseId,
    plan: Annotated[str | None, typer.Option("--plan", help="The new plan.")] = None,
    expires: Expires = None,
    seats: Seats = None,
    label: LabelText = None,
    metadata: MetadataItems = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Change plan, end, seats or label. Devices learn it at their next renewal."""
    until = spans.end(expires)
    with context.admin(home, server, ca) as api:
        record = api.change_license(
            license_id, _change(plan, until, seats, label, _metadata(metadata))
        )
    talk.answer(record, lambda: _tell("changed", record), as_json=json)


@app.command()
def renew(
    license_id: LicenseId,
    expires: Expires = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Prolong by one period of the plan, or until --expires."""
    until = spans.end(expires)
    wish = _change(None, until, None, None, None) if expires else None
    with context.admin(home, server, ca) as api:
        record = api.renew_license(license_id, wish)
    talk.answer(record, lambda: _tell("renewed", record), as_json=json)


@app.command()
def suspend(
    license_id: LicenseId,
    reason: options.Reason = "",
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Put on hold; `license resume` undoes it."""
    with context.admin(home, server, ca) as api:
        record = api.suspend_license(license_id, reason)
    talk.answer(record, lambda: _tell("suspended", record), as_json=json)


@app.command()
def resume(
    license_id: LicenseId,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Undo a suspension."""
    with context.admin(home, server, ca) as api:
        record = api.resume_license(license_id)
    talk.answer(record, lambda: _tell("resumed", record), as_json=json)


@app.command()
def revoke(
    license_id: LicenseId,
    reason: options.Reason = "",
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """End for good: no lease is given after this returned."""
    with context.admin(home, server, ca) as api:
        record = api.revoke_license(license_id, reason)

    def human() -> None:
        _tell("revoked", record)
        talk.said("revoked_next")

    talk.answer(record, human, as_json=json)


@app.command()
def rekey(
    license_id: LicenseId,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Replace a lost license key; devices stay activated."""
    with context.admin(home, server, ca) as api:
        record = api.rekey_license(license_id)

    def human() -> None:
        talk.write(f"{record.license_key}\n")
        talk.said("rekeyed", license_id=license_id)

    talk.answer(record, human, as_json=json)


@app.command()
def explain(
    which: Annotated[
        str, typer.Argument(help="The eight-character reference, or a license, device or event id.")
    ],
    at: Annotated[
        str | None,
        typer.Option("--at", help="Dry run: the same question at a date, or so long later (30d)."),
    ] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Why a decision fell as it did. The step, the reason, the scores."""
    with context.admin(home, server, ca) as api:
        found = api.explain(which)
    shown = judged.again(found, at)
    talk.answer(shown, lambda: judged.tell(shown), as_json=json)


@app.command()
def export(
    customer: Annotated[str, typer.Argument(help="The customer: e-mail, reference or cus_ id.")],
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = True,
) -> None:
    """All that is stored about a customer, as JSON."""
    with context.admin(home, server, ca) as api:
        found = api.export_customer(customer)
    talk.answer(found, lambda: tables.pairs(list(talk.plain(found).items())), as_json=json)


@app.command()
def erase(
    customer: Annotated[str, typer.Argument(help="The customer: e-mail, reference or cus_ id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """Erase a customer's personal data; the audit log stays verifiable."""
    if not yes and not (
        context.stdin_is_terminal() and typer.confirm(texts.said("erase_question"), err=True)
    ):
        raise Misuse("nothing was erased; answer the question or pass --yes")
    with context.admin(home, server, ca) as api:
        erased = api.erase_customer(customer)
    talk.answer(
        erased,
        lambda: talk.said("erased", licenses=erased.licenses, devices=erased.devices),
        as_json=json,
    )


def _tell(verb: str, record: LicenseRecord) -> None:
    talk.write(f"{record.license_id}\n")
    shown = talk.plain(record)
    talk.said(f"license_{verb}", told=texts.said("license_told", **shown, ends=shown["expires_at"]))
    if verb in {"changed", "renewed", "resumed"}:
        talk.said("license_next")


def _change(
    plan: str | None,
    until: spans.End,
    seats: int | None,
    label: str | None,
    metadata: dict[str, str] | None,
) -> LicenseChange:
    from modelseal.admin import LicenseChange

    return LicenseChange(
        plan=plan,
        expires_in_seconds=until.in_seconds,
        expires_at=until.at,
        never=until.never,
        seats=seats,
        label=label,
        metadata=metadata,
    )


def _metadata(items: list[str] | None) -> dict[str, str] | None:
    if not items:
        return None
    split = [item.split("=", 1) for item in items]
    if not all(len(pair) == 2 and pair[0] for pair in split):
        raise Misuse("--metadata is written NAME=VALUE")
    return {pair[0]: pair[1] for pair in split}
