"""What stands in a wrapped key file in place of a private key that is in hardware: where it is.

``encode`` and ``decode`` undo each other. Normative: ``docs/spec/keys.md``, section 13. The public
half stands beside the URI and is wrapped with it, so that no other key in the token is taken for
this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from cryptography.hazmat.primitives.serialization import load_der_public_key

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.crypto.signing import ALGORITHMS, SigningKey
from modelseal.errors import InvalidBytes, KeyStoreUnavailable

MAGIC = b"\x89MSR1\r\n\x1a"
VERSION = 1
MAX_BYTES = 8192
_PREFIX = MAGIC + bytes([VERSION])


@dataclass(frozen=True, slots=True)
class Reference:
    """The key of ``alg`` at ``uri``, whose public half is ``public`` (DER)."""

    uri: str
    alg: str
    public: bytes


def encode(found: Reference) -> bytes:
    """The bytes that are wrapped in place of a private key."""
    return _PREFIX + cbor.encode({"uri": found.uri, "alg": found.alg, "public": found.public})


def is_reference(data: bytes) -> bool:
    """True when ``data`` begins like what ``encode`` writes."""
    return data.startswith(_PREFIX)


def decode(data: bytes) -> Reference:
    """The reference in ``data``; ``InvalidBytes`` for anything else."""
    try:
        value: Any = cbor.decode(data[len(_PREFIX) :], max_bytes=MAX_BYTES)
    except CborInvalid as error:
        raise InvalidBytes(error.detail) from None
    if not is_reference(data) or not isinstance(value, dict):
        raise InvalidBytes("this is no reference to a key")
    uri, alg, public = (value.get(name) for name in ("uri", "alg", "public"))
    good = isinstance(uri, str) and isinstance(public, bytes) and alg in ALGORITHMS
    if not good or len(value) != 3:
        raise InvalidBytes("the members of a reference to a key are others")
    return Reference(str(uri), str(alg), bytes(public or b""))


def absent(found: Reference) -> SigningKey:
    """The key by its public half alone: it tells its id and signs nothing."""
    return SigningKey(found.alg, _Elsewhere(found))


def is_absent(key: SigningKey) -> bool:
    """True for a key that ``absent`` made."""
    return isinstance(key._private, _Elsewhere)


class _Elsewhere:
    """Stands for a private key that is in hardware, which nobody has opened."""

    def __init__(self, found: Reference) -> None:
        self._found = found

    def public_key(self) -> Any:
        """The public half."""
        try:
            return load_der_public_key(self._found.public)
        except Exception:  # noqa: BLE001 - whatever the parser says, the bytes are no key
            raise InvalidBytes("the public half in a reference is no key") from None

    def sign(self, *_: object) -> NoReturn:
        """``KeyStoreUnavailable``."""
        raise KeyStoreUnavailable("the key is in hardware that is not open", uri=self._found.uri)

    def private_bytes(self, *_: object) -> NoReturn:
        """``KeyStoreUnavailable``."""
        raise KeyStoreUnavailable("the key never leaves its hardware", uri=self._found.uri)
