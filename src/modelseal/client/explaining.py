"""What an activation would read of this computer and send, told before anything is sent."""

from __future__ import annotations

import msgspec

from modelseal import device
from modelseal.client import asking
from modelseal.client.core import Core
from modelseal.device import OPERATOR, WEIGHTS, TraitKind


class TraitShown(msgspec.Struct, frozen=True):
    """One kind of trait. ``sent`` are the digests that the server gets, 8 hex digits each.

    A digest is 32 bits under the product's own salt: it does not lead back to the value, and two
    products cannot compare theirs. ``missing`` says why there is none. ``weight`` is what the kind
    counts when a computer is recognised; a plan may set others.
    """

    kind: str
    weight: int
    sent: list[str]
    missing: str | None
    confidence: str | None
    privileged: bool


def traits(core: Core) -> list[TraitShown]:
    """Every kind that is looked for on this system, in the order of weight. Nothing is asked."""
    enrolment = device.enrol(core.traits(), core.trust.trait_salt)
    shown: dict[str, TraitShown] = {
        each.kind: TraitShown(each.kind, _weight(each.kind), [], each.why, None, False)
        for each in enrolment.missing
    }
    for found in (*enrolment.digests, *asking.operator_digest(core)):
        before = shown[found.kind].sent if found.kind in shown else []
        sent = [*before, f"{found.digest:08x}"]
        shown[found.kind] = TraitShown(
            found.kind, _weight(found.kind), sent, None, found.confidence, found.privileged
        )
    return sorted(shown.values(), key=lambda each: (-each.weight, each.kind))


def _weight(kind: str) -> int:
    return 0 if kind == OPERATOR else WEIGHTS[TraitKind(kind)]
