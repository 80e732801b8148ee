"""NV indices: certificates, counters, small values that survive power cuts (part 3, section 31)."""

from __future__ import annotations

from dataclasses import dataclass

from modelseal.errors import TpmFailed
from modelseal.tpm2.chip.codes import Rc, is_rc
from modelseal.tpm2.chip.session import PASSWORD, Authorization
from modelseal.tpm2.chip.tpm import Ref, Tpm
from modelseal.tpm2.wire.codec import Reader, digest, sized, u16, u32
from modelseal.tpm2.wire.codes import Alg, Command, Hierarchy, NvAttribute

MAX_PART_BYTES = 1024
_MAX_INDEX_BYTES = 64 * 1024
OUR_COUNTER = NvAttribute.COUNTER | NvAttribute.AUTH_READ | NvAttribute.AUTH_WRITE
OUR_CHAIN = NvAttribute.EXTEND | NvAttribute.AUTH_READ | NvAttribute.AUTH_WRITE
OUR_VALUE = NvAttribute.AUTH_READ | NvAttribute.AUTH_WRITE


@dataclass(frozen=True, slots=True)
class Index(Ref):
    """An NV index that is defined; its name covers attributes and size."""

    attributes: NvAttribute
    size: int


def define(
    tpm: Tpm,
    handle: int,
    size: int,
    attributes: NvAttribute = OUR_VALUE,
    auth: Authorization = PASSWORD,
) -> Index:
    """A new index of ours, with an empty password and ``noDA``."""
    wanted = int(attributes | NvAttribute.NO_DA)
    public = u32(handle) + u16(Alg.SHA256) + u32(wanted) + sized(b"") + u16(size)
    owner = Ref.fixed(Hierarchy.OWNER)
    tpm.execute(Command.NV_DEFINE_SPACE, (owner,), sized(b"") + sized(public), (auth,))
    return read_index(tpm, handle)


def undefine(tpm: Tpm, index: Ref, auth: Authorization = PASSWORD) -> None:
    """The index is gone; a counter made again at its place goes on above every earlier value."""
    owner = Ref.fixed(Hierarchy.OWNER)
    tpm.execute(Command.NV_UNDEFINE_SPACE, (owner, index), b"", (auth,))


def read_index(tpm: Tpm, handle: int) -> Index:
    """What the index is; ``TpmFailed`` (handle) when there is none."""
    reader = tpm.execute(Command.NV_READ_PUBLIC, (Ref.fixed(handle),)).parameters
    public = reader.sized()
    inner = Reader(public)
    inner.u32()
    alg, attributes = inner.u16(), inner.u32()
    inner.sized(64)
    name = u16(alg) + digest(alg, public)
    return Index(handle, name, NvAttribute(attributes), inner.u16())


def find_index(tpm: Tpm, handle: int) -> Index | None:
    """The index at ``handle``, None when there is none."""
    try:
        return read_index(tpm, handle)
    except TpmFailed as error:
        if is_rc(error, Rc.HANDLE):
            return None
        raise


def increment(tpm: Tpm, index: Ref, auth: Authorization = PASSWORD) -> Index:
    """The counter is one higher, for ever."""
    tpm.execute(Command.NV_INCREMENT, (index, index), b"", (auth,))
    return read_index(tpm, index.handle)


def extend(tpm: Tpm, index: Ref, data: bytes, auth: Authorization = PASSWORD) -> Index:
    """The index holds the hash of what it held and ``data``; nothing ever brings that back."""
    tpm.execute(Command.NV_EXTEND, (index, index), sized(data), (auth,))
    return read_index(tpm, index.handle)


def write(tpm: Tpm, index: Index, data: bytes, auth: Authorization = PASSWORD) -> Index:
    """The index holds ``data`` from its start; the name of one that was not written yet changes."""
    for at in range(0, len(data) or 1, MAX_PART_BYTES):
        part = data[at : at + MAX_PART_BYTES]
        tpm.execute(Command.NV_WRITE, (index, index), sized(part) + u16(at), (auth,))
        index = read_index(tpm, index.handle)
    return index


def read(tpm: Tpm, index: Index, *, by_owner: bool = False) -> bytes:
    """The whole contents; ``by_owner`` reads with the owner's empty password."""
    if index.size > _MAX_INDEX_BYTES:
        return b""
    who = Ref.fixed(Hierarchy.OWNER) if by_owner else index
    found = b""
    while len(found) < index.size:
        length = min(MAX_PART_BYTES, index.size - len(found))
        body = u16(length) + u16(len(found))
        part = tpm.execute(Command.NV_READ, (who, index), body, (PASSWORD,)).parameters.sized()
        if not part:
            break
        found += part
    return found


def counter(tpm: Tpm, index: Index) -> int:
    """The value of a counter that was incremented at least once."""
    return int.from_bytes(read(tpm, index), "big")
