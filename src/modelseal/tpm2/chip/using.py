"""Keys that do their work inside the TPM: sign, exchange, unseal (part 3, 12, 14, 20)."""

from __future__ import annotations

from modelseal.errors import KeyStoreUnavailable
from modelseal.tpm2.chip.objects import NULL_HASH_TICKET, NULL_SCHEME, read_ticket
from modelseal.tpm2.chip.session import PASSWORD, Authorization
from modelseal.tpm2.chip.tpm import Ref, Tpm
from modelseal.tpm2.wire.attest import Signature
from modelseal.tpm2.wire.codec import Reader, sized
from modelseal.tpm2.wire.codes import Command

MAX_SECRET_BYTES = 128


def sign(tpm: Tpm, key: Ref, digest: bytes, auth: Authorization = PASSWORD) -> Signature:
    """The key's signature over a 32-byte SHA-256 ``digest``, by the key's own scheme."""
    body = sized(digest) + NULL_SCHEME + NULL_HASH_TICKET
    reader = tpm.execute(Command.SIGN, (key,), body, (auth,)).parameters
    return Signature.read(reader)


def exchange(
    tpm: Tpm, key: Ref, x: bytes, y: bytes, auths: tuple[Authorization, ...] = (PASSWORD,)
) -> bytes:
    """The shared x coordinate of the key and the point; full length, as ECDH defines it.

    Give a session with ``secret_answer``: the answer is the secret.
    """
    point = sized(x) + sized(y)
    reader = tpm.execute(Command.ECDH_ZGEN, (key,), sized(point), auths).parameters
    inner = Reader(reader.sized())
    found = inner.sized(66)
    if len(found) > len(x):
        raise KeyStoreUnavailable("the TPM answered with a point of another curve")
    return found.rjust(len(x), b"\0")


def unseal(tpm: Tpm, sealed: Ref, auths: tuple[Authorization, ...]) -> bytes:
    """The secret in ``sealed``; give a session with ``secret_answer``."""
    return tpm.execute(Command.UNSEAL, (sealed,), b"", auths).parameters.sized(MAX_SECRET_BYTES)


def verify_signature(tpm: Tpm, key: Ref, digest: bytes, signature: Signature) -> bytes:
    """A ticket by which this TPM says that the signature holds; ``TpmFailed`` (signature)."""
    body = sized(digest) + signature.to_bytes()
    reader = tpm.execute(Command.VERIFY_SIGNATURE, (key,), body).parameters
    return read_ticket(reader)
