"""The device's identity: its signing key and storage key, trait-wrapped in ``device.key``.

``create`` makes one for this computer, ``unlock`` opens it again where enough of the enrolled
traits are; the two undo each other. The keys live in this process's memory only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from modelseal import cbor, device
from modelseal.cbor import CborInvalid
from modelseal.crypto.signing import SigningKey
from modelseal.device import Traits, Unwrapped
from modelseal.errors import DeviceChanged, InvalidBytes, StateDamaged

_STORAGE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """An unlocked device: it can sign requests and open ``lease.key``."""

    signer: SigningKey
    storage_key: bytes = field(repr=False)
    copyable: bool

    @property
    def kid(self) -> str:
        """The signing key's thumbprint: what leases are bound to."""
        return self.signer.kid

    def keyed_hash(self, *parts: str) -> bytes:
        """32 bytes that tell equal texts apart from others without showing them."""
        message = cbor.encode(["modelseal ask", *parts])
        return hmac.new(self.storage_key, message, hashlib.sha256).digest()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity cannot be pickled or copied")


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An identity and what changed on the computer since its file was written."""

    identity: Identity
    opened: Unwrapped = field(repr=False)
    traits: Traits = field(repr=False)

    def refreshed(self, random: Callable[[int], bytes], *, contact: bool) -> bytes | None:
        """The ``device.key`` to store now, None when the stored one is right.

        Without ``contact`` a changed trait is a step of drift; ``DeviceChanged`` when it is one
        step too many.
        """
        new = device.rewrap(self.opened, self.traits.readings, random=random, contact=contact)
        return None if new is None else new.data


def create(traits: Traits, random: Callable[[int], bytes]) -> tuple[Identity, bytes]:
    """A fresh identity and its ``device.key`` for the computer of ``traits``."""
    signer, storage = SigningKey.generate(), random(_STORAGE_BYTES)
    secret = cbor.encode({"signing": signer.to_pkcs8(), "storage": storage})
    wrapped = device.wrap(secret, traits.readings, random=random)
    return Identity(signer, storage, wrapped.copyable), wrapped.data


def create_passing(random: Callable[[int], bytes]) -> Identity:
    """An identity for one question, stored nowhere."""
    return Identity(SigningKey.generate(), random(_STORAGE_BYTES), copyable=True)


def unlock(data: bytes, traits: Traits, path: str) -> Unlocked:
    """The identity in ``data``; ``DeviceChanged`` says what is missing, else ``StateDamaged``."""
    try:
        opened = device.wrapping.unwrap_and_compare(data, traits.readings)
    except StateDamaged as error:
        raise StateDamaged(error.detail, path=path) from None
    except DeviceChanged as error:
        # Nothing in the file tells which value differs, so all that was enrolled may have.
        missing = error.params.get("traits") or error.params.get("enrolled")
        raise DeviceChanged(error.detail, traits=missing, path=path) from None
    try:
        value = cbor.decode(opened.secret, max_bytes=1 << 16)
        signer, storage = SigningKey.from_pkcs8(value["signing"]), value["storage"]
        if not isinstance(storage, bytes) or len(storage) != _STORAGE_BYTES:
            raise TypeError
    except (CborInvalid, InvalidBytes, KeyError, TypeError):
        raise StateDamaged("the device key has an unknown content", path=path) from None
    return Unlocked(Identity(signer, storage, opened.copyable), opened, traits)
