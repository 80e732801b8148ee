"""The publisher's calls: plans, licenses, devices, customers, decisions."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Response, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from modelseal.admin import (
    CustomerExport,
    DeviceRecord,
    ErasedCustomer,
    Explanation,
    IssuedLicense,
    IssueLicense,
    LicenseChange,
    LicenseRecord,
    LicenseState,
    Page,
    PlanDraft,
    PlanRecord,
    RekeyedLicense,
)
from modelseal.errors import NotFound
from modelseal.server.http.openapi import Verb
from modelseal.server.http.work import (
    MATCH,
    ONCE,
    TAGGED,
    AnyRequest,
    admin_of,
    read,
    run,
    tag_of,
    version_of,
    versioned,
)
from modelseal.server.services import inventory

BASE = "/v1/admin"
CURSOR = r"^(MT[o-r][A-Za-z0-9_-]*)?$"
Cursor = Annotated[str, QueryParameter(name="cursor", max_length=256, pattern=CURSOR)]
Query = Annotated[str, QueryParameter(max_length=254)]
"""Texts of a query; an empty one is as if it were not there. (None would be read out of ``null``.)
"""
_STATES = f"^({'|'.join(LicenseState)})?$"


class Because(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done."""

    reason: Annotated[str, msgspec.Meta(max_length=512)] = ""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body without members."""


class Whom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A customer by reference, e-mail or id."""

    customer: Annotated[str, msgspec.Meta(min_length=1, max_length=254)]


_ON_LICENSE = {
    "owner": "license_id",
    "verbs": {
        "renew": Verb(
            LicenseChange,
            LicenseRecord,
            "One period longer, or until the end named.",
            {**MATCH, **ONCE},
        ),
        "suspend": Verb(Because, LicenseRecord, "Suspended until resumed."),
        "resume": Verb(Nothing, LicenseRecord, "Active again."),
        "revoke": Verb(Because, LicenseRecord, "Revoked for good."),
        "rekey": Verb(Nothing, RekeyedLicense, "A new license key in place of the old one.", ONCE),
    },
}
_ON_DEVICE = {
    "owner": "device_id",
    "verbs": {"revoke": Verb(Because, DeviceRecord, "Revoked for good.", MATCH, TAGGED)},
}


@post(f"{BASE}/plans", status_code=HTTP_201_CREATED, opt={"body": PlanDraft})
async def create_plan(request: AnyRequest) -> PlanRecord:
    """Create a plan."""
    return await run(admin_of(request).create_plan, await read(request, PlanDraft))


@get(f"{BASE}/plans")
async def list_plans(request: AnyRequest, cursor: Cursor = "") -> Page[PlanRecord]:
    """List plans."""
    return await run(admin_of(request).list_plans, cursor or None)


@get(f"{BASE}/plans/{{plan:str}}", opt={"gives": TAGGED})
async def show_plan(request: AnyRequest, plan: str) -> Response[PlanRecord]:
    """Show a plan by name or id; its ``ETag`` is its version, for ``If-Match``."""
    record = await run(admin_of(request).show_plan, plan)
    return versioned(record, record.version)


@put(
    f"{BASE}/plans/{{plan:str}}",
    opt={"body": PlanDraft, "headers": {**MATCH, **ONCE}, "gives": TAGGED},
)
async def update_plan(request: AnyRequest, plan: str) -> Response[PlanRecord]:
    """Make the next version of a plan; 409 when ``If-Match`` is not the present one."""
    draft, version = await read(request, PlanDraft), version_of(request)
    record = await run(admin_of(request).update_plan_version, plan, draft, version)
    return versioned(record, record.version)


@post(
    f"{BASE}/licenses",
    status_code=HTTP_201_CREATED,
    opt={"body": IssueLicense, "headers": ONCE},
)
async def issue_license(request: AnyRequest) -> IssuedLicense:
    """Issue a license; ``Idempotency-Key`` counts like the member ``idempotency_key``."""
    return await run(admin_of(request).issue_license, await read(request, IssueLicense))


@get(f"{BASE}/licenses")
async def list_licenses(
    request: AnyRequest,
    cursor: Cursor = "",
    customer: Query = "",
    license_state: Annotated[str, QueryParameter(name="state", pattern=_STATES)] = "",
) -> Page[LicenseRecord]:
    """List licenses, of one customer or in one state where asked."""
    state = LicenseState(license_state) if license_state else None
    return await run(admin_of(request).list_licenses, cursor or None, customer or None, state)


