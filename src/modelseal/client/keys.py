"""Data keys, from the lease or from a key release, into memory that is wiped.

Software leases carry the keys, sealed to the KEM key in ``lease.key``. Online leases carry none:
one round trip fetches them under a KEM key that never leaves this process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from modelseal.client import answering, asking, bundles, trusting
from modelseal.client.asking import Denied
from modelseal.client.core import Core, Held
from modelseal.client.state import LEASE
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import KeyNotInLease, SealedKeyInvalid, StateDamaged
from modelseal.license import lease_keys
from modelseal.license.claims import KeyWish, LeaseClaims, ReleaseClaims
from modelseal.license.lease_keys import Binding, DataKeys
from modelseal.memory import SecretBytes
from modelseal.strict_json import b64u
from modelseal.types import Enforcement

_LOCK_SECONDS = 10.0
_RELEASE_SECONDS = 30.0
_READS = 3


def open_lease(core: Core, held: Held) -> DataKeys:
    """Every data key that the lease on this device carries, its bundle's included.

    Raises ``StateDamaged`` when ``lease.key`` does not belong to ``lease.jwt``, ``DeviceChanged``.
    """
    for _ in range(_READS):  # another process may be replacing both files right now
        lease = held.lease
        if lease is None:
            raise KeyNotInLease("there is no lease")
        me = core.unlock()
        secret = core.store.lease_keys(me).for_nonce(lease.request_nonce)
        if secret is not None:
            keys = _open(lease, KemPrivateKey(secret.kem))
            return keys | bundles.open_keys(core, lease, keys)
        held = core.held()
    raise StateDamaged(
        "the lease's keys were erased or belong to another lease", path=str(core.store.path / LEASE)
    )


def release(core: Core, held: Held, wanted: Mapping[bytes, Sequence[int]]) -> DataKeys:
    """The data keys of ``wanted`` (file id to sections) for this run, from one round trip.

    Raises the denial's error, ``Unavailable`` errors.
    """
    me = core.unlock()
    kem = KemPrivateKey.generate()
    asked = asking.claims(
        core, me, held, op="release", nonce=asking.fresh_nonce(core), kem=kem.to_bytes(),
        want=[KeyWish(file=b64u(f), sections=sorted(s)) for f, s in sorted(wanted.items())],
    )  # fmt: skip
    path = f"/v1/devices/{held.device_id}/key-releases"
    try:
        found = asking.send(core, me, asked, "POST", path, seconds=_RELEASE_SECONDS)
    except Denied as denied:
        with core.locked(_LOCK_SECONDS):
            keys = asking.stored_keys(core, me)
            raise answering.accept_denial(core, me, keys, denied, first=False) from None
    claims = trusting.read_token(core, asking.text_of(found, "release"), ReleaseClaims)
    asking.check(claims, asked, me)
    opened = _open(claims, kem)
    return opened | bundles.open_keys(core, claims, opened)


def pick(core: Core, held: Held, file_id: bytes, sections: Iterable[int]) -> dict[int, SecretBytes]:
    """The data keys of ``sections`` of one file, each in memory of its own that is wiped.

    Raises ``KeyNotInLease`` when one of them is not there; then none is given.
    """
    lease = held.lease
    if lease is None:
        raise KeyNotInLease("there is no lease")
    wanted = sorted(set(sections))
    online = is_online(lease)
    found = release(core, held, {file_id: wanted}) if online else open_lease(core, held)
    missing = [section for section in wanted if (file_id, section) not in found]
    if missing:
        raise KeyNotInLease("no key for a section", file=b64u(file_id), sections=missing)
    return {section: SecretBytes(found[file_id, section]) for section in wanted}


def is_online(lease: LeaseClaims) -> bool:
    """Whether the keys come at each run instead of lying on the device."""
    return Enforcement(lease.enforcement) is Enforcement.ONLINE


def file_ids(core: Core, held: Held) -> frozenset[bytes] | None:
    """The files whose keys the lease carries; None where keys come at each run."""
    if held.lease is None or is_online(held.lease):
        return None
    return frozenset(file_id for file_id, section in open_lease(core, held) if section >= 0)


def _open(claims: LeaseClaims | ReleaseClaims, kem: KemPrivateKey) -> DataKeys:
    mine = [item for item in claims.keys if item.recipient == kem.kid]
    if claims.keys and not mine:
        raise SealedKeyInvalid("sealed to another KEM key")
    found: DataKeys = {}
    for item in mine:
        found.update(lease_keys.open_keys(item, kem, _binding(claims, item.level)))
    return found


def _binding(claims: LeaseClaims | ReleaseClaims, level: int) -> Binding:
    """What the keys in ``claims`` are sealed for: exactly this lease or release."""
    released = isinstance(claims, ReleaseClaims)
    return Binding(
        label="release" if released else "lease",
        product=claims.product,
        license=claims.lic,
        device=claims.sub,
        lease=claims.lease if isinstance(claims, ReleaseClaims) else claims.jti,
        seq=claims.seq,
        exp=claims.exp,
        level=level,
        jkt=claims.cnf.jkt,
        nonce=claims.request_nonce if released else None,
    )
