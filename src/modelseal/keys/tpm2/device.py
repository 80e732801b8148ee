"""A device's keys in its TPM: a signing key, made there and never exportable, and a storage key.

``make`` and ``open_`` undo each other in the same TPM. The signing key signs ES256 inside the TPM,
one connection for each signature, so that several processes share an emulator. The storage key is
32 random bytes, sealed; opened, it lies in this process's memory as long as the identity does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from modelseal.crypto import jwk as jwks
from modelseal.crypto.jwk import Jwk
from modelseal.errors import ConfigInvalid, KeyStoreUnavailable, StateDamaged, TpmFailed
from modelseal.keys.tpm2 import approvals, authority_at, keyfile, seal, unseal
from modelseal.keys.tpm2.approvals import Approval
from modelseal.keys.tpm2.keyfile import SIGNING, STORAGE, KeyFile
from modelseal.keys.tpm2.root import (
    TIMEOUT_SECONDS,
    Root,
    allowed,
    bind,
    endorsement_name,
    opened,
    rooted,
)
from modelseal.keys.tpm2.uri import DEFAULT_FILE, TpmUri, parse_uri
from modelseal.strict_json import b64u
from modelseal.tpm2.chip import connect, objects, using
from modelseal.tpm2.chip.objects import Loaded
from modelseal.tpm2.chip.session import PASSWORD, Authorization
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.codes import Curve
from modelseal.tpm2.wire.public import Ecc, Public

STORAGE_BYTES = 32
POLICY_FILE = "device.key" + approvals.SUFFIX


class TpmSigner:
    """A signing key in a TPM. See ``crypto.signing.Signer``."""

    __slots__ = ("_approved", "_context", "_file", "_path", "_uri", "alg", "jwk", "kid")

    def __init__(
        self, file: KeyFile, uri: TpmUri, path: str, approved: tuple[Approval, ...]
    ) -> None:
        self.alg = "ES256"
        self.jwk = public_jwk(file.objects[SIGNING].parsed)
        self.kid = jwks.thumbprint(self.jwk)
        self._file = file
        self._uri = uri
        self._path = path
        self._approved = approved
        self._context: bytes | None = None

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data`` in JOSE form.

        Raises ``KeyPolicyFailed``, ``TpmCleared``, ``KeyOfAnotherTpm``, ``KeyStoreUnavailable``.
        """
        digest = hashlib.sha256(data).digest()
        quick = None if self._file.pcrs or self._context is None else self._sign_again(digest)
        if quick is not None:
            return quick
        with self.loaded() as (root, key), self._auth(root) as auth:
            self._context = objects.save_context(root.tpm, key.handle)
            return using.sign(root.tpm, key, digest, auth).jose()

    def _sign_again(self, digest: bytes) -> bytes | None:
        """As ``sign``, by the key as it was loaded before; None since the TPM was reset."""
        context, public = self._context or b"", self._file.objects[SIGNING].parsed
        with connect(self._uri.address, timeout_seconds=TIMEOUT_SECONDS) as tpm:
            try:
                key = objects.load_context(tpm, context, public)
            except TpmFailed:
                return None
            with tpm.flushing(key.handle):
                return using.sign(tpm, key, digest).jose()

    @contextmanager
    def loaded(self) -> Iterator[tuple[Root, Loaded]]:
        """The signing key in its TPM, for an attestation key there to certify it."""
        with rooted(self._uri, self._file, path=self._path) as root:
            made = self._file.objects[SIGNING]
            with opened(root, made, self._path) as key:
                yield root, key

    @contextmanager
    def _auth(self, root: Root) -> Iterator[Authorization]:
        if not self._file.pcrs:
            yield PASSWORD  # nothing here is secret, and the server checks the signature
            return
        with allowed(root, self._file, self._approved, secret=False) as auth:
            yield auth

    def __repr__(self) -> str:
        return f"TpmSigner({self.alg}, kid={self.kid[:8]}…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key cannot be pickled or copied")


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """The keys of a device whose TPM is here and in an allowed state."""

    signer: TpmSigner
    storage: bytes = field(repr=False)


def make(uri: str, random: Callable[[int], bytes]) -> tuple[DeviceKeys, bytes]:
    """Fresh keys in the TPM at ``uri``, and the ``device.key`` that only this TPM opens."""
    parsed = parse(uri)
    authority = authority_at(parsed, None)
    storage = random(STORAGE_BYTES)
    with rooted(parsed) as root:
        bound = bind(root, parsed, authority)
        template = templates.signing_key(bound.policy)
        made = {
            SIGNING: objects.create(root.tpm, root.key, template),
            STORAGE: seal(root, storage, bound.policy),
        }
        if not made[SIGNING].parsed.has(templates.NEVER_EXPORTABLE):
            raise KeyStoreUnavailable("the TPM made another key than was asked for", uri=uri)
        file = KeyFile(
            uri=str(parsed),
            parent=root.key.public,
            endorsement=endorsement_name(root.tpm),
            objects=made,
            pcrs=parsed.pcrs,
            values=bound.values,
            authority=authority,
        )
    data = keyfile.encode(file)
    return open_(data, "device.key"), data


def open_(
    data: bytes, path: str, *, uri: str | None = None, policy: bytes | None = None
) -> DeviceKeys:
    """The keys in ``data``, from the TPM at ``uri`` (default: where it was when they were made).

    ``policy`` is the file of signed approvals beside it. Raises ``StateDamaged``, and as
    ``TpmSigner.sign`` does.
    """
    file = keyfile.decode(data, path)
    if SIGNING not in file.objects:
        raise StateDamaged("the file holds no device's keys", path=path)
    parsed = parse(file.uri if uri is None else uri)
    approved = () if policy is None else approvals.decode(policy, path + approvals.SUFFIX)
    with rooted(parsed, file, path=path) as root:
        storage = unseal(root, file, file.objects[STORAGE], approved, path)
    if len(storage) != STORAGE_BYTES:
        raise StateDamaged("the storage key has another length", path=path)
    return DeviceKeys(TpmSigner(file, parsed, path, approved), storage)


def uri_in(data: bytes, path: str) -> str:
    """The key URI under which the keys in ``data`` were made."""
    return keyfile.decode(data, path).uri


def public_jwk(public: Public) -> Jwk:
    """The P-256 key of ``public`` as a JWK; ``StateDamaged`` for anything else."""
    body = public.body
    if not isinstance(body, Ecc) or body.curve != Curve.P256:
        raise StateDamaged("no P-256 key")
    x, y = body.x.rjust(32, b"\0"), body.y.rjust(32, b"\0")
    return {"kty": "EC", "crv": "P-256", "x": b64u(x), "y": b64u(y)}


def parse(uri: str) -> TpmUri:
    """The parts of a device's key URI; ``ConfigInvalid``."""
    parsed = parse_uri(uri)
    if str(parsed.file) != DEFAULT_FILE:
        raise ConfigInvalid("a device's key lies in its state folder: its URI names no file")
    return parsed