@get(f"{BASE}/licenses/{{license_id:str}}", opt={"gives": TAGGED})
async def show_license(request: AnyRequest, license_id: str) -> Response[LicenseRecord]:
    """Show a license; its ``ETag`` is its version, for ``If-Match``."""
    record = await run(admin_of(request).show_license, license_id)
    return versioned(record, record.version)


@patch(
    f"{BASE}/licenses/{{license_id:str}}",
    opt={"body": LicenseChange, "headers": MATCH, "gives": TAGGED},
)
async def change_license(request: AnyRequest, license_id: str) -> Response[LicenseRecord]:
    """Change a license; 409 when ``If-Match`` or ``version`` is not the present one."""
    change = _matched(request, await read(request, LicenseChange))
    record = await run(admin_of(request).change_license, license_id, change)
    return versioned(record, record.version)


@post(f"{BASE}/licenses/{{target:str}}", status_code=HTTP_200_OK, opt=_ON_LICENSE)
async def act_on_license(request: AnyRequest, target: str) -> Response[Any]:
    """``{id}:renew``, ``:suspend``, ``:resume``, ``:revoke``, ``:rekey``."""
    license_id, _, verb = target.rpartition(":")
    api = admin_of(request)
    if verb == "renew":
        change = _matched(request, await read(request, LicenseChange))
        asked = change if change != LicenseChange() else None
        return Response(await run(api.renew_license, license_id, asked))
    if verb in ("suspend", "revoke"):
        why = (await read(request, Because)).reason
        act = api.suspend_license if verb == "suspend" else api.revoke_license
        return Response(await run(act, license_id, why))
    if verb in ("resume", "rekey"):
        await read(request, Nothing)
        if verb == "resume":
            return Response(await run(api.resume_license, license_id))
        return Response(await run(api.rekey_license, license_id))
    raise NotFound("no such call")


@get(f"{BASE}/explanations/{{which:str}}")
async def explain(request: AnyRequest, which: str) -> Explanation:
    """Explain a decision by reference, event, license or device."""
    return await run(admin_of(request).explain, which)


@get(f"{BASE}/devices")
async def list_devices(
    request: AnyRequest,
    cursor: Cursor = "",
    license_id: Annotated[str, QueryParameter(name="license", max_length=128)] = "",
) -> Page[DeviceRecord]:
    """List devices, of one license where asked."""
    return await run(admin_of(request).list_devices, license_id or None, cursor or None)


@get(f"{BASE}/devices/{{device_id:str}}", opt={"gives": TAGGED})
async def show_device(request: AnyRequest, device_id: str) -> Response[DeviceRecord]:
    """Show a device; its ``ETag`` names this state of it, for ``If-Match``."""
    record = await run(admin_of(request).show_device, device_id)
    return versioned(record, inventory.tag_of(record))


@post(f"{BASE}/devices/{{target:str}}", status_code=HTTP_200_OK, opt=_ON_DEVICE)
async def act_on_device(request: AnyRequest, target: str) -> Response[DeviceRecord]:
    """``{id}:revoke``."""
    device_id, _, verb = target.rpartition(":")
    if verb != "revoke":
        raise NotFound("no such call")
    why = (await read(request, Because)).reason
    record = await run(admin_of(request).revoke_device, device_id, why, tag_of(request))
    return versioned(record, inventory.tag_of(record))


@post(f"{BASE}/customers:export", status_code=HTTP_200_OK, opt={"body": Whom})
async def export_customer(request: AnyRequest) -> CustomerExport:
    """Export all that is stored about a customer."""
    whom = await read(request, Whom)
    return await run(admin_of(request).export_customer, whom.customer)


@post(f"{BASE}/customers:erase", status_code=HTTP_200_OK, opt={"body": Whom})
async def erase_customer(request: AnyRequest) -> ErasedCustomer:
    """Erase a customer."""
    whom = await read(request, Whom)
    return await run(admin_of(request).erase_customer, whom.customer)


def _matched(request: AnyRequest, change: LicenseChange) -> LicenseChange:
    version = version_of(request)
    return change if version is None else msgspec.structs.replace(change, version=version)


HANDLERS: list[HTTPRouteHandler] = [
        create_plan, list_plans, show_plan, update_plan,
        issue_license, list_licenses, show_license, change_license, act_on_license,
        explain, list_devices, show_device, act_on_device, export_customer, erase_customer,
    ]  # fmt: skip
