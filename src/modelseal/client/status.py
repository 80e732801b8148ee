"""What ``status`` shows: one closed answer, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from modelseal.client.core import Core, Held
from modelseal.client.record import MeterNote, ProvedNote
from modelseal.client.standing import Standing
from modelseal.license import clock
from modelseal.license.claims import Entitlement, LeaseClaims
from modelseal.types import LeaseState, from_numeric

_DAY_SECONDS = 86400


class HardwareStatus(msgspec.Struct, frozen=True):
    """How long the TPM's key of the lease answers, counted from when the lease was given.

    ``powered_on_seconds`` by the TPM's clock, which stands still while it has no power, plus at
    most 70 minutes for each of ``power_cuts``: ``longest_seconds`` in all.
    """

    powered_on_seconds: int
    power_cuts: int
    longest_seconds: int


class LeaseStatus(msgspec.Struct, frozen=True):
    """The lease in force."""

    seq: int
    expires_at: datetime
    renew_after_at: datetime
    enforcement: str


class LevelMissing(msgspec.Struct, frozen=True):
    """An entitlement of the license that this device's verified level does not reach.

    ``why`` is the newest verdict in words; None where nothing was tried under this lease.
    """

    entitlement: str
    needed: int
    reached: int
    why: str | None = None


class ProvedStatus(msgspec.Struct, frozen=True):
    """What an attested key release under this lease came to.

    ``level`` was reached, until ``expires_at``, where ``verdict`` is ``ok``; else it was asked for
    in vain. The keys were for the run that asked: another one proves it again.
    """

    level: int
    verdict: str
    why: str
    kinds: list[str]
    at: datetime
    expires_at: datetime | None


class MeterStatus(msgspec.Struct, frozen=True):
    """A meter of the plan: what all devices of the license have used, as far as is known here.

    ``used`` is what the server last said and what was counted here since; ``resets_at`` None: it
    never starts anew.
    """

    name: str
    used: int
    limit: int
    left: int
    resets_at: datetime | None


class MemoryStatus(msgspec.Struct, frozen=True):
    """The protection that opened models last reached."""

    protection: str
    swap_safe: bool


class LastRefusal(msgspec.Struct, frozen=True):
    """The newest refusal on this device."""

    code: str
    at: datetime
    reference: str | None
    reason: str
    next_step: str


class ClockStatus(msgspec.Struct, frozen=True):
    """This computer's time, the time it cannot be before, and whether it was set back."""

    now: datetime
    floor: datetime | None
    set_back: bool
    behind_seconds: int


class Status(msgspec.Struct, frozen=True):
    """Where the device stands (design, section 9, ``status --json``).

    ``binding`` is ``bound``, ``unbound`` or ``copyable``; ``level_missing`` names what the
    verified level keeps closed; ``level_verdict`` is why the TPM's proof was taken for none;
    ``days_left`` counts the days to the end of the lease, rounded up; ``hardware`` is there where a
    TPM ends the lease, ``proved`` and ``unproved`` where a run proved a level under it or tried to.
    ``keys_erased``: the lease runs, but its keys were erased when the clock showed its end; a
    renewal brings the next ones.
    """

    state: LeaseState
    product: str | None
    plan: str | None
    license_id: str | None
    device_id: str | None
    label: str | None
    entitlements: list[str]
    license_expires_at: datetime | None
    lease: LeaseStatus | None
    level: int | None
    level_missing: list[LevelMissing]
    memory: MemoryStatus | None
    last_refusal: LastRefusal | None
    clock: ClockStatus
    binding: str | None
    days_left: int | None
    meters: list[MeterStatus] = []
    level_verdict: str | None = None
    hardware: HardwareStatus | None = None
    proved: ProvedStatus | None = None
    unproved: ProvedStatus | None = None
    keys_erased: bool = False


def of(standing: Standing, counted: Mapping[str, int], *, keys_erased: bool = False) -> Status:
    """The status of an activated or once activated device, whose meters have ``counted``."""
    license_, lease, record = standing.license, standing.lease, standing.record
    return Status(
        state=standing.state,
        product=standing.product,
        plan=None if license_ is None else license_.plan,
        license_id=standing.held.license_id,
        device_id=standing.held.device_id,
        label=None if record is None else record.label,
        entitlements=sorted(standing.entitlements),
        license_expires_at=None if license_ is None else from_numeric(license_.exp),
        lease=_lease(standing),
        level=None if lease is None else lease.level,
        level_missing=_level_missing(standing),
        memory=_memory(standing.held),
        last_refusal=_refusal(standing.held),
        clock=_clock(standing.now, standing.floor),
        binding=_binding(standing),
        days_left=_days_left(standing),
        meters=_meters(standing, counted),
        level_verdict=None if record is None else record.verdict,
        hardware=None if lease is None else _hardware(lease),
        proved=_proved(standing),
        unproved=_unproved(standing),
        keys_erased=keys_erased,
    )


