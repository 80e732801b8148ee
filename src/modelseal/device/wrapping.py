"""The device key at L0: a secret that opens only where enough of the enrolled traits are.

Tolerance is arithmetic here. The secret lies under a random content key; that key is wrapped once
per minimal qualifying set of traits (``trait_sets``). Nothing in the file tells whether a single
trait is right: a thief has to guess a whole set, and every guess costs one Argon2id. If no set
qualifies, the file is *copyable* and says so. It stops a copied folder, not code on the same
computer. Normative: ``docs/spec/device.md``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelseal import cbor
from modelseal.device import _wrapped, drift
from modelseal.device._wrapped import Wrapped
from modelseal.device.drift import NO_DRIFT, Drift
from modelseal.device.tolerance import DEFAULT_MIN_SCORE
from modelseal.device.trait_sets import KINDS, minimal_sets, stretched_kinds, to_kinds, to_mask
from modelseal.device.traits import WEIGHTS, Confidence, TraitKind, TraitReading
from modelseal.errors import DeviceChanged, MemoryUnavailable, Misuse, StateDamaged

Random = Callable[[int], bytes]
Stretch = Callable[[bytes, bytes], bytes]

MAX_CANDIDATES = 4
"""Readings of one kind that are tried at unwrap (several disks, several network cards)."""
MAX_STRETCHES = 32
"""Argon2id runs of one unwrap; unchanged hardware needs one, all sets of all kinds need 25."""
MAX_TRIES = 4096
_KEY_BYTES = 32
_NONCE = bytes(12)  # every key here is random or salted per file and used for one message
_SET_LABEL = b"modelseal device key set v1"
_SEEN_BYTES = 16


def rfc_9106_low_memory(password: bytes, salt: bytes) -> bytes:
    """32 bytes of Argon2id with the second recommended option of RFC 9106, section 4.

    3 iterations, 4 lanes, 64 MiB. Raises ``MemoryUnavailable`` when there is not that much.
    """
    kdf = Argon2id(salt=salt, length=_KEY_BYTES, iterations=3, lanes=4, memory_cost=65536)
    try:
        return kdf.derive(password)
    except MemoryError:
        raise MemoryUnavailable("64 MiB are needed to open the device key") from None


@dataclass(frozen=True, slots=True)
class WrappedSecret:
    """The file's bytes; ``copyable`` when no set of traits qualified."""

    data: bytes
    copyable: bool


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The secret and what is different now: ``changed`` kinds have another value, ``gone`` none."""

    secret: bytes = field(repr=False)
    copyable: bool
    enrolled: tuple[TraitKind, ...]
    changed: tuple[TraitKind, ...]
    gone: tuple[TraitKind, ...]
    drift: Drift


def wrap(
    secret: bytes,
    readings: Iterable[TraitReading],
    *,
    random: Random,
    min_score: float = DEFAULT_MIN_SCORE,
    weights: Mapping[TraitKind, int] = WEIGHTS,
    drifted: Drift = NO_DRIFT,
    stretch: Stretch = rfc_9106_low_memory,
) -> WrappedSecret:
    """``secret`` (1 to 65,536 bytes) wrapped for the computer of ``readings``.

    ``unwrap`` undoes it. Of several readings of a kind the first of high confidence is enrolled.
    ``random(n)`` gives n random bytes. ``drifted`` is carried inside, for ``rewrap``.
    """
    if not 1 <= len(secret) <= _wrapped.MAX_SECRET_BYTES:
        raise Misuse("a device secret has between 1 and 65536 bytes")
    values = {kind: found[0] for kind, found in _candidates(readings).items()}
    masks = minimal_sets(values, min_score=min_score, weights=weights) or [0]
    salt, content_key = random(_wrapped.SALT_BYTES), random(_KEY_BYTES)
    keys = _SetKeys(salt, stretch)
    slots = tuple(
        (mask, _seal(keys.derive(mask, [values[k] for k in to_kinds(mask)]), content_key, mask))
        for mask in masks
    )
    profile = _wrapped.PROFILE_RFC_9106_LOW_MEMORY if masks != [0] else _wrapped.PROFILE_NONE
    bare = Wrapped(profile, salt, to_mask(values), slots, b"")
    payload = AESGCM(content_key).encrypt(
        _NONCE, _inside(secret, values, drifted, random(_KEY_BYTES)), _wrapped.head(bare)
    )
    whole = Wrapped(profile, salt, bare.enrolled, slots, payload)
    return WrappedSecret(_wrapped.dump(whole), whole.copyable)


def unwrap(data: bytes, readings: Iterable[TraitReading]) -> bytes:
    """The secret of ``wrap``; raises as ``unwrap_and_compare`` does."""
    return unwrap_and_compare(data, readings).secret


def unwrap_and_compare(
    data: bytes, readings: Iterable[TraitReading], *, stretch: Stretch = rfc_9106_low_memory
) -> Unwrapped:
    """The secret of ``wrap`` and what moved since, when enough of the enrolled traits are here.

    Raises ``DeviceChanged`` (``traits``: enrolled kinds with no reading, ``enrolled``: all of
    them) when no set opens, ``StateDamaged`` when the bytes are not what ``wrap`` wrote.
    """
    wrapped = _wrapped.load(data)
    found = _candidates(readings)
    content_key = _open_any(wrapped, found, stretch)
    try:
        inside = AESGCM(content_key).decrypt(_NONCE, wrapped.payload, _wrapped.head(wrapped))
    except InvalidTag:
        raise StateDamaged("the wrapped device key was altered") from None
    secret, seen, drifted = _read_inside(inside)
    enrolled = to_kinds(wrapped.enrolled)
    gone = tuple(kind for kind in enrolled if kind not in found)
    changed = tuple(k for k in enrolled if k in found and not seen.matches(k, found[k]))
    return Unwrapped(secret, wrapped.copyable, enrolled, changed, gone, drifted)


def rewrap(
    opened: Unwrapped,
    readings: Iterable[TraitReading],
    *,
    random: Random,
    contact: bool,
    min_score: float = DEFAULT_MIN_SCORE,
    weights: Mapping[TraitKind, int] = WEIGHTS,
    stretch: Stretch = rfc_9106_low_memory,
) -> WrappedSecret | None:
    """The file to store after ``opened``, or None when the stored one is right as it is.

    With ``contact`` (the server just answered) drift begins anew and new kinds are enrolled.
    Without it a changed trait is one step of drift, and ``DeviceChanged`` is raised for a step
    too many (``drift.step``); a trait that is merely gone is no step, since it may come back.
    A kind that only an administrator can read is never added, so that one run as root does not
    lock the user out.
    """
    usable = [r for r in readings if not r.privileged or r.kind in opened.enrolled]
    if contact:
        after = NO_DRIFT
        sure = {r.kind for r in usable if r.confidence == Confidence.HIGH}
        added = sure - set(opened.enrolled)
        needed = bool(opened.changed or opened.gone or added) or opened.drift != NO_DRIFT
    else:
        after = drift.step(
            opened.drift,
            (*opened.changed, *opened.gone) if opened.changed else (),
            opened.enrolled,
            min_score=min_score,
            weights=weights,
        )
        needed = after != opened.drift
    if not needed:
        return None
    return wrap(
        opened.secret,
        usable,
        random=random,
        min_score=min_score,
        weights=weights,
        drifted=after,
        stretch=stretch,
    )


class _SetKeys:
    """Derives the key of a trait set; every Argon2id result is kept for the other sets."""

    def __init__(self, salt: bytes, stretch: Stretch) -> None:
        self._salt = salt
        self._stretch = stretch
        self._done: dict[bytes, bytes] = {}

    def derive(self, mask: int, values: Sequence[bytes], limit: int | None = None) -> bytes | None:
        """The key of set ``mask`` with ``values``; None when it takes more than ``limit`` runs."""
        named = list(zip(to_kinds(mask), values, strict=True))
        low = stretched_kinds(mask)
        weak = cbor.encode([[str(kind), value] for kind, value in named if kind in low])
        if low and weak not in self._done:
            if limit is not None and len(self._done) >= limit:
                return None
            self._done[weak] = self._stretch(weak, self._salt[:16])
        strong = [[str(kind), value] for kind, value in named if kind not in low]
        material = cbor.encode([strong, self._done[weak] if low else b""])
        info = _SET_LABEL + bytes([mask])
        return HKDF(hashes.SHA256(), _KEY_BYTES, salt=self._salt, info=info).derive(material)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Keyed digests of the enrolled values; they lie inside the sealed payload only."""

    key: bytes
    digests: Mapping[TraitKind, bytes]

    def matches(self, kind: TraitKind, values: Iterable[bytes]) -> bool:
        enrolled = self.digests.get(kind, b"")
        return any(hmac.compare_digest(_seen(self.key, kind, v), enrolled) for v in values)


