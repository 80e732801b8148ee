"""This computer's TPM as leases use it: an attestation key, keys that end, statements about both.

Nothing of it lies in a file but the numbers that a lease key was made from: both keys are primary
objects, made again from their templates each time and flushed afterwards. The one class a test may
replace is ``DeviceTpm``; the real one is over ``modelseal.tpm2``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelseal.errors import KeyPolicyFailed, KeyStoreUnavailable, LeaseKeyEnded, TpmFailed

if TYPE_CHECKING:
    from modelseal.attest.collect import Collector
    from modelseal.tpm2.chip import Tpm
    from modelseal.tpm2.chip.objects import Loaded
    from modelseal.tpm2.wire.attest import Clock
    from modelseal.tpm2.wire.public import Public

SEED_BYTES = 32
_SOFTWARE_TPM = 0x49424D00  # "IBM": libtpms, the emulator under swtpm
_POINT_BYTES = 32


@dataclass(frozen=True, slots=True)
class HardwareKey:
    """What makes a lease key again in the TPM that made it: a number, its end, and its point.

    None of it is secret: without that TPM it is good for nothing.
    """

    seed: bytes
    clock_limit_ms: int
    reset_limit: int
    x: bytes
    y: bytes


class DeviceTpm:
    """The TPM at ``address`` (empty: the computer's own); connected for one act at a time."""

    def __init__(self, address: str = "") -> None:
        self._address = address

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Tpm]:
        from modelseal.tpm2.chip import connect

        with connect(self._address) as tpm:
            yield tpm

    @contextlib.contextmanager
    def _counting(self) -> Iterator[Tpm]:
        """As ``_connected``; afterwards the TPM's clock is stored, whatever happened.

        A TPM stores it by itself at least every 70 minutes. The emulator does not, but only with
        what else it stores, so it is asked to as at an orderly shutdown.
        """
        from modelseal.tpm2.chip import state

        with self._connected() as tpm:
            try:
                yield tpm
            finally:
                with contextlib.suppress(KeyStoreUnavailable, TpmFailed):
                    if state.get_property(tpm, state.PROPERTY_MANUFACTURER) == _SOFTWARE_TPM:
                        state.shutdown(tpm)

    def clock(self) -> Clock:
        """The TPM's clock and how often it was reset; ``KeyStoreUnavailable`` without one."""
        from modelseal.tpm2.chip import state

        with self._connected() as tpm:
            return state.read_clock(tpm)[1]

    def certificates(self) -> list[bytes]:
        """The endorsement certificate that is used here; empty where the TPM holds none."""
        from modelseal.tpm2.chip import endorsement

        with self._connected() as tpm:
            found = endorsement.find(tpm)[0].certificate
        return [] if found is None else [found]

    def attestation_point(self, seed: bytes) -> tuple[bytes, bytes]:
        """The public point of the attestation key of ``seed``."""
        with self._connected() as tpm, _attestation(tpm, seed) as key:
            return _point(key.public)

    def activate(self, seed: bytes, blob: bytes, encrypted: bytes) -> bytes:
        """What a credential for this TPM and that attestation key holds.

        ``TpmFailed`` for one that was made for another TPM or key.
        """
        from modelseal.tpm2.chip import attesting, endorsement

        with self._connected() as tpm:
            found = endorsement.find(tpm)[0]
            with _attestation(tpm, seed) as key, endorsement.loaded(tpm, found) as ek:
                return attesting.activate_credential(tpm, key, ek, ek.public, blob, encrypted)

    def make(self, seed: bytes, seconds: int, resets: int) -> HardwareKey:
        """A key that answers for ``seconds`` from now and at most ``resets`` resets from now."""
        from modelseal.tpm2.chip import state

        with self._counting() as tpm:
            now = state.read_clock(tpm)[1]
            limit, last = now.clock + seconds * 1000, now.reset_count + resets
            with _lease_key(tpm, HardwareKey(seed, limit, last, b"", b"")) as key:
                x, y = _point(key.public)
        return HardwareKey(seed, limit, last, x, y)

    def collector(self, seed: bytes) -> Collector:
        """What quotes this TPM's registers by the attestation key of ``seed``."""
        from modelseal.attest.collect.tpm2 import Tpm2Collector

        return Tpm2Collector(self._address, seed=seed)

    def state_of(self, key: HardwareKey, seed: bytes, bound: bytes) -> tuple[bytes, bytes]:
        """The statement of the attestation key of ``seed`` about ``key``, and its signature.

        ``LeaseKeyEnded`` when this TPM has no such key (any more).
        """
        from modelseal.tpm2.chip import attesting

        with self._connected() as tpm, _lease_key(tpm, key) as subject:
            _same(subject, key)
            with _attestation(tpm, seed) as by:
                return attesting.certify(tpm, subject, by, bound)

    def exchange(self, key: HardwareKey, x: bytes, y: bytes) -> bytes:
        """The shared x coordinate of ``key`` and the point, over an encrypted session.

        ``LeaseKeyEnded`` says whether the time, the resets or the TPM itself are over.
        """
        from modelseal.tpm2.chip import policy_session, using

        with self._counting() as tpm, _lease_key(tpm, key) as loaded:
            _same(loaded, key)
            with policy_session(tpm, loaded, loaded.public) as session:
                try:
                    _satisfy(session, key)
                    allowed = session.use(secret_answer=True)
                    return using.exchange(tpm, loaded, x, y, (allowed,))
                except (KeyPolicyFailed, TpmFailed) as error:
                    raise _ended(tpm, key, error) from None


