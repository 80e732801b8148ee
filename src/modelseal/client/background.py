"""What the heartbeat does at each beat, and what the app is told about it."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from modelseal.client import heartbeat, releases, renewal, revocation
from modelseal.client.clock import RunClock
from modelseal.client.core import Core
from modelseal.client.events import Event, EventName, Events
from modelseal.client.heartbeat import Progress, Step
from modelseal.client.record import refusal_of
from modelseal.client.standing import RUNNING, Standing, take
from modelseal.errors import (
    AssuranceNotReached,
    ModelsealError,
    NotActivated,
    Refused,
    Unavailable,
)
from modelseal.license.claims import LeaseClaims
from modelseal.license.status import Status
from modelseal.types import Enforcement, LeaseState, to_numeric

_QUICK_LOCK_SECONDS = 5.0
_ENDED = frozenset({LeaseState.EXPIRED, LeaseState.REVOKED, LeaseState.FORKED, LeaseState.RETURNED})
_BY_STATE = {
    LeaseState.RENEW_DUE: EventName.RENEW_DUE,
    LeaseState.OVERDUE: EventName.OVERDUE,
    LeaseState.EXPIRED: EventName.EXPIRED,
}


_ON_RECORD = "_modelseal_on_record"


def on_record(error: ModelsealError) -> bool:
    """Whether the journal has this very error already; from now on it counts as written."""
    known = getattr(error, _ON_RECORD, False)
    setattr(error, _ON_RECORD, True)
    return bool(known)


class Keeper:
    """Keeps one state folder's lease alive and the app informed. Safe for several threads."""

    def __init__(self, core: Core, clock: RunClock, events: Events) -> None:
        self._core = core
        self._clock = clock
        self._events = events
        self._guard = threading.Lock()
        self._spread = core.ports.random(1)[0] / 255
        self._progress = Progress(poll_at=clock.now())
        self._told: tuple[str | None, LeaseState] | None = None
        self._told_expiring: str | None = None
        self._told_offline = False

    def after_fork(self) -> None:
        """In a forked child: the lock may have been held by a thread that is not here."""
        self._guard = threading.Lock()

    def beat(self) -> float:
        """One step of what is due; the seconds to wait before the next. Never raises."""
        try:
            return self._beat()
        except ModelsealError as error:
            self._core.journal.write("heartbeat_failed", code=error.code, detail=error.detail)
            return heartbeat.MAX_SLEEP_SECONDS
        except Exception as error:  # noqa: BLE001 - the thread lives on, whatever happens
            self._core.journal.write("heartbeat_failed", code=type(error).__name__)
            return heartbeat.MAX_SLEEP_SECONDS

    def renew(self, *, seconds: float | None = None, seen: str | None = None) -> LeaseClaims:
        """The next lease, told as ``renewed``; a refusal or an outage is told and raised."""
        core = self._core
        before = core.contacts
        how = {} if seconds is None else {"seconds": seconds, "lock_seconds": seconds}
        try:
            lease = renewal.renew(core, seen=seen, **how)
        except (Refused, AssuranceNotReached) as error:
            if not isinstance(error, NotActivated):
                self.refused(error)
            raise
        except Unavailable as error:
            self.offline(error)
            raise
        if core.contacts != before:  # not for a lease that merely lies in the folder
            self._clock.rebase()
        with self._guard:
            self._progress = Progress(self._clock.now() + timedelta(seconds=heartbeat.POLL_SECONDS))
            self._told_offline = False
        core.journal.write("renewed", lease=lease.jti, seq=lease.seq)
        self._tell(EventName.RENEWED)
        self._refresh_keys()
        return lease

    def observe(self, standing: Standing) -> Standing:
        """What changed since the last look is told; keys of a lease that has ended are erased."""
        lease = standing.lease
        now_at = (None if lease is None else lease.jti, standing.state)
        with self._guard:
            changed, self._told = self._told != now_at, now_at
        if changed and standing.state in _BY_STATE:
            self._tell(_BY_STATE[standing.state], standing)
        if heartbeat.is_expiring(standing) and lease is not None:
            with self._guard:
                first, self._told_expiring = self._told_expiring != lease.jti, lease.jti
            if first:
                self._tell(EventName.EXPIRING, standing)
        if changed and standing.state in _ENDED:
            self.erase_ended(standing)
        if standing.state not in RUNNING:
            self._core.run_keys.wipe()
        return standing

    def erase_ended(self, standing: Standing) -> None:
        """A lease that has ended can no longer be opened from what lies on this device."""
        lease, core = standing.lease, self._core
        if lease is None or Enforcement(lease.enforcement) is Enforcement.ONLINE:
            return
        try:
            with core.locked(_QUICK_LOCK_SECONDS):
                held = core.held(tolerant=True)
                if held.lease is None or held.lease.jti != lease.jti:
                    return
                core.store.erase_keys(core.unlock())
        except ModelsealError as error:
            core.journal.write("keys_not_erased", code=error.code)
            return
        core.journal.write("keys_erased", lease=lease.jti, state=standing.state)

    def refused(self, error: ModelsealError) -> None:
        """A refusal by the server is told and on the record."""
        core = self._core
        core.journal.write(
            "refused", durable=True, code=error.code, reference=error.reference, detail=error.detail
        )
        on_record(error)
        self._tell(EventName.REFUSED, error=error)

    def offline(self, error: Unavailable) -> None:
        """The server could not be asked: told once until it can be again."""
        self._core.journal.write("offline", code=error.code, detail=error.detail)
        with self._guard:
            first, self._told_offline = not self._told_offline, True
        if first:
            self._tell(EventName.OFFLINE, error=error)

    def note_refusal(self, error: ModelsealError) -> None:
        """``status`` shows this refusal from now on, where the folder can be written."""
        core = self._core
        note = refusal_of(error, to_numeric(core.ports.now()))
        try:
            if core.store.folder.exists() and core.store.read().record is not None:
                with core.locked(_QUICK_LOCK_SECONDS):
                    core.note(last_refusal=note)
        except ModelsealError:
            return

    def _beat(self) -> float:
        standing = self.observe(take(self._core, self._clock.now()))
        if standing.running:
            self._refresh_keys()  # another process may have renewed
        with self._guard:
            plan = heartbeat.next_step(standing, self._progress, self._spread)
        if plan.step is Step.WAIT:
            return plan.seconds
        if plan.step is Step.POLL:
            self._poll(standing)
        else:
            self._renew_in_background(standing)
        return 0.0

    def _refresh_keys(self) -> None:
        """Keys of an online lease that was renewed are asked for anew, before a load needs them."""
        try:
            if releases.refresh(self._core):
                self._core.journal.write("keys_released")
        except (Refused, AssuranceNotReached) as error:
            self.refused(error)
        except ModelsealError as error:
            self._core.journal.write("keys_not_released", code=error.code)

    def _renew_in_background(self, standing: Standing) -> None:
        lease = standing.lease
        now = self._clock.now()
        try:
            self.renew(seen=None if lease is None else lease.jti)
        except Unavailable as error:
            with self._guard:
                self._progress.renew_at = heartbeat.retry_at(
                    now, self._progress, error, self._spread
                )
                self._progress.failures += 1
        except ModelsealError:
            self._postpone(now)

    def _poll(self, standing: Standing) -> None:
        now = self._clock.now()
        try:
            value, ttl = revocation.check(self._core, standing.held, now)
        except ModelsealError as error:
            if isinstance(error, Unavailable):
                self.offline(error)
            value, ttl = None, heartbeat.POLL_SECONDS
        else:
            with self._guard:
                self._told_offline = False
        with self._guard:
            self._progress.poll_at = now + timedelta(seconds=ttl)
        if value is not None and value is not Status.VALID:
            self._fetch_denial(standing, now)

    def _fetch_denial(self, standing: Standing, now: datetime) -> None:
        """The list says no: the next answer of the server tells why, and erases."""
        lease = standing.lease
        try:
            self.renew(seen=None if lease is None else lease.jti)
        except ModelsealError:
            self._postpone(now)

    def _postpone(self, now: datetime) -> None:
        """After a refusal nothing new is to be expected soon."""
        with self._guard:
            self._progress.renew_at = now + timedelta(seconds=heartbeat.MAX_RETRY_SECONDS)

    def _tell(
        self,
        name: EventName,
        standing: Standing | None = None,
        error: ModelsealError | None = None,
    ) -> None:
        if standing is None:
            try:
                standing = take(self._core, self._clock.now())
            except ModelsealError:
                standing = None
        self._events.notify(
            Event(
                name=name,
                at=self._clock.now(),
                state=LeaseState.NOT_ACTIVATED if standing is None else standing.state,
                expires_at=None if standing is None else standing.expires_at,
                error=error,
            )
        )
