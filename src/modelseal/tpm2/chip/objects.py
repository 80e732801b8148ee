"""Objects in a TPM: made, loaded, looked at, kept across connections (part 3, 12, 24, 28)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from modelseal.errors import KeyStoreUnavailable
from modelseal.tpm2.chip.session import PASSWORD, Authorization
from modelseal.tpm2.chip.tpm import Ref, Tpm
from modelseal.tpm2.wire.codec import Reader, sized, u16, u32
from modelseal.tpm2.wire.codes import Alg, Command, Hierarchy
from modelseal.tpm2.wire.public import MAX_PUBLIC_BYTES, Public


@dataclass(frozen=True, slots=True)
class Loaded(Ref):
    """A loaded object. Its name was computed here from ``public``, not believed."""

    public: Public


@dataclass(frozen=True, slots=True)
class Made:
    """A new object as its parent keeps it: nothing in it is secret outside that TPM."""

    public: bytes
    private: bytes

    @property
    def parsed(self) -> Public:
        """The public area."""
        return Public.from_bytes(self.public)


@contextlib.contextmanager
def primary(
    tpm: Tpm, hierarchy: Hierarchy, template: Public, auth: Authorization = PASSWORD
) -> Iterator[Loaded]:
    """The primary key of ``template``: the same one each time until its hierarchy is cleared."""
    found = create_primary(tpm, hierarchy, template, auth)
    with tpm.flushing(found.handle):
        yield found


def create_primary(
    tpm: Tpm, hierarchy: Hierarchy, template: Public, auth: Authorization = PASSWORD
) -> Loaded:
    """As ``primary``; the caller flushes it."""
    body = _sensitive(b"") + sized(template.to_bytes()) + sized(b"") + u32(0)
    reply = tpm.execute(
        Command.CREATE_PRIMARY, (Ref.fixed(hierarchy),), body, (auth,), answer_handles=1
    )
    return _loaded(reply.handles[0], reply.parameters.sized(MAX_PUBLIC_BYTES))


def create(
    tpm: Tpm,
    parent: Ref,
    template: Public,
    secret: bytes = b"",
    auths: tuple[Authorization, ...] = (PASSWORD,),
) -> Made:
    """A new object under ``parent``: a key the TPM makes, or ``secret`` sealed in it.

    Give a session with ``hide`` when there is a secret, so that it does not pass in clear.
    """
    body = _sensitive(secret) + sized(template.to_bytes()) + sized(b"") + u32(0)
    reader = tpm.execute(Command.CREATE, (parent,), body, auths).parameters
    private = reader.sized()
    return Made(reader.sized(MAX_PUBLIC_BYTES), private)


@contextlib.contextmanager
def loaded(tpm: Tpm, parent: Ref, made: Made, auth: Authorization = PASSWORD) -> Iterator[Loaded]:
    """``made`` in the TPM; ``TpmFailed`` (integrity) when another parent made it."""
    found = load(tpm, parent, made, auth)
    with tpm.flushing(found.handle):
        yield found


def load(tpm: Tpm, parent: Ref, made: Made, auth: Authorization = PASSWORD) -> Loaded:
    """As ``loaded``; the caller flushes it."""
    body = sized(made.private) + sized(made.public)
    reply = tpm.execute(Command.LOAD, (parent,), body, (auth,), answer_handles=1)
    return _loaded(reply.handles[0], made.public)


@contextlib.contextmanager
def load_external(tpm: Tpm, public: Public) -> Iterator[Loaded]:
    """A foreign public key in the TPM, to check signatures with."""
    body = sized(b"") + sized(public.to_bytes()) + u32(Hierarchy.OWNER)
    reply = tpm.execute(Command.LOAD_EXTERNAL, (), body, answer_handles=1)
    with tpm.flushing(reply.handles[0]):
        yield Loaded(reply.handles[0], public.name, public)


def read_public(tpm: Tpm, handle: int) -> Loaded:
    """What lies at ``handle``; ``TpmFailed`` (handle) when nothing does."""
    reader = tpm.execute(Command.READ_PUBLIC, (Ref.fixed(handle),)).parameters
    return _loaded(handle, reader.sized(MAX_PUBLIC_BYTES))


def save_context(tpm: Tpm, handle: int) -> bytes:
    """A loaded object as bytes that this TPM loads again until its next reset."""
    reply = tpm.execute(Command.CONTEXT_SAVE, (Ref.fixed(handle),))
    return reply.parameters.rest()


def load_context(tpm: Tpm, context: bytes, public: Public) -> Loaded:
    """The object of ``save_context`` in the TPM again; the caller flushes it."""
    reply = tpm.execute(Command.CONTEXT_LOAD, (), context, answer_handles=1)
    return Loaded(reply.handles[0], public.name, public)


def persist(tpm: Tpm, found: Ref, handle: int, auth: Authorization = PASSWORD) -> None:
    """The loaded object stays at the persistent ``handle``; given its own handle, it leaves."""
    owner = Ref.fixed(Hierarchy.OWNER)
    tpm.execute(Command.EVICT_CONTROL, (owner, found), u32(handle), (auth,))


def _sensitive(secret: bytes) -> bytes:
    return sized(sized(b"") + sized(secret))


def _loaded(handle: int, public: bytes) -> Loaded:
    parsed = Public.from_bytes(public)
    if parsed.to_bytes() != public:
        raise KeyStoreUnavailable("the TPM describes a key in another form")
    return Loaded(handle, parsed.name, parsed)


def read_ticket(reader: Reader) -> bytes:
    """TPMT_TK_*: opaque bytes that this TPM made for itself."""
    tag, hierarchy = reader.u16(), reader.u32()
    return u16(tag) + u32(hierarchy) + sized(reader.sized(64))


NULL_HASH_TICKET = u16(0x8024) + u32(Hierarchy.NULL) + sized(b"")
NULL_SCHEME = u16(Alg.NULL)