def _satisfy(session: object, key: HardwareKey) -> None:
    """The assertions of ``attest.verify.tpm2.lease_policy``, in its order."""
    from modelseal.tpm2.chip import policies
    from modelseal.tpm2.wire.codec import u32, u64
    from modelseal.tpm2.wire.codes import Operation, TimeField

    limit, last = u64(key.clock_limit_ms), u32(key.reset_limit)
    policies.counter_timer(session, limit, TimeField.CLOCK, Operation.UNSIGNED_LESS)  # type: ignore[arg-type]
    operation = Operation.UNSIGNED_LESS_OR_EQUAL
    policies.counter_timer(session, last, TimeField.RESET_COUNT, operation)  # type: ignore[arg-type]


def _ended(tpm: Tpm, key: HardwareKey, error: KeyPolicyFailed | TpmFailed) -> Exception:
    from modelseal.tpm2.chip import state
    from modelseal.tpm2.chip.codes import Rc, is_rc

    if isinstance(error, TpmFailed) and not is_rc(error, Rc.POLICY):
        return error
    now = state.read_clock(tpm)[1]
    verdict = "time_over" if now.clock >= key.clock_limit_ms else "resets_over"
    return LeaseKeyEnded("the TPM refuses to use the key", verdict=verdict)


@contextlib.contextmanager
def _lease_key(tpm: Tpm, key: HardwareKey) -> Iterator[Loaded]:
    from modelseal.attest.verify.tpm2 import lease_template
    from modelseal.tpm2.chip import objects
    from modelseal.tpm2.wire.codes import Hierarchy
    from modelseal.tpm2.wire.templates import seeded

    template = seeded(lease_template(key.clock_limit_ms, key.reset_limit), key.seed)
    with objects.primary(tpm, Hierarchy.OWNER, template) as loaded:
        yield loaded


@contextlib.contextmanager
def _attestation(tpm: Tpm, seed: bytes) -> Iterator[Loaded]:
    from modelseal.tpm2.chip import objects
    from modelseal.tpm2.wire import templates
    from modelseal.tpm2.wire.codes import Hierarchy

    template = templates.seeded(templates.attestation_key(), seed)
    with objects.primary(tpm, Hierarchy.ENDORSEMENT, template) as loaded:
        yield loaded


def _same(loaded: Loaded, key: HardwareKey) -> None:
    if _point(loaded.public) != (key.x, key.y):
        raise LeaseKeyEnded("the TPM was cleared, or is another one", verdict="another_tpm")


def _point(public: Public) -> tuple[bytes, bytes]:
    from modelseal.tpm2.wire.public import Ecc

    body = public.body
    if not isinstance(body, Ecc):
        raise KeyStoreUnavailable("the TPM made a key of another kind")
    return body.x.rjust(_POINT_BYTES, b"\0"), body.y.rjust(_POINT_BYTES, b"\0")
