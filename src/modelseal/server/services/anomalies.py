"""Rules of a plan about what is odd: what was seen is counted, what is too much has a consequence.

A rule never changes the answer in which it fires; a suspension counts from the next question on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.license.claims import RequestClaims
from modelseal.license.clock import SET_BACK_SECONDS
from modelseal.license.plans import Anomaly
from modelseal.server.services import recorder, suspending
from modelseal.server.services.context import Context
from modelseal.server.store import licenses as store

if TYPE_CHECKING:
    from modelseal.server.services.issuing import Terms

ACTIVATED = ("activation_farming", "too_many_devices")
FORK, CLOCK, TRAITS = "fork", "clock_rollback", "trait_churn"
SPREAD = "address_spread"
_DISTINCT = frozenset({"too_many_devices", SPREAD})
"""The rules that count who was seen and not how often."""
SHOWN = timedelta(days=90)
"""How long ``license show`` names a rule that fired."""
NETWORKS_SECRET = "networks"
_SEEN, _FIRED = "seen:", "flag:"


def of_request(claims: RequestClaims, moved: Iterable[str] = ()) -> Iterator[str]:
    """What a request itself shows: a clock behind the time it remembers, traits that moved."""
    seen = claims.clock.last_seen
    if seen is not None and claims.clock.wall + SET_BACK_SECONDS < seen:
        yield CLOCK
    if any(moved):
        yield TRAITS


def notice(
    context: Context,
    tx: Connection,
    terms: Terms,
    device_id: str,
    rules: Iterable[str],
    event_id: str,
    now: datetime,
    network: str = "",
) -> None:
    """``rules`` were seen at the event ``event_id``; what is too much for the plan fires.

    ``network`` is where the question came from, empty when it came by hand. A rule fires once in
    its ``per_seconds``. The last thing an act does.
    """
    seen = frozenset(rules)
    asked = [rule for rule in terms.plan.anomalies if rule.rule in seen]
    watched = [rule for rule in terms.plan.anomalies if rule.rule == SPREAD]
    if watched and network:
        place = _place(context, network)
        since = now - timedelta(seconds=max(rule.per_seconds for rule in watched) // 2)
        if not store.spent_of(tx, terms.license.license_id, _SEEN + SPREAD, place, since):
            asked += watched
    if not asked:
        return
    license_id = terms.license.license_id
    store.lock(tx, license_id)
    for name in sorted({rule.rule for rule in asked}):
        who = place if name == SPREAD else device_id
        store.spend(tx, license_id, _SEEN + name, who, now, event_id)
    for rule in asked:
        since = now - timedelta(seconds=rule.per_seconds)
        number = _counted(tx, license_id, rule, since)
        if number > rule.limit and store.spent(tx, license_id, _fired(rule), since) == 0:
            _fire(context, tx, terms, device_id, rule, number, now)


def flags(tx: Connection, license_id: str, now: datetime) -> list[str]:
    """The rules that fired for a license of late."""
    kinds = store.kinds_spent(tx, license_id, now - SHOWN)
    return sorted({kind.split(":")[1] for kind in kinds if kind.startswith(_FIRED)})


def _counted(tx: Connection, license_id: str, rule: Anomaly, since: datetime) -> int:
    count = store.spent_by if rule.rule in _DISTINCT else store.spent
    return count(tx, license_id, _SEEN + rule.rule, since)


def _place(context: Context, network: str) -> str:
    """A network as the store knows it: IPv4 /24, IPv6 /48, and only as a keyed hash."""
    try:
        address = ipaddress.ip_interface(network)
    except ValueError:
        wide = network
    else:
        wide = str(ipaddress.ip_network((address.ip, 24 if address.version == 4 else 48), False))
    return "net_" + context.keyed_hash(NETWORKS_SECRET, wide.encode())[:16].hex()


def _fired(rule: Anomaly) -> str:
    """Two rules of one name (flag at five, suspend at fifty) fire each for itself."""
    return f"{_FIRED}{rule.rule}:{rule.action}"


def _fire(
    context: Context,
    tx: Connection,
    terms: Terms,
    device_id: str,
    rule: Anomaly,
    number: int,
    now: datetime,
) -> None:
    known = recorder.fresh(context, now)
    row = terms.license
    store.spend(tx, row.license_id, _fired(rule), device_id, now, known.event_id)
    recorder.record(
        tx, known, EventKind.ANOMALY, at=now, actor="system",
        subjects={"license": row.license_id, "customer": row.customer_id, "device": device_id},
        params={
            "rule": rule.rule, "action": rule.action, "count": number, "limit": rule.limit,
            "per_seconds": rule.per_seconds,
        },
    )  # fmt: skip
    if rule.action == "suspend":
        suspending.by_rule(context, tx, row.license_id, rule.rule, f"anomaly: {rule.rule}", now)
