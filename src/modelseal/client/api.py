"""``modelseal.Client``: one activation on one computer, as an app sees it.

    ms = modelseal.Client()                 # modelseal.toml beside the program
    ms.activate("MS-...")                   # once
    ms.pull(to="models")                    # all that is granted, sealed
    ms.status().state                       # ACTIVE

Everything that can go wrong is an error of ``modelseal.errors`` with ``code``, ``reason``,
``next_step`` and ``reference``; a refusal is in the journal before its exception leaves.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from modelseal import ids
from modelseal.client import (
    activation,
    counting,
    delegating,
    explaining,
    keys,
    renewal,
    settings,
    standing,
    status,
    verified,
)
from modelseal.client.activation import LicenseInfo, Wish
from modelseal.client.background import Keeper, on_record
from modelseal.client.clock import RunClock
from modelseal.client.contact import Contact
from modelseal.client.core import Core
from modelseal.client.delegating import Delegated as Given
from modelseal.client.events import Callback, Events
from modelseal.client.explaining import TraitShown
from modelseal.client.heartbeat import Heartbeat
from modelseal.client.journal import Journal
from modelseal.client.ports import Ports
from modelseal.client.proving import Proved, Prover, Shown
from modelseal.client.pulled import Progress, Pulled
from modelseal.client.record import MemoryNote
from modelseal.client.renewal import Returned
from modelseal.client.settings import PathLike, Settings
from modelseal.client.standing import Standing
from modelseal.client.status import Status
from modelseal.client.unattended import Unattended
from modelseal.errors import (
    AssuranceNotReached,
    ClientClosed,
    DeviceChanged,
    InternalError,
    InvalidBytes,
    KeyNotInLease,
    LeaseExpired,
    Misuse,
    ModelsealError,
    Refused,
    StateDamaged,
    Unavailable,
)
from modelseal.memory import SecretBytes
from modelseal.trust import Trust
from modelseal.types import LeaseState, MemoryProtection

if TYPE_CHECKING:
    from modelseal.attest.collect import Collector
    from modelseal.client.airgap import AirGap
    from modelseal.container import VerifiedModel

_ASKS_ONCE = frozenset({LeaseState.EXPIRED, LeaseState.SUSPENDED})
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client:
    """The license of one product on this computer. Threads may share one client.

    ``app`` names the app's folder or ``modelseal.toml`` (default: beside the program), ``state``
    the state folder (default: the platform's data folder under the product's name), ``server``
    and ``trust`` what ``modelseal.toml`` would say, ``ca`` a PEM file of further TLS authorities.
    ``device_key`` is where a new device key is made (``tpm2:...``; default: the state folder).
    ``on_event`` is called with each ``Event`` from one thread of its own. With ``background`` a
    thread renews in time from the first use of a model on. ``collectors`` are what proves this run
    where a model demands a level (names or objects of ``modelseal.attest.collect``; default: what
    is found here). Nothing is read from the network here.

    Raises ``ConfigInvalid`` for settings that are wrong or missing.
    """

    def __init__(
        self,
        app: PathLike | None = None,
        state: PathLike | None = None,
        on_event: Callback | None = None,
        server: str | None = None,
        trust: PathLike | bytes | None = None,
        *,
        ca: PathLike | None = None,
        device_key: str | None = None,
        background: bool = True,
        collectors: Sequence[str | Collector] | None = None,
        ports: Ports | None = None,
    ) -> None:
        ports = ports or Ports()
        self._settings = settings.resolve(
            app=app, state=state, server=server, trust=trust, ca=ca, device_key=device_key,
            environ=ports.environ,
        )  # fmt: skip
        self._core = Core(self._settings, ports)
        self._clock = RunClock(ports)
        self._events = Events(on_event, partial(_note_failure, self._core.journal))
        self._keeper = Keeper(self._core, self._clock, self._events)
        me = weakref.ref(self)
        self._heartbeat = Heartbeat(self._keeper.beat, ports.wait, lambda: me() is not None)
        self._background = background
        self._contact = Contact(self._core, self._clock, self._keeper)
        self._prover = Prover(self._core, collectors)
        self._closed = False
        self._unattended = Unattended(self._core, self._activated, self.refusal)
        _clients.add(self)

    # -- what an app calls

    def lookup(self, license_key: str) -> LicenseInfo:
        """What the license with this key grants, who holds its seats, what has to be accepted.

        Takes no seat. Raises ``LicenseKeyMistyped`` offline, ``UnknownLicenseKey``,
        ``Unavailable`` errors.
        """
        with self._told():
            return activation.lookup(self._core, license_key)

    def activate(
        self,
        license_key: str,
        *,
        eula: str | None = None,
        replace: str | None = None,
        label: str | None = None,
        switch: bool = False,
        on_progress: Progress | None = None,
    ) -> Status:
        """This computer holds a seat and a lease of the license; both are stored.

        ``eula`` is the digest of the agreement the user accepted, ``replace`` the id of a device
        whose seat is taken over, ``label`` (1 to 64 characters) what other holders are shown,
        ``on_progress(done, total, name)`` is called at each step. Where a lease of another license
        runs here, it raises ``AnotherLicense``; with ``switch`` that seat is given back first.
        Raises ``LicenseKeyMistyped`` before anything is sent; ``UnknownLicenseKey``,
        ``NoFreeSeat`` (``holders``), ``EulaNotAccepted`` and the other refusals; ``Unavailable``
        errors, after which the same call gets the same answer.
        """
        with self._told():
            wish = Wish(eula=eula, replace=replace, label=label, switch=switch)
            lease = activation.activate(self._core, license_key, wish, on_progress)
            self._activated(lease.jti)
        return self.status()

    def start_trial(
        self,
        plan: str,
        *,
        email: str | None = None,
        eula: str | None = None,
        label: str | None = None,
        on_progress: Progress | None = None,
    ) -> str:
        """This computer holds a lease of a fresh trial of ``plan``; returns its license key.

        Raises ``TrialUsed`` and the other refusals, ``Unavailable`` errors.
        """
        with self._told():
            wish = Wish(eula=eula, label=label)
            lease, key = activation.start_trial(self._core, plan, email, wish, on_progress)
            self._activated(lease.jti)
        return key

    def status(self) -> Status:
        """Where this device stands; asks nobody.

        Raises ``StateDamaged``, ``StateNotReadable``, ``ConfigInvalid``.
        """
        if not self._core.has_trust:
            return status.of_nothing(self._core, self._clock.now())
        found = standing.take(self._core, self._clock.now())
        erased = status.lost_its_keys(self._core, found)
        return status.of(found, counting.totals(self._core, found.record), keys_erased=erased)

    def traits(self) -> list[TraitShown]:
        """What an activation would send about this computer; nothing is sent, nothing stored."""
        with self._told():
            return explaining.traits(self._core)

    def count(self, meter: str, number: int = 1) -> None:
        """``meter`` of the plan has counted ``number`` more uses, durably once this returns.

        Call it before what is counted happens. The server learns it with the next renewal; there a
        used-up meter is refused (``MeterExceeded``), here nothing is. ``status().meters`` shows
        what is left. Raises ``Misuse``, ``NotActivated``, ``Unavailable`` errors.
        """
        with self._told():
            counting.count(self._core, meter, number)

    def renew(self) -> Status:
        """The next lease, with what the license grants by now; the old lease's keys are erased.

        Raises the signed refusal, ``NotActivated``, ``Unavailable`` errors (nothing changed).
        """
        with self._told():
            self._keeper.renew(seen=self._lease_id())
        return self.status()

    def move_device(self, to: str) -> Status:
        """The device's key is a new one in the TPM at the key URI ``to``; the old one is retired.

        No seat is spent. Interrupted, it goes on with the next renewal. Raises what ``renew``
        raises, ``Conflict`` when the key is in a TPM already, ``KeyStoreUnavailable``.
        """
        with self._told():
            renewal.move_device(self._core, to)
            self._clock.rebase()
        return self.status()

    def prove(
        self,
        model: VerifiedModel | PathLike,
        level: int | None = None,
        *,
        shown: Callable[[Shown], object] | None = None,
    ) -> Proved:
        """The keys of a sealed model that only evidence opens are here for this run.

        Of every section that the license grants and that demands at most ``level`` (default: the
        highest that one of them demands). Loading does this by itself where it is needed. ``shown``
        is handed each piece of evidence before it is sent: whoever keeps it can appraise it again,
        as the server does. Raises
        ``LevelNotReached`` naming the verdict, the other refusals, ``EvidenceUnavailable``,
        ``Unavailable`` errors.
        """
        with self._told():
            found = self.standing()
            refusal = found.refusal()
            if refusal is not None:
                raise refusal
            return self._prover.prove(model, level, found, shown)

    def delegate(self, wish: delegating.Wish) -> Given:
        """What a relay may give by itself, as this device proves the level of ``wish``."""
        with self._told():
            return delegating.ask(self._core, wish, self._prover.collectors)

    def may_prove(self, level: int) -> bool:
        """Whether a load tries to prove ``level``: a TPM's own L2 stands in the lease already."""
        return self._prover.tries(level)

    def proved_level(self, file_id: bytes) -> int:
        """The level whose keys this run holds for the sealed file; 0 where it proved none."""
        run = self._core.run_keys
        if not run.proved:  # asked at every read: the state folder need not be
            return 0
        run.expire(self._clock.now())
        return run.level(self._lease_id(), file_id)

    def pull(self, to: PathLike | None = None, on_progress: Progress | None = None) -> Pulled:
        """Every granted model lies in ``to`` (default: ``models`` in the state folder), sealed.

        Resumes where it stopped, verifies every chunk as it arrives, replaces older releases of
        its own, never a file that is not sealed (``OutputExists``). ``on_progress(bytes done,
        bytes in all, name)``. Raises the refusal, ``CatalogInvalid``, ``WrongPublisher``,
        ``DownloadDamaged``, ``DiskFull`` and other ``Unavailable`` errors; verified bytes stay.
        """
        from modelseal.client import pull as pulling

        with self._told():
            self._start_of_use()
            return pulling.pull(self._core, None if to is None else Path(to), on_progress)

    def deactivate(self, *, forget: bool = False) -> Returned:
        """The seat is given back; lease and keys are erased from this device.

        Without the server it raises an ``Unavailable`` error: the seat is still taken, the
        activation still works, the call can be repeated. ``forget`` then erases everything here
        without telling the server; the seat stays taken until the license key is entered
        elsewhere with ``replace`` or the publisher frees it.
        """
        with self._told():
            if not forget:
                returned = renewal.give_back(self._core)
                self._core.journal.write("returned", durable=True, event=returned.event_id)
                return returned
            try:
                returned = renewal.give_back(self._core)
            except (Unavailable, Refused, InvalidBytes) as error:
                self._core.journal.write("forgotten", durable=True, code=error.code)
                returned = Returned()
            renewal.forget(self._core)
            return returned

    def close(self) -> None:
        """The background ends, the connection is closed and keys are wiped; the activation stays.

        Closing twice changes nothing. Only ``status``, ``config`` and ``journal`` can be used
        afterwards; everything else raises ``ClientClosed``.
        """
        self._closed = True
        self._heartbeat.stop()
        self._events.close()
        self._core.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client cannot be pickled or copied: make one in each process")

    def __repr__(self) -> str:
        return f"Client(product={self._settings.product!r}, state={str(self._settings.state)!r})"

    @property
    def air_gap(self) -> AirGap:
        """Requests, responses and codes, for a computer without a network."""
        from modelseal.client.airgap import AirGap

        return AirGap(self._core, self._told, self._activated)

    # -- what the runtime and the command line use

    @property
    def config(self) -> Settings:
        """The settings in force."""
        return self._settings

    @property
    def journal(self) -> Journal:
        """The device's own record of what happened."""
        return self._core.journal

    @property
    def trust(self) -> Trust:
        """The pinned trust, carried forward by the catalog."""
        return self._core.trust

    def min_release(self, model: str) -> int:
        """The oldest release of ``model`` that the last catalog allows; 0 without a catalog."""
        found = self._core.stored_catalog()
        return 0 if found is None else found.min_release(model)

    def standing(self) -> Standing:
        """Where the device stands, for a load: what has ended, or a clock that seems to have been
        set back, is worth one renewal of at most 10 s.

        Starts the background thread at first use. Raises ``StateDamaged``, ``StateNotReadable``,
        ``ConfigInvalid``; a refusal is in the standing, not raised.
        """
        self._check_open()
        self._start_of_use()
        found = self._keeper.observe(standing.take(self._core, self._clock.now()))
        asks = found.state in _ASKS_ONCE or found.clock_set_back  # or the server's was ahead
        if found.held.device_id is None or not asks or not self._contact.due():
            return found
        return self._contact.renewed_in_time(found)

    def keys_for(self, file_id: bytes, sections: Iterable[int]) -> dict[int, SecretBytes]:
        """The data keys of ``sections`` of one sealed file, each in memory that ``close`` wipes.

        From the lease, or for an *online* lease from one round trip. When the lease lacks a key
        that the catalog and the license would give, it is renewed once. Raises ``NotEntitled``
        naming the entitlement, ``KeyNotInLease``, what the lease's state refuses, ``Unavailable``
        errors.
        """
        if not isinstance(file_id, bytes) or len(file_id) != 32:
            raise Misuse("a file id has 32 bytes")
        wanted = sorted(set(sections))
        found = self.standing()
        refusal = found.refusal()
        if refusal is not None:
            raise refusal
        self._core.run_keys.expire(found.now)
        try:
            return keys.pick(self._core, found.held, file_id, wanted)
        except KeyNotInLease as error:
            if not self._contact.renewed_for(file_id, found):
                raise error from None
        except (DeviceChanged, LeaseExpired, StateDamaged) as error:  # or a clock that was wrong
            if not self._contact.put_right(found):
                raise error from None
        return keys.pick(self._core, self._core.held(), file_id, wanted)

    def note_memory(self, protection: MemoryProtection | str, *, swap_safe: bool) -> None:
        """``status`` shows what memory protection opened models reached. Never raises."""
        note = MemoryNote(protection=str(protection), swap_safe=swap_safe)
        with contextlib.suppress(ModelsealError):
            record = self._core.store.read().record
            if record is not None and record.memory != note:
                with self._core.locked(1.0):
                    self._core.note(memory=note)

    def was_verified(self, seen: os.stat_result, leaf_hash: bytes) -> bool:
        """Whether a record of this device says that the file with these numbers was wholly
        verified with that leaf table. Never raises."""
        with contextlib.suppress(ModelsealError):
            return verified.holds(self._core.store.folder, self._core.unlock(), seen, leaf_hash)
        return False

    def note_verified(self, seen: os.stat_result, leaf_hash: bytes) -> None:
        """``was_verified`` is true from now on, where the folder can be written. Never raises.

        ``seen`` is what ``os.fstat`` said before the file was read.
        """
        with contextlib.suppress(ModelsealError):
            verified.remember(self._core.store.folder, self._core.unlock(), seen, leaf_hash)

    def refusal(self, error: ModelsealError) -> ModelsealError:
        """``error``, with a reference, on the device's record before this returns. Never raises."""
        with contextlib.suppress(Exception):
            if error.reference is None:
                error.reference = ids.reference(self._core.new_id("evt"))
            path = error.params.get("path")
            if not on_record(error):
                self._core.journal.write(
                    "refused",
                    durable=True,
                    code=error.code,
                    reference=error.reference,
                    detail=error.detail,
                    path=None if path is None else str(path),
                )
            if isinstance(error, (Refused, AssuranceNotReached)):
                self._keeper.note_refusal(error)
        return error

    def start_background(self) -> None:
        """The heartbeat thread runs, unless this client was made without one."""
        if self._background:
            self._heartbeat.start()

    def _after_fork(self) -> None:
        for part in (
            self._core, self._clock, self._events, self._keeper, self._heartbeat, self._unattended,
            self._contact, self._prover,
        ):  # fmt: skip
            part.after_fork()

    # -- inside

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("a call after close")

    def _start_of_use(self) -> None:
        self._unattended.activate()
        self.start_background()

    def _activated(self, lease_id: str) -> None:
        self._clock.rebase()
        self._core.journal.write("activated", durable=True, lease=lease_id)
        self._heartbeat.wake()

    def _lease_id(self) -> str | None:
        with contextlib.suppress(ModelsealError):
            lease = self._core.held(tolerant=True).lease
            return None if lease is None else lease.jti
        return None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Only our errors leave, and a refusal is on the record before it does."""
        try:
            self._check_open()
            yield
        except ModelsealError as error:
            raise self.refusal(error) from error.__cause__
        except (MemoryError, RecursionError):
            raise
        except Exception as error:
            raise self.refusal(InternalError(f"{type(error).__name__}: {error}"[:300])) from error


def _note_failure(journal: Journal, error: BaseException) -> None:
    journal.write("callback_failed", error=type(error).__name__)


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