def _seen(key: bytes, kind: TraitKind, value: bytes) -> bytes:
    message = kind.value.encode("ascii") + b"\x00" + value
    return hmac.new(key, message, hashlib.sha256).digest()[:_SEEN_BYTES]


def _candidates(readings: Iterable[TraitReading]) -> dict[TraitKind, list[bytes]]:
    ordered = sorted(readings, key=lambda r: r.confidence != Confidence.HIGH)
    found: dict[TraitKind, list[bytes]] = {}
    for reading in ordered:
        values = found.setdefault(reading.kind, [])
        value = reading.value.reveal()
        if value not in values:
            values.append(value)
    return found


def _seal(key: bytes | None, content_key: bytes, mask: int) -> bytes:
    assert key is not None  # noqa: S101 - derive has no limit at wrapping
    return AESGCM(key).encrypt(_NONCE, content_key, _wrapped.MAGIC + bytes([mask]))


def _open_any(wrapped: Wrapped, found: Mapping[TraitKind, list[bytes]], stretch: Stretch) -> bytes:
    keys = _SetKeys(wrapped.salt, stretch)
    for mask, slot, values in islice(_tries(wrapped, found), MAX_TRIES):
        key = keys.derive(mask, values, MAX_STRETCHES)
        if key is None:
            continue
        try:
            return AESGCM(key).decrypt(_NONCE, slot, _wrapped.MAGIC + bytes([mask]))
        except InvalidTag:
            continue
    enrolled = to_kinds(wrapped.enrolled)
    if wrapped.copyable:
        raise StateDamaged("the wrapped device key was altered")
    raise DeviceChanged(
        "too few of the enrolled traits are here",
        traits=[str(kind) for kind in enrolled if kind not in found],
        enrolled=[str(kind) for kind in enrolled],
    )