def lost_its_keys(core: Core, standing: Standing) -> bool:
    """True when the lease runs and the journal tells that its keys were erased."""
    lease = standing.lease
    if lease is None or not standing.running:
        return False
    erased = [entry for entry in core.journal.read() if entry.get("kind") == "keys_erased"]
    return any(entry.get("lease") == lease.jti for entry in erased)


def of_nothing(core: Core, now: datetime) -> Status:
    """The status where there is no state and no trust yet."""
    return Status(
        state=LeaseState.NOT_ACTIVATED,
        product=core.settings.product,
        plan=None,
        license_id=None,
        device_id=None,
        label=None,
        entitlements=[],
        license_expires_at=None,
        lease=None,
        level=None,
        level_missing=[],
        memory=None,
        last_refusal=None,
        clock=_clock(now, None),
        binding=None,
        days_left=None,
    )


def _lease(standing: Standing) -> LeaseStatus | None:
    lease = standing.lease
    if lease is None:
        return None
    return LeaseStatus(
        seq=lease.seq,
        expires_at=from_numeric(lease.exp),
        renew_after_at=from_numeric(lease.renew_after_at),
        enforcement=lease.enforcement,
    )


def _hardware(lease: LeaseClaims) -> HardwareStatus | None:
    end = lease.hardware
    if end is None:
        return None
    from modelseal.attest.verify.tpm2 import longest_seconds

    seconds = -(-(end.clock_limit_ms - end.clock_ms) // 1000)
    cuts = end.reset_limit - end.reset_count
    return HardwareStatus(seconds, cuts, longest_seconds(seconds, cuts))


def _meters(standing: Standing, counted: Mapping[str, int]) -> list[MeterStatus]:
    if standing.record is None:
        return []
    return [
        _meter(note, counted.get(note.name, 0), standing.now) for note in standing.record.meters
    ]


def _meter(note: MeterNote, counted: int, now: datetime) -> MeterStatus:
    """In a period that is over nothing but what was not told yet counts in the next."""
    resets_at = None if note.resets_at is None else from_numeric(note.resets_at)
    over = resets_at is not None and now >= resets_at
    used = (0 if over else note.used) + max(0, counted - note.told)
    return MeterStatus(
        name=note.name,
        used=used,
        limit=note.limit,
        left=max(0, note.limit - used),
        resets_at=None if over else resets_at,
    )


def _level_missing(standing: Standing) -> list[LevelMissing]:
    if standing.license is None or standing.lease is None:
        return []
    proved, unproved = _proved(standing), _unproved(standing)
    reached = max(standing.lease.level, 0 if proved is None else proved.level)
    why = None if unproved is None else unproved.why
    granted: list[Entitlement] = [e for e in standing.license.ent if e.min_level > reached]
    return [LevelMissing(e.id, e.min_level, reached, why) for e in granted]


def _proved(standing: Standing) -> ProvedStatus | None:
    return None if standing.record is None else _shown(standing, standing.record.proved)


def _unproved(standing: Standing) -> ProvedStatus | None:
    return None if standing.record is None else _shown(standing, standing.record.unproved)


def _shown(standing: Standing, note: ProvedNote | None) -> ProvedStatus | None:
    """The note, as long as it says something about the lease in force."""
    if note is None or standing.lease is None or note.lease != standing.lease.jti:
        return None
    expires_at = from_numeric(note.exp) if note.exp else None
    if expires_at is not None and standing.now >= expires_at:
        return None
    from modelseal.attest.verify.reasons import reason

    why = reason(note.verdict, note.params)
    return ProvedStatus(
        note.level, note.verdict, why, note.kinds, from_numeric(note.at), expires_at
    )


def _memory(held: Held) -> MemoryStatus | None:
    note = None if held.record is None else held.record.memory
    return None if note is None else MemoryStatus(note.protection, note.swap_safe)


def _refusal(held: Held) -> LastRefusal | None:
    note = None if held.record is None else held.record.last_refusal
    if note is None:
        return None
    from modelseal import texts

    text = texts.render(note.code, {**note.params, "reference": note.reference}, note.detail)
    return LastRefusal(note.code, from_numeric(note.at), note.reference, text.why, text.next_step)


def _clock(now: datetime, floor: datetime | None) -> ClockStatus:
    verdict = clock.judge(now, floor)
    return ClockStatus(now.replace(microsecond=0), floor, verdict.set_back, verdict.behind_seconds)


def _binding(standing: Standing) -> str | None:
    if standing.lease is None:
        return None
    if standing.record is not None and standing.record.copyable:
        return "copyable"
    return "bound" if standing.lease.bound else "unbound"


def _days_left(standing: Standing) -> int | None:
    if standing.lease is None:
        return None
    left = standing.lease.exp - int(clock.judge(standing.now, standing.floor).at.timestamp())
    return -(-max(left, 0) // _DAY_SECONDS)
