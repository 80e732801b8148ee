"""Key releases: the data keys of an online lease, fetched once and kept for the run.

``docs/adr/0078-released-keys-live-as-long-as-their-lease.md``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from modelseal.client import answering, asking, bundles, hardware, trusting
from modelseal.client.asking import Denied
from modelseal.client.core import Core, Held
from modelseal.client.identity import Identity
from modelseal.client.opening import is_online, open_claims
from modelseal.client.tpm import HardwareKey
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import (
    AnswerInvalid,
    DiskFull,
    EvidenceOutdated,
    KeyNotInLease,
    ModelsealError,
    StateNotWritable,
    StorageFailed,
    Unavailable,
)
from modelseal.license import lease_keys
from modelseal.license.claims import (
    KeyWish,
    LeaseClaims,
    ReleaseClaims,
    RequestClaims,
    TpmEvidence,
)
from modelseal.memory import SecretBytes
from modelseal.strict_json import b64u

_LOCK_SECONDS = 10.0
_RELEASE_SECONDS = 30.0
_MAX_FILES = 64


def pick(
    core: Core, lease: LeaseClaims, file_id: bytes, wanted: list[int]
) -> dict[int, SecretBytes]:
    """The keys as kept for this run; asked for once when they are not there yet."""
    run = core.run_keys
    found = run.pick(lease.jti, file_id, wanted)
    if found is not None:
        return found
    with run.asking:  # many threads load at once: one question is enough
        found = run.pick(lease.jti, file_id, wanted)
        if found is None:
            found = run.pick(release(core, file_id).jti, file_id, wanted)
    if found is None:
        raise KeyNotInLease("no key for a section", file=b64u(file_id), sections=wanted)
    return found


def at_its_lease(held: Held, lease: LeaseClaims) -> Held:
    """A release names the lease it is for, whatever number is noted beside it."""
    if held.record is None:
        return held
    record = msgspec.structs.replace(held.record, seq=lease.seq, prev=lease.jti)
    return replace(held, record=record)


def _worth_asking(core: Core, held: Held, file_id: bytes) -> list[bytes]:
    """This file, what was asked before, and what the catalog as last read grants; at most 64."""
    files = [file_id, *core.run_keys.files]
    catalog, license_ = core.stored_catalog(), held.license
    if catalog is not None and license_ is not None:
        names = frozenset(item.id for item in license_.ent)
        newest = catalog.newest(license_)
        files += [item.file_id for item in newest if item.granted_by(names)]
    return list(dict.fromkeys(files))[:_MAX_FILES]


@contextlib.contextmanager
def alone(core: Core) -> Iterator[None]:
    """No other process of this device renews meanwhile, which would make this question an old one.

    In a folder that cannot be locked the question is asked all the same.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(core.locked(_RELEASE_SECONDS))
        except (StateNotWritable, StorageFailed, DiskFull) as error:
            core.journal.write("not_locked", code=error.code)
        yield


def _refused(core: Core, me: Identity, denied: Denied) -> ModelsealError:
    """A denial of a key release, carried out; where the folder cannot be written, at least told."""
    core.run_keys.wipe()
    try:
        with core.locked(_LOCK_SECONDS):
            keys = asking.stored_keys(core, me)
            return answering.accept_denial(core, me, keys, denied, first=False)
    except Unavailable as error:
        core.journal.write("denial_not_stored", durable=True, code=error.code)
        return asking.error_of(denied.claims)


def release(core: Core, file_id: bytes) -> LeaseClaims:
    """The keys of one file, and of what else may be opened, are kept for this run.

    One round trip. Returns the lease they belong to. Raises the denial's error, ``KeyNotInLease``
    without an online lease, ``Unavailable`` errors.
    """
    me = core.unlock()
    with alone(core):
        held = core.held()
        lease = held.lease
        if lease is None or not is_online(lease):
            raise KeyNotInLease("there is no lease whose keys come at each run")
        files = _worth_asking(core, held, file_id)
        held = at_its_lease(held, lease)
        kem, nonce = KemPrivateKey.generate(), asking.fresh_nonce(core)
        key = hardware.run_key(core, held, lease)
        try:
            found, asked, key = _asked(core, me, held, files, kem, nonce, key)
        except Denied as denied:
            raise _refused(core, me, denied) from None
    claims = trusting.read_token(core, asking.text_of(found, "release"), ReleaseClaims)
    asking.check(claims, asked, me)
    if claims.lease != lease.jti:
        raise AnswerInvalid("keys for another lease")
    nested = None if key is None or claims.level < hardware.LEVEL else hardware.private(core, key)
    opened = open_claims(claims, kem, nested)
    keys = opened | bundles.open_keys(core, claims, opened, store=False)
    core.run_keys.keep(lease.jti, {at: key for at, key in keys.items() if at[1] >= 0}, files)
    lease_keys.wipe(keys)
    return lease


def _asked(
    core: Core,
    me: Identity,
    held: Held,
    files: list[bytes],
    kem: KemPrivateKey,
    nonce: str,
    key: HardwareKey | None,
) -> tuple[dict[str, Any], RequestClaims, HardwareKey | None]:
    """The answer, what was asked, and the TPM's key that the answer may be sealed to.

    The proof is made anew where the server wants it.
    """
    path = f"/v1/devices/{held.device_id}/key-releases"
    want = [KeyWish(file=b64u(item), sections=[]) for item in files]

    def ask(proof: TpmEvidence | None) -> tuple[dict[str, Any], RequestClaims]:
        asked = asking.claims(
            core, me, held, op="release", nonce=nonce, kem=kem.to_bytes(), want=want, tpm=proof
        )
        return asking.show(core, me, held, asked, "POST", path, seconds=_RELEASE_SECONDS)

    if key is None:
        return *ask(None), None
    try:
        return *ask(hardware.statement(core, me, nonce, kem, key)), key
    except EvidenceOutdated as error:
        credential = None
        if str(error.params.get("verdict", "")).startswith("key_"):
            key = hardware.make(core, hardware.told(core, held, error))
        else:
            credential = hardware.enrol(core, me, held)
            key = None if credential is None else key
    if key is None:
        return *ask(None), None
    return *ask(hardware.statement(core, me, nonce, kem, key, credential)), key


def refresh(core: Core) -> bool:
    """Whether keys were asked for anew, because the run's keys are of a lease that is replaced.

    Raises as ``release`` does; the old lease's keys are wiped either way.
    """
    run = core.run_keys
    lease = core.held(tolerant=True).lease
    if lease is None or not is_online(lease) or not run.files or run.lease == lease.jti:
        return False
    with run.asking:
        if run.lease == lease.jti:
            return False
        run.wipe()
        release(core, run.files[0])
    return True
