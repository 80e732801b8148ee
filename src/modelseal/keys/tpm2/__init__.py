"""Key provider for TPM 2.0: a key-encryption key sealed in the TPM. Claims L2.

    kek = "tpm2:?file=kek.tpm2"                        sealed to this computer's TPM
    kek = "tpm2:?file=kek.tpm2&pcrs=sha256:7,11"       and to its measured state

``keys.create("tpm2:", base=folder)`` makes 32 random bytes, seals them and writes the key file; no
other TPM opens it. ``open_provider`` unseals them once, over an encrypted session, into locked
memory. The grammar stands in ``uri.py``, the file's form in ``keyfile.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from modelseal.errors import ConfigInvalid, KeyStoreUnavailable, OutputExists
from modelseal.keys import files
from modelseal.keys.envelope import KEY_BYTES
from modelseal.keys.held import HeldKey
from modelseal.keys.provider import Ask
from modelseal.keys.tpm2 import approvals, keyfile
from modelseal.keys.tpm2.keyfile import KEY, KeyFile
from modelseal.keys.tpm2.root import Root, allowed, bind, endorsement_name, opened, rooted
from modelseal.keys.tpm2.uri import TpmUri, parse_uri, write_pcrs
from modelseal.tpm2.chip import hmac_session, objects, using
from modelseal.tpm2.chip.objects import Made
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.public import Public
from modelseal.types import Level

OPEN_SECONDS = 60.0
RandomBytes = Callable[[int], bytes]


class TpmProvider(HeldKey):
    """A key that its TPM unsealed. See ``KeyProvider``."""

    __slots__ = ("_file",)

    def __init__(
        self, uri: str, key: bytes, file: KeyFile, random: RandomBytes = os.urandom
    ) -> None:
        super().__init__("tpm2", uri, key, Level.L2, random)
        self._file = file

    def describe(self) -> Mapping[str, object]:
        """Kind, URI, key id, level, and the registers it is bound to."""
        return {
            **super().describe(),
            "pcrs": write_pcrs(self._file.pcrs),
            "approvals": self._file.authority is not None,
        }

    def reveal(self) -> bytes:
        """A sealed key is in no backup: ``KeyStoreUnavailable``."""
        raise KeyStoreUnavailable("a key that a TPM keeps is not given out", uri=self.uri)


def open_provider(
    uri: str,
    *,
    ask: Ask | None = None,
    base: Path | None = None,
    random: RandomBytes = os.urandom,
) -> TpmProvider:
    """The provider of an existing key file.

    Raises ``InputMissing``, ``KeyPolicyFailed``, ``TpmCleared``, ``KeyOfAnotherTpm`` and
    ``KeyStoreUnavailable``.
    """
    parsed = parse_uri(uri)
    path = _resolve(parsed.file, base)
    file = keyfile.decode(files.read_secret(path, max_bytes=keyfile.MAX_BYTES), str(path))
    if KEY not in file.objects:
        raise KeyStoreUnavailable("the key file holds a device's keys", path=str(path))
    with rooted(parsed, file, path=str(path)) as root:
        approved = approvals_at(path.with_name(path.name + approvals.SUFFIX))
        key = unseal(root, file, file.objects[KEY], approved, str(path))
    return TpmProvider(uri, key, file, random)


def create(
    uri: str,
    *,
    ask: Ask | None = None,
    base: Path | None = None,
    random: RandomBytes = os.urandom,
) -> TpmProvider:
    """A fresh key, sealed; raises ``OutputExists`` when the key file exists."""
    parsed = parse_uri(uri)
    path = _resolve(parsed.file, base)
    if os.path.lexists(path):
        raise OutputExists("the file exists already", path=str(path))
    authority = authority_at(parsed, base)
    key = random(KEY_BYTES)
    with rooted(parsed) as root:
        bound = bind(root, parsed, authority)
        made = seal(root, key, bound.policy)
        file = KeyFile(
            uri=str(parsed),
            parent=root.key.public,
            endorsement=endorsement_name(root.tpm),
            objects={KEY: made},
            pcrs=parsed.pcrs,
            values=bound.values,
            authority=authority,
        )
        if unseal(root, file, made, (), str(path)) != key:
            raise KeyStoreUnavailable("the TPM gives back another key than it was given", uri=uri)
    files.write_new(path, keyfile.encode(file))
    return TpmProvider(uri, key, file, random)


def erase(uri: str, *, base: Path | None = None) -> None:
    """Afterwards there is no key file; without it the TPM has nothing to open."""
    path = _resolve(parse_uri(uri).file, base)
    files.erase(path)
    files.erase(path.with_name(path.name + approvals.SUFFIX))


def seal(root: Root, secret: bytes, policy: bytes) -> Made:
    """``secret`` (at most 128 bytes) sealed under the root and the policy, sent encrypted."""
    with hmac_session(root.tpm, root.key, root.key.public) as session:
        template = templates.sealed_secret(policy)
        return objects.create(root.tpm, root.key, template, secret, (session.use(hide=True),))


def unseal(
    root: Root,
    file: KeyFile,
    made: Made,
    approved: tuple[approvals.Approval, ...],
    path: str,
) -> bytes:
    """The inverse of ``seal``; ``KeyPolicyFailed`` in another state of the computer."""
    with opened(root, made, path) as found, allowed(root, file, approved, secret=True) as auth:
        return using.unseal(root.tpm, found, (auth,))


def authority_at(parsed: TpmUri, base: Path | None) -> Public | None:
    """The public key that the URI names to approve later states; None when it names none."""
    if parsed.authority is None:
        return None
    path = _resolve(parsed.authority, base)
    try:
        with path.open("rb") as source:
            data = source.read(4097)
    except OSError as error:
        raise ConfigInvalid(f"cannot be read: {error.strerror}", path=str(path)) from None
    return approvals.read_authority(data, str(path))


def approvals_at(path: Path) -> tuple[approvals.Approval, ...]:
    """The signed approvals in the policy file at ``path``; none where there is no such file."""
    try:
        with path.open("rb") as source:
            data = source.read(approvals.MAX_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise files.translated(error, path) from None
    return approvals.decode(data, str(path))


def _resolve(path: Path, base: Path | None) -> Path:
    return path if base is None else base / path


__all__ = [
    "TpmProvider",
    "approvals_at",
    "authority_at",
    "create",
    "erase",
    "open_provider",
    "seal",
    "unseal",
]
