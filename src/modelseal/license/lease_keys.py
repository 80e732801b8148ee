"""Data keys on their way to one device: sealed to a KEM key of its request. Pure.

``open_keys(seal(keys, public, binding), private, binding) == keys``. What the keys are for stands
in the HPKE ``info``; the same ciphertext under another lease, device, level or time does not open.
Normative: ``docs/spec/tokens.md``, "Sealed keys".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec import Struct

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.crypto import hpke
from modelseal.crypto.hpke import InfoValue, KemOpener, KemPublicKey
from modelseal.crypto.hpke_p256 import P256PublicKey
from modelseal.errors import Misuse, SealedKeyInvalid
from modelseal.license.claims import SealedKeys
from modelseal.strict_json import JsonInvalid, b64u, unb64u
from modelseal.wiping import wipe_bytes

MAX_KEYS = 64
HARDWARE_SUITE = f"P256+{hpke.SUITE}"
BUNDLE_SECTION = -1
_FILE_ID_BYTES = 32
_KEY_BYTES = 32
_MAX_SECTION = 2**32 - 1
_MAX_PLAIN_BYTES = 16 * 1024

_NAMES = {
    "lease": (False, False, False),
    "release": (True, False, False),
    "attested-release": (True, True, True),
    "delegation": (True, True, True),
}
"""By label, whether nonce, transcript and result are there."""
DataKeys = dict[tuple[bytes, int], bytes]


class Binding(Struct, frozen=True):
    """What sealed keys are bound to. ``label`` is a name of ``_NAMES``.

    ``nonce`` (the request's) stands in all but a lease, ``transcript`` and ``result`` (digests) in
    what was attested; in a delegation ``lease`` and ``seq`` are its id and number. ``level`` is
    that of the keys, not of the lease; ``exp`` and ``seq`` are the token's (a release names the seq
    of its lease).
    """

    label: str
    product: str
    license: str
    device: str
    lease: str
    seq: int
    exp: int
    level: int
    jkt: str
    nonce: str | None = None
    transcript: bytes | None = None
    result: bytes | None = None

    def info(self) -> bytes:
        """The HPKE ``info``."""
        given = tuple(v is not None for v in (self.nonce, self.transcript, self.result))
        if _NAMES.get(self.label) != given:
            raise Misuse("the label is lease, release with a nonce, or an attested one with all")
        values: dict[str, InfoValue] = {
            "product": self.product,
            "license": self.license,
            "device": self.device,
            "lease": self.lease,
            "seq": self.seq,
            "exp": self.exp,
            "level": self.level,
            "jkt": self.jkt,
        }
        for name in ("nonce", "transcript", "result"):
            value = getattr(self, name)
            if value is not None:
                values[name] = value
        return hpke.info(self.label, values)

    def outer_info(self, kem: str) -> bytes:
        """The HPKE ``info`` of the hardware's layer round what is sealed to the KEM key ``kem``."""
        return hpke.info("hardware", {"inner": self.info(), "kem": kem})


class HardwareOpener(Protocol):
    """Whatever can take off the layer of a key in hardware, as long as that one answers."""

    @property
    def kid(self) -> str:
        """The thumbprint of the public key."""
        ...

    def open(self, ciphertext: bytes, info: bytes) -> bytes:
        """What is inside; ``SealedKeyInvalid``, or the hardware's own refusal."""
        ...


def seal(
    keys: Mapping[tuple[bytes, int], bytes],
    to: KemPublicKey,
    binding: Binding,
    hardware: P256PublicKey | None = None,
) -> SealedKeys:
    """At most 64 ``keys``, by file id and section, sealed to ``to``, and round that ``hardware``.

    A bundle key stands under the bundle's digest and ``BUNDLE_SECTION``.
    """
    return seal_listed(listed(keys), to, binding, hardware)


def listed(keys: Mapping[tuple[bytes, int], bytes]) -> bytes:
    """At most 64 ``keys`` as they are sealed, for whoever seals them to several; as secret."""
    if len(keys) > MAX_KEYS:
        raise Misuse(f"more than {MAX_KEYS} keys travel in a key bundle", limit=MAX_KEYS)
    for (file_id, section), key in keys.items():
        if not _is_entry(file_id, section, key):
            raise Misuse("a data key has 32 bytes, a file id of 32 bytes and a section")
    entries = [[file_id, section, bytes(key)] for (file_id, section), key in sorted(keys.items())]
    return cbor.encode(entries)


def seal_listed(
    entries: bytes, to: KemPublicKey, binding: Binding, hardware: P256PublicKey | None = None
) -> SealedKeys:
    """As ``seal``, of what ``listed`` gave."""
    ct = to.seal(entries, binding.info())
    if hardware is None:
        return SealedKeys(recipient=to.kid, suite=hpke.SUITE, level=binding.level, ct=b64u(ct))
    ct = hardware.seal(ct, binding.outer_info(to.kid))
    return SealedKeys(hardware.kid, HARDWARE_SUITE, binding.level, b64u(ct))


def open_keys(
    sealed: SealedKeys,
    opener: KemOpener,
    binding: Binding,
    hardware: HardwareOpener | None = None,
) -> DataKeys:
    """The keys by file id and section; ``SealedKeyInvalid`` for all that ``seal`` did not make.

    What was sealed to ``hardware`` too is opened by it first; its refusals leave as they are.
    """
    if sealed.suite != (hpke.SUITE if hardware is None else HARDWARE_SUITE):
        raise SealedKeyInvalid("an unknown suite")
    recipient = opener.kid if hardware is None else hardware.kid
    if sealed.recipient != recipient or sealed.level != binding.level:
        raise SealedKeyInvalid("sealed for another key or level")
    try:
        ct = unb64u(sealed.ct)
        if hardware is not None:
            ct = hardware.open(ct, binding.outer_info(opener.kid))
        plain = opener.open(ct, binding.info())
        entries = cbor.decode_secret(plain, max_bytes=_MAX_PLAIN_BYTES)
    except (JsonInvalid, CborInvalid):
        raise SealedKeyInvalid("no list of keys inside") from None
    return _entries(entries)


def wipe(keys: DataKeys) -> None:
    """``keys``, which nobody else has, hold zeros."""
    for key in keys.values():
        wipe_bytes(key)


@contextlib.contextmanager
def wiped(keys: DataKeys) -> Iterator[DataKeys]:
    """``keys``, which nobody else has, hold zeros as soon as the block ends."""
    try:
        yield keys
    finally:
        wipe(keys)


def _entries(entries: object) -> DataKeys:
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise SealedKeyInvalid("no list of keys inside")
    keys: DataKeys = {}
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != 3 or not _is_entry(*entry):
            raise SealedKeyInvalid("an entry is no file id, section and key")
        if (entry[0], entry[1]) in keys:
            raise SealedKeyInvalid("a key stands twice")
        keys[entry[0], entry[1]] = entry[2]
    return keys


def _is_entry(file_id: object, section: object, key: object) -> bool:
    return (
        isinstance(file_id, bytes)
        and len(file_id) == _FILE_ID_BYTES
        and isinstance(section, int)
        and not isinstance(section, bool)
        and BUNDLE_SECTION <= section <= _MAX_SECTION
        and isinstance(key, (bytes, bytearray))
        and len(key) == _KEY_BYTES
    )
