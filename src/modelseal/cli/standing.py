"""A device's status as a person reads it: where it stands, until when, what it does not stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelseal import texts
from modelseal.cli import tables, talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelseal.client import Status
    from modelseal.client.explaining import TraitShown
    from modelseal.client.status import HardwareStatus, ProvedStatus


def tell(found: Status) -> None:
    """The status on stdout: the state with what it means, then what is known, a line each."""
    lines: list[tuple[str, object]] = [("product", found.product), ("plan", found.plan)]
    lines += [("entitlements", found.entitlements), ("license", _license(found))]
    lines += [("device", _device(found)), ("lease", _lease(found))]
    if found.lease is not None:
        lines += [("enforcement", found.lease.enforcement), ("level", f"L{found.level or 0}")]
        lines.append(("hardware", _hardware(found.hardware)))
    if found.level_verdict is not None:
        lines.append(("verdict", texts.said_or(f"attest_{found.level_verdict}")))
    if found.proved is not None:
        lines.append(("proved", _proved(found.proved)))
    if found.unproved is not None:
        told = texts.said("proved_not", level=found.unproved.level, why=found.unproved.why)
        lines.append(("unproved", told))
    lines += [
        ("missing", texts.said("missing_value", **talk.plain(item))) for item in found.level_missing
    ]
    lines += [("meter", texts.said("meter_value", **talk.plain(meter))) for meter in found.meters]
    if found.memory is not None:
        swap = texts.said("swap_safe" if found.memory.swap_safe else "not_swap_safe")
        told = texts.said("memory_value", protection=found.memory.protection, swap=swap)
        lines.append(("memory", told))
    if found.keys_erased:
        lines.append(("keys", texts.said("keys_erased_value")))
    if found.clock.set_back:
        behind = found.clock.behind_seconds
        lines.append(("clock", texts.said("clock_value", behind_seconds=behind)))
    if found.last_refusal is not None:
        lines.append(("refused", texts.said("refused_value", **talk.plain(found.last_refusal))))
    lines += [("limits", texts.said(name)) for name in _limits(found)]
    talk.write(texts.said(f"state_{found.state.value}") + "\n")
    tables.pairs([(texts.said(f"label_{name}"), value) for name, value in lines if value])


def tell_traits(shown: Sequence[TraitShown]) -> None:
    """What an activation would send, a line per trait, and what becomes of it."""
    rows = [
        (
            each.kind,
            each.weight,
            each.sent or texts.said("trait_missing", why=each.missing),
            each.confidence,
            each.privileged,
        )
        for each in shown
    ]
    columns = ("trait", "weight", "sent", "confidence", "administrator")
    tables.table(texts.said("traits_title"), columns, rows)
    talk.said("traits_told")


def _license(found: Status) -> str | None:
    if found.license_id is None:
        return None
    ends_at = talk.plain(found.license_expires_at)
    return texts.said("license_value", license_id=found.license_id, ends_at=ends_at)


def _device(found: Status) -> str | None:
    if found.device_id is None:
        return None
    told = {"device_id": found.device_id, "label": found.label, "binding": found.binding}
    return texts.said("device_value", **told)


def _lease(found: Status) -> str | None:
    if found.lease is None:
        return None
    return texts.said("lease_value", **talk.plain(found.lease), days_left=found.days_left)


def _hardware(end: HardwareStatus | None) -> str | None:
    if end is None:
        return None
    return texts.said(
        "hardware_value",
        powered_on=_span(end.powered_on_seconds),
        power_cuts=end.power_cuts,
        longest=_span(end.longest_seconds),
    )


def _proved(found: ProvedStatus) -> str:
    """What a run proved, and until when that counts."""
    told = {**talk.plain(found), "kinds": ", ".join(found.kinds)}
    return texts.said("proved_value", **told)


def _span(seconds: int) -> str:
    """Days and hours, rounded up: what is promised is never less than what can happen."""
    hours = -(-seconds // 3600)
    return texts.said("days_hours", days=hours // 24, hours=hours % 24)


def _limits(found: Status) -> list[str]:
    """What this device's level and enforcement do not stop (docs/threat-model.md)."""
    if found.lease is None:
        return []
    limits = ["limit_software"] if found.lease.enforcement == "software" else []
    if found.hardware is not None:
        limits.append("limit_hardware")
    if (found.level or 0) < 4:
        limits.append("limit_memory")
    if found.binding == "copyable":
        limits.append("limit_copyable")
    return limits
