"""The storage root under which keys lie, and which TPM it is.

The root is made anew from its template each time: it needs no persistent room. A TPM that was
cleared makes another root and keeps its endorsement key; another TPM has neither.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from modelseal.errors import (
    KeyOfAnotherTpm,
    KeyPolicyFailed,
    KeyRefused,
    KeyStoreUnavailable,
    TpmCleared,
    TpmFailed,
)
from modelseal.keys.tpm2.approvals import Approval, find
from modelseal.keys.tpm2.keyfile import KeyFile
from modelseal.keys.tpm2.uri import TpmUri
from modelseal.tpm2.chip import Tpm, connect, hmac_session, objects, policies, policy_session
from modelseal.tpm2.chip import state as states
from modelseal.tpm2.chip.objects import Loaded, Made
from modelseal.tpm2.chip.session import Authorization, Session
from modelseal.tpm2.chip.using import verify_signature
from modelseal.tpm2.wire import templates
from modelseal.tpm2.wire.codec import digest
from modelseal.tpm2.wire.codes import Alg, Attribute, Hierarchy
from modelseal.tpm2.wire.policy import PcrSelection, Policy, pcr_digest
from modelseal.tpm2.wire.public import Public

TIMEOUT_SECONDS = 20.0
_STORAGE = Attribute.RESTRICTED | Attribute.DECRYPT | Attribute.FIXED_TPM


@dataclass(frozen=True, slots=True)
class Root:
    """A connected TPM with its storage root loaded."""

    tpm: Tpm
    key: Loaded


@contextlib.contextmanager
def rooted(uri: TpmUri, known: KeyFile | None = None, *, path: str = "") -> Iterator[Root]:
    """The TPM at ``uri`` and its root, which is the one of ``known``.

    Raises ``TpmCleared``, ``KeyOfAnotherTpm`` or ``KeyStoreUnavailable``.
    """
    with connect(uri.address, timeout_seconds=TIMEOUT_SECONDS) as tpm, _key(tpm, uri) as key:
        if known is not None and key.name != known.parent.name:
            raise _foreign(tpm, known, path)
        yield Root(tpm, key)


def endorsement_name(tpm: Tpm) -> bytes:
    """The name of the P-256 endorsement key; empty where the TPM does not let it be made."""
    template = templates.endorsement_p256()
    try:
        with objects.primary(tpm, Hierarchy.ENDORSEMENT, template) as key:
            return key.name
    except TpmFailed:
        return b""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a new key is bound to: its policy digest, and the registers' values as a digest."""

    policy: bytes = b""
    values: bytes = b""


def bind(root: Root, uri: TpmUri, authority: Public | None) -> Bound:
    """The policy of a new key: none, the registers as they are, or those or approved ones."""
    if not uri.pcrs:
        return Bound()
    values = pcr_digest(uri.pcrs, states.read_pcrs(root.tpm, uri.pcrs))
    if authority is None:
        return Bound(Policy().pcr(uri.pcrs, values).digest, values)
    return Bound(Policy().any_of(_branches(uri.pcrs, values, authority)).digest, values)


@contextlib.contextmanager
def opened(root: Root, made: Made, path: str) -> Iterator[Loaded]:
    """``made`` in the TPM; ``KeyStoreUnavailable`` when the file was altered."""
    try:
        found = objects.load(root.tpm, root.key, made)
    except TpmFailed as error:
        raise KeyStoreUnavailable("the TPM's key file was altered", path=path) from error
    with root.tpm.flushing(found.handle):
        yield found


@contextlib.contextmanager
def allowed(
    root: Root, file: KeyFile, approvals: tuple[Approval, ...], *, secret: bool
) -> Iterator[Authorization]:
    """What lets a key of ``file`` be used once: a salted session, or one that passed its policy.

    With ``secret`` the answer comes encrypted.
    """
    if not file.pcrs:
        with hmac_session(root.tpm, root.key, root.key.public) as session:
            yield session.use(secret_answer=secret)
        return
    with policy_session(root.tpm, root.key, root.key.public) as session:
        if file.authority is None:
            policies.pcr(session, file.pcrs)
        else:
            _pass_either(root, session, file, file.authority, approvals)
        yield session.use(secret_answer=secret)


def _pass_either(
    root: Root,
    session: Session,
    file: KeyFile,
    authority: Public,
    approvals: tuple[Approval, ...],
) -> None:
    """The registers are as when the key was made, or as the authority approved since."""
    values = states.read_pcrs(root.tpm, file.pcrs)
    policies.pcr(session, file.pcrs)
    if pcr_digest(file.pcrs, values) != file.values:
        fitting = [each for each in approvals if each.pcrs == file.pcrs]
        approval = find(fitting, values)
        if approval is None:
            raise KeyPolicyFailed("the computer's measured state is not an approved one")
        approved = approval.policy
        with objects.load_external(root.tpm, authority) as key:
            try:
                ticket = verify_signature(
                    root.tpm, key, digest(Alg.SHA256, approved), approval.signature
                )
            except TpmFailed:
                raise KeyPolicyFailed("the approval is not signed by the key's owner") from None
        policies.authorize(session, approved, authority.name, ticket)
    policies.any_of(session, _branches(file.pcrs, file.values, authority))


def _branches(pcrs: tuple[PcrSelection, ...], values: bytes, authority: Public) -> list[bytes]:
    return [
        Policy().pcr(pcrs, values).digest,
        Policy().authorize(authority.name).digest,
    ]


@contextlib.contextmanager
def _key(tpm: Tpm, uri: TpmUri) -> Iterator[Loaded]:
    if uri.parent is None:
        with objects.primary(tpm, Hierarchy.OWNER, templates.storage_root()) as key:
            yield key
        return
    key = objects.read_public(tpm, uri.parent)
    if not key.public.has(_STORAGE):
        raise KeyStoreUnavailable("what lies at the parent's handle is no storage key")
    yield key


def _foreign(tpm: Tpm, known: KeyFile, path: str) -> KeyRefused:
    """Another root under the same endorsement key: the owner's hierarchy was cleared."""
    if known.endorsement and endorsement_name(tpm) == known.endorsement:
        return TpmCleared("the TPM was cleared", path=path)
    return KeyOfAnotherTpm("the key was made in another TPM", path=path)
