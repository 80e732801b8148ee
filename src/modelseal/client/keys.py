"""Data keys, from the lease or from a key release, into memory that is wiped.

Software leases carry the keys, sealed to the KEM key in ``lease.key``; they are opened once per
run (``docs/adr/0122-keys-of-a-lease-are-opened-once-per-run.md``). Online leases carry none:
one round trip fetches them under a KEM key that never leaves this process, for as long as the
lease runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from modelseal.client import bundles, hardware, releases
from modelseal.client.core import Core, Held
from modelseal.client.opening import is_online, open_claims
from modelseal.client.state import LEASE
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import KeyNotInLease, LeaseExpired, StateDamaged
from modelseal.license import lease_keys, tokens
from modelseal.license.claims import LeaseClaims
from modelseal.license.lease_keys import DataKeys
from modelseal.memory import SecretBytes
from modelseal.strict_json import b64u

_READS = 3


def open_lease(core: Core, held: Held) -> DataKeys:
    """Every data key that the lease on this device carries, its bundle's included.

    Raises ``StateDamaged`` when ``lease.key`` does not belong to ``lease.jwt``, ``LeaseExpired``
    when its keys were erased, ``LeaseKeyEnded`` when the TPM says so, ``KeyStoreUnavailable`` when
    it does not answer, ``DeviceChanged``.
    """
    for _ in range(_READS):  # another process may be replacing both files right now
        lease = held.lease
        if lease is None:
            raise KeyNotInLease("there is no lease")
        me = core.unlock()
        stored = core.store.lease_keys(me)
        secret = stored.for_nonce(lease.request_nonce)
        if secret is not None:
            if held.lease_token is not None:  # its signing key may end before the lease does
                lease = replace(lease, exp=tokens.signed_end(held.lease_token))
            kem = KemPrivateKey(secret.kem)
            keys = open_claims(lease, kem, hardware.opener(core, lease, secret))
            stored.wipe()
            return keys | bundles.open_keys(core, lease, keys)
        held = core.held()
    if stored.current is None:  # the clock had shown the lease's end
        raise LeaseExpired("the lease's keys were erased", path=str(core.store.path / LEASE))
    raise StateDamaged(
        "the lease's keys belong to another lease", path=str(core.store.path / LEASE)
    )


def _pick_opened(
    core: Core, lease: LeaseClaims, file_id: bytes, wanted: list[int]
) -> dict[int, SecretBytes] | None:
    """The keys as this run opened them before, while ``lease.key`` still holds what opens them."""
    found = core.run_keys.pick(lease.jti, file_id, wanted)
    if found is None:
        return None
    me, file = core.unlock(), core.store.lease_key_file()
    if core.run_keys.is_opened_by(file):
        return found
    if core.store.lease_keys(me).for_nonce(lease.request_nonce):
        core.run_keys.note_opened_by(lease.jti, file)
        return found
    for secret in found.values():  # erased meanwhile, by whichever process
        secret.close()
    core.run_keys.wipe()
    return None


def pick(core: Core, held: Held, file_id: bytes, sections: Iterable[int]) -> dict[int, SecretBytes]:
    """The data keys of ``sections`` of one file, each in memory of its own that is wiped.

    Raises ``KeyNotInLease`` when one of them is not there; then none is given.
    """
    lease = held.lease
    if lease is None:
        raise KeyNotInLease("there is no lease")
    wanted = sorted(set(sections))
    if is_online(lease):
        return releases.pick(core, lease, file_id, wanted)
    before = _pick_opened(core, lease, file_id, wanted)
    if before is not None:
        return before
    with lease_keys.wiped(open_lease(core, held)) as found:
        missing = [section for section in wanted if (file_id, section) not in found]
        if missing:
            raise KeyNotInLease("no key for a section", file=b64u(file_id), sections=missing)
        if lease.hardware is None:  # a TPM is asked each time: it may say that the lease is over
            core.run_keys.keep(lease.jti, {at: key for at, key in found.items() if at[1] >= 0}, ())
        return {section: SecretBytes(found[file_id, section]) for section in wanted}


def file_ids(core: Core, held: Held) -> frozenset[bytes] | None:
    """The files whose keys the lease carries; None where keys come at each run."""
    if held.lease is None or is_online(held.lease):
        return None
    with lease_keys.wiped(open_lease(core, held)) as found:
        return frozenset(file_id for file_id, section in found if section >= 0)
