"""Where the device stands now: the verified tokens, the one word for them, and the facts for
``decide``. Nothing here asks the server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelseal.client.record import Record
from modelseal.errors import DeviceReturned, ModelsealError
from modelseal.license import clock
from modelseal.license import lease as leases
from modelseal.license.claims import DenialClaims, LeaseClaims, LicenseClaims
from modelseal.license.decide import Decision, decide
from modelseal.license.facts import (
    Action,
    DenialFacts,
    DeviceFacts,
    Facts,
    LeaseFacts,
    LicenseFacts,
    SectionFacts,
    entitlement_facts,
)
from modelseal.license.status import Status
from modelseal.types import LeaseState, from_numeric

if TYPE_CHECKING:
    from modelseal.client.core import Core, Held

RUNNING = frozenset({LeaseState.ACTIVE, LeaseState.RENEW_DUE, LeaseState.OVERDUE})


@dataclass(frozen=True, slots=True)
class Standing:
    """One moment's view. ``now`` is the run's time, ``floor`` the earliest it can be."""

    state: LeaseState
    product: str
    now: datetime
    floor: datetime | None
    license: LicenseClaims | None
    lease: LeaseClaims | None
    denial: DenialClaims | None
    status: Status | None
    record: Record | None
    held: Held

    @property
    def clock_set_back(self) -> bool:
        """Whether the clock is further behind a signed time than is forgiven."""
        return clock.judge(self.now, self.floor).set_back

    @property
    def running(self) -> bool:
        """Whether the lease lets models be opened."""
        return self.state in RUNNING and not self.clock_set_back

    @property
    def expires_at(self) -> datetime | None:
        """The end of the lease, None without one."""
        return None if self.lease is None else from_numeric(self.lease.exp)

    @property
    def entitlements(self) -> frozenset[str]:
        """What the license, narrowed by the lease, grants now at the verified level."""
        if self.license is None or self.lease is None:
            return frozenset()
        at = clock.judge(self.now, self.floor).at
        level = self.lease.level
        return _granted(self.license, at, level) & _granted(self.lease, at, level)

    def min_release(self, model: str) -> int:
        """The oldest release of ``model`` that the license's plan gives keys of."""
        return 0 if self.license is None else self.license.min_releases.get(model, 0)

    def facts(
        self, section: SectionFacts | None = None, *, memory: Any = "none", level: int = 0
    ) -> Facts:
        """The facts of a LOAD: the license as a whole, or one section of one sealed model.

        ``level`` is what this run proved for that model, where it is more than the lease's.
        """
        return Facts(
            action=Action.LOAD,
            now=self.now,
            product=self.product,
            license=None if self.license is None else _license_facts(self.license),
            device=self._device_facts(memory, level),
            lease=self._lease_facts(),
            denial=self._denial_facts(),
            status=None if self.status is None else int(self.status),
            clock_floor=self.floor,
            section=section,
        )

    def decide(
        self, section: SectionFacts | None = None, *, memory: Any = "none", level: int = 0
    ) -> Decision:
        """The law's decision for these facts."""
        return decide(self.facts(section, memory=memory, level=level))

    def refusal(self) -> ModelsealError | None:
        """Why nothing may be opened now; None when the lease runs."""
        if self.state is LeaseState.RETURNED and self.denial is None and self.license is None:
            return DeviceReturned("this device gave its seat back")
        decision = self.decide()
        if decision.allowed:
            return None
        reference = None if self.denial is None else self.denial.reference
        return decision.error(reference)

    def _device_facts(self, memory: Any, level: int) -> DeviceFacts:
        lease, license_ = self.lease, self.license
        return DeviceFacts(
            state="returned" if self.state is LeaseState.RETURNED else "active",
            jkt="" if license_ is None else license_.cnf.jkt,
            proved_jkt=None if lease is None else lease.cnf.jkt,
            unbound=lease is not None and not lease.bound,
            level=0 if lease is None else max(lease.level, level),
            memory=memory,
        )

    def _lease_facts(self) -> LeaseFacts | None:
        if self.lease is None:
            return None
        return LeaseFacts(
            expires_at=from_numeric(self.lease.exp),
            entitlements=entitlement_facts(self.lease.ent),
            enforcement=self.lease.enforcement,
        )

    def _denial_facts(self) -> DenialFacts | None:
        if self.denial is None or not leases.in_force(self.denial, self.lease):
            return None
        return DenialFacts(code=self.denial.code, reference=self.denial.reference)


def take(core: Core, now: datetime, held: Held | None = None) -> Standing:
    """The standing at ``now``. Raises ``StateDamaged``, ``StateNotReadable``."""
    held = core.held() if held is None else held
    at_least = floor_of(held)
    at = clock.judge(now, at_least).at
    status = status_of(held)
    state = leases.state(held.license, held.lease, held.denial, status, at)
    if state is LeaseState.NOT_ACTIVATED and held.record is not None and held.record.returned:
        state = LeaseState.RETURNED
    return Standing(
        state=state,
        product=core.trust.product,
        now=now,
        floor=at_least,
        license=held.license,
        lease=held.lease,
        denial=held.denial,
        status=status,
        record=held.record,
        held=held,
    )


def floor_of(held: Held) -> datetime | None:
    """The time it cannot be earlier than, by the newest token and what was heard since."""
    latest = held.latest
    if latest is None:
        return None
    heard = None if held.record is None else held.record.heard_at
    others = [] if heard is None else [from_numeric(heard)]
    return clock.floor(from_numeric(latest.iat), others)


def status_of(held: Held) -> Status | None:
    """What the newest status list said about this lease; None when none was heard."""
    note = None if held.record is None else held.record.status
    if note is None or held.lease is None or note.idx != held.lease.status.idx:
        return None
    return Status(note.value)


def at(standing: Standing, now: datetime) -> Standing:
    """The same tokens judged at another moment."""
    moment = clock.judge(now, standing.floor).at
    state = leases.state(standing.license, standing.lease, standing.denial, standing.status, moment)
    return replace(standing, now=now, state=state)


def _license_facts(claims: LicenseClaims) -> LicenseFacts:
    return LicenseFacts(
        id=claims.sub,
        product=claims.product,
        entitlements=entitlement_facts(claims.ent),
        starts_at=from_numeric(claims.nbf),
        expires_at=from_numeric(claims.exp),
        memory=claims.memory,
    )


def _granted(claims: LicenseClaims | LeaseClaims, at: datetime, level: int) -> frozenset[str]:
    return frozenset(
        e.id
        for e in claims.ent
        if e.min_level <= level and (e.exp is None or at < from_numeric(e.exp))
    )
