"""The device's identity: its signing key and storage key, in ``device.key``.

They are trait-wrapped in the file, or a TPM's, which alone can use what is in the file. ``create``
makes an identity for this computer, ``unlock`` opens it again where enough of the enrolled traits
are, or where its TPM is; the two undo each other. A signing key in a TPM never leaves it; all other
keys live in this process's memory only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from modelseal import cbor, device
from modelseal.cbor import CborInvalid
from modelseal.crypto.signing import Signer, SigningKey
from modelseal.device import Traits, Unwrapped
from modelseal.errors import ConfigInvalid, DeviceChanged, InvalidBytes, StateDamaged

_STORAGE_BYTES = 32
_TPM_MAGIC = b"\x89MST1\r\n\x1a"
FILE = "file"
TPM2 = "tpm2"


@dataclass(frozen=True, slots=True)
class Identity:
    """An unlocked device: it can sign requests and open ``lease.key``."""

    signer: Signer
    storage_key: bytes = field(repr=False)
    copyable: bool
    kind: str = FILE

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
    opened: Unwrapped | None = field(repr=False)
    traits: Traits | None = field(repr=False)

    def refreshed(self, random: Callable[[int], bytes], *, contact: bool) -> bytes | None:
        """The ``device.key`` to store now, None when the stored one is right.

        Without ``contact`` a changed trait is a step of drift; ``DeviceChanged`` when it is one
        step too many. Keys in a TPM are bound to no trait.
        """
        if self.opened is None or self.traits is None:
            return None
        new = device.rewrap(self.opened, self.traits.readings, random=random, contact=contact)
        return None if new is None else new.data


def create(
    traits: Callable[[], Traits], random: Callable[[int], bytes], uri: str | None = None
) -> tuple[Identity, bytes]:
    """A fresh identity and its ``device.key`` for this computer.

    ``uri`` None wraps it under the computer's ``traits``; ``tpm2:...`` makes it in that TPM, or
    raises ``KeyStoreUnavailable``. ``ConfigInvalid`` for another place.
    """
    if uri is not None:
        return _create_in_tpm(uri, random)
    signer, storage = SigningKey.generate(), random(_STORAGE_BYTES)
    secret = cbor.encode({"signing": signer.to_pkcs8(), "storage": storage})
    wrapped = device.wrap(secret, traits().readings, random=random)
    return Identity(signer, storage, wrapped.copyable), wrapped.data


def check_uri(uri: str) -> str:
    """``uri`` itself when a device's key can lie there; else ``ConfigInvalid``."""
    if not uri.startswith(f"{TPM2}:"):
        raise ConfigInvalid("a device's key lies in its state folder, or in a TPM: tpm2:")
    from modelseal.keys.tpm2 import device as tpm_device

    tpm_device.parse(uri)
    return uri


def _create_in_tpm(uri: str, random: Callable[[int], bytes]) -> tuple[Identity, bytes]:
    from modelseal.keys.tpm2 import device as tpm_device

    made, data = tpm_device.make(check_uri(uri), random)
    return Identity(made.signer, made.storage, copyable=False, kind=TPM2), data


def create_passing(random: Callable[[int], bytes]) -> Identity:
    """An identity for one question, stored nowhere."""
    return Identity(SigningKey.generate(), random(_STORAGE_BYTES), copyable=True)


def kind_of(data: bytes) -> str:
    """``tpm2`` when a TPM keeps the keys of this ``device.key``, else ``file``."""
    return TPM2 if data.startswith(_TPM_MAGIC) else FILE


def uri_of(data: bytes, path: str) -> str | None:
    """Where the keys of this ``device.key`` were made; None for the file itself."""
    if kind_of(data) == FILE:
        return None
    from modelseal.keys.tpm2 import device as tpm_device

    return tpm_device.uri_in(data, path)


def unlock(
    data: bytes,
    traits: Callable[[], Traits],
    path: str,
    *,
    uri: str | None = None,
    policy: bytes | None = None,
) -> Unlocked:
    """The identity in ``data``.

    Of a trait-wrapped one ``DeviceChanged`` says what is missing. Of one in a TPM (the one at
    ``uri``, default where it was made) ``KeyOfAnotherTpm``, ``TpmCleared``, ``KeyPolicyFailed`` or
    ``KeyStoreUnavailable`` say why it does not answer; ``policy`` are signed approvals of its
    state. ``StateDamaged`` for other bytes.
    """
    if kind_of(data) == FILE:
        return _unlock_file(data, traits(), path)
    from modelseal.keys.tpm2 import device as tpm_device

    found = tpm_device.open_(data, path, uri=uri, policy=policy)
    return Unlocked(Identity(found.signer, found.storage, copyable=False, kind=TPM2), None, None)


def _unlock_file(data: bytes, traits: Traits, path: str) -> Unlocked:
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