def _tries(
    wrapped: Wrapped, found: Mapping[TraitKind, list[bytes]]
) -> Iterator[tuple[int, bytes, tuple[bytes, ...]]]:
    """Every feasible set with the first reading of each kind, then with the other readings."""
    feasible = [(m, s) for m, s in wrapped.slots if all(kind in found for kind in to_kinds(m))]
    for mask, slot in feasible:
        yield mask, slot, tuple(found[kind][0] for kind in to_kinds(mask))
    for mask, slot in feasible:
        options = [found[kind][:MAX_CANDIDATES] for kind in to_kinds(mask)]
        for values in islice(product(*options), 1, None):
            yield mask, slot, values


def _inside(secret: bytes, values: Mapping[TraitKind, bytes], drifted: Drift, key: bytes) -> bytes:
    seen = {KINDS.index(kind): _seen(key, kind, value) for kind, value in values.items()}
    moved = to_mask(drifted.moved)
    return cbor.encode({1: secret, 2: key, 3: seen, 4: [drifted.steps, moved]})


def _read_inside(data: bytes) -> tuple[bytes, _Seen, Drift]:
    """The payload's parts; it is authentic, so anything odd was written by another release."""
    try:
        fields = cbor.decode(data, max_bytes=_wrapped.MAX_FILE_BYTES)
        steps, moved = fields[4]
        digests = {KINDS[number]: bytes(digest) for number, digest in fields[3].items()}
        secret, key = bytes(fields[1]), bytes(fields[2])
        return secret, _Seen(key, digests), Drift(int(steps), frozenset(to_kinds(int(moved))))
    except (cbor.CborInvalid, LookupError, TypeError, ValueError, AttributeError):
        raise StateDamaged("the wrapped device key has an unknown content") from None
