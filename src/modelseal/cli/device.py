"""``modelseal device``: the devices that hold a license's seats."""

from __future__ import annotations

from typing import Annotated

import typer

from modelseal.cli import context, options, tables, talk

app = typer.Typer(no_args_is_help=True, help="The devices that hold seats.")

DeviceId = Annotated[str, typer.Argument(help="The device id (dev_…).", metavar="DEVICE_ID")]


@app.command("list")
def list_(
    license_id: Annotated[
        str | None, typer.Option("--license", help="Only those of this license.")
    ] = None,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    everything: options.Everything = False,
    json: options.Json = False,
) -> None:
    """Devices, of one license or all."""
    with context.admin(home, server, ca) as api:
        items, following = context.pages(
            lambda cursor: api.list_devices(license_id, cursor), everything=everything
        )
    talk.answer(
        {"items": items, "next_cursor": following},
        lambda: tables.table(
            "Devices",
            ("device", "label", "license", "state", "level", "last contact", "lease ends"),
            [
                (
                    item.device_id,
                    item.label,
                    item.license_id,
                    item.state,
                    f"L{item.level}",
                    item.last_contact_at,
                    item.lease_expires_at,
                )
                for item in items
            ],
        ),
        as_json=json,
    )


@app.command()
def show(
    device_id: DeviceId,
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """One device as the server knows it; traits by kind, never by value."""
    with context.admin(home, server, ca) as api:
        record = api.show_device(device_id)
    talk.answer(record, lambda: tables.pairs(list(talk.plain(record).items())), as_json=json)


@app.command()
def revoke(
    device_id: DeviceId,
    reason: options.Reason = "",
    home: options.Home = None,
    server: options.Server = None,
    ca: options.Ca = None,
    json: options.Json = False,
) -> None:
    """End one device for good; the license goes on elsewhere."""
    with context.admin(home, server, ca) as api:
        record = api.revoke_device(device_id, reason)
    talk.answer(
        record,
        lambda: talk.said(
            "device_revoked", device_id=device_id, ends=talk.plain(record.lease_expires_at)
        ),
        as_json=json,
    )
