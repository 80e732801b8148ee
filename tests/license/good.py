"""Facts that are allowed: a good customer, and each thing that may be changed about one."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from tests.license.world import NOW, PRODUCT

from modelseal.license.decide import decide
from modelseal.license.facts import (
    Action,
    DeviceFacts,
    EntitlementFact,
    Facts,
    LeaseFacts,
    LicenseFacts,
    SeatFacts,
    SectionFacts,
)

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
JKT = "j" * 43
SWAP, RESTORE = EntitlementFact(id="face.swap"), EntitlementFact(id="face.restore", min_level=2)
LICENSE = LicenseFacts(
    id="lic_1",
    product=PRODUCT,
    entitlements=(SWAP, RESTORE),
    starts_at=NOW - DAY,
    expires_at=NOW + 30 * DAY,
    eula_digest="e" * 43,
    eula_uri="https://example.com/eula",
    trial_once_per_device=True,
)
DEVICE = DeviceFacts(
    state="active", jkt=JKT, proved_jkt=JKT, level=2, memory="locked", eula_digest="e" * 43
)
LEASE = LeaseFacts(expires_at=NOW + 7 * DAY, entitlements=(SWAP, RESTORE))
SECTION = SectionFacts(
    product=PRODUCT, model="swap", alternatives=(("face.swap",),), release=3, min_release=3
)
SERVER = (Action.ACTIVATE, Action.TRIAL, Action.LOOKUP, Action.RENEW, Action.RELEASE, Action.RETURN)
USES = (Action.RELEASE, Action.LOAD)


def facts(action: Action, **changes) -> Facts:
    """Facts that are allowed, with changes: ``license__state="revoked"`` reaches inside."""
    values = {
        "action": action,
        "now": NOW,
        "product": PRODUCT,
        "asked_product": None if action is Action.LOAD else PRODUCT,
        "license": LICENSE,
        "device": DEVICE,
        "seat": SeatFacts(outcome="held"),
        "lease": LEASE if action in USES else None,
        "section": SECTION if action in USES else None,
    }
    for name, value in changes.items():
        part, _, member = name.partition("__")
        values[part] = msgspec.structs.replace(values[part], **{member: value}) if member else value
    return Facts(**values)


def code(action: Action, **changes) -> str:
    return decide(facts(action, **changes)).code
