"""A sealed model seen from outside, then verified, then opened.

The order of checks is the format's: sizes, prologue, canonical form (``parse``); signatures with
the pinned keys, product, release (``verify_signatures``); key and commitment, leaf table, chunks
(``open_*``, ``read_*``). Each step has its own code until a key is used; from there on whatever is
wrong is ``ContainerDamaged``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelseal.container import _keys as keys
from modelseal.container import _limits as limits
from modelseal.container import _signatures as signatures
from modelseal.container._header import Header
from modelseal.container._layout import SectionLayout, layouts
from modelseal.container._prologue import Prologue, is_sealed
from modelseal.container._sections import SectionInfo
from modelseal.container._source import Progress, Source, fill, read, size_of
from modelseal.crypto.signing import VerifyKey
from modelseal.errors import (
    ContainerMalformed,
    ContainerTruncated,
    Misuse,
    NotFound,
    NotSealed,
    ReleaseTooOld,
    WrongProduct,
)

if TYPE_CHECKING:
    from modelseal.container._verified import VerifiedModel

_DIGEST_STEP = 1 << 20


def parse(source: Source, *, front_only: bool = False) -> SealedModel:
    """The sealed model in ``source``: consistent and canonical, nothing verified, no key used.

    With ``front_only`` the source need hold no more than the first ``front_bytes`` bytes, as in
    the middle of a download. Raises ``NotSealed``, ``ContainerTruncated``, ``ContainerVersion``,
    ``ContainerMalformed``, ``Unavailable``.
    """
    size = size_of(source)
    start = read(source, 0, min(size, limits.PROLOGUE_BYTES))
    if not is_sealed(start):
        raise NotSealed("the magic is missing")
    prologue = Prologue.from_bytes(start)
    _check_size(prologue, size, front_only)
    raw = start + read(
        source, limits.PROLOGUE_BYTES, prologue.leaf_table_offset - limits.PROLOGUE_BYTES
    )
    header_bytes = raw[limits.PROLOGUE_BYTES : prologue.signatures_offset]
    header = Header.from_bytes(header_bytes)
    places = layouts(prologue, header)
    found = signatures.decode(raw[prologue.signatures_offset :], header.signers)
    return SealedModel(source, prologue, header, places, start, header_bytes, found)


class SealedModel:
    """What a sealed model says about itself; made by ``parse``, believed by nobody yet."""

    def __init__(
        self,
        source: Source,
        prologue: Prologue,
        header: Header,
        places: tuple[SectionLayout, ...],
        raw_prologue: bytes,
        raw_header: bytes,
        signatures: tuple[bytes, ...],
    ) -> None:
        self.source = source
        self.prologue = prologue
        self.header = header
        self.prologue_hash = keys.prologue_hash(raw_prologue)
        self._places = places
        self._raw_prologue = raw_prologue
        self._raw_header = raw_header
        self._signatures = signatures

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}({self.product}/{self.model} release {self.release})"

    @property
    def file_id(self) -> bytes:
        """The 32 random bytes that no other sealing has."""
        return self.prologue.file_id

    @property
    def product(self) -> str:
        """The product it belongs to."""
        return self.header.product

    @property
    def model(self) -> str:
        """The model's id within the product."""
        return self.header.model

    @property
    def model_version(self) -> str:
        """The publisher's own version text."""
        return self.header.model_version

    @property
    def release(self) -> int:
        """A number that only grows."""
        return self.header.release

    @property
    def sections(self) -> tuple[SectionInfo, ...]:
        """The section table; section 0 is the encrypted index."""
        return self.header.sections

    @property
    def front_bytes(self) -> int:
        """How many bytes from the start suffice for everything that needs no chunk."""
        return self.prologue.front_bytes

    @property
    def file_bytes(self) -> int:
        """The exact size, without a CRC trailer."""
        return self.prologue.file_bytes

    @property
    def leaf_hash(self) -> bytes:
        """The hash of the leaf table, as the header gives it."""
        return self.header.leaf_hash

    @property
    def has_crc_trailer(self) -> bool:
        """True when four bytes outside every digest follow the sealed model."""
        return size_of(self.source) == self.file_bytes + limits.TRAILER_BYTES

    def section(self, section: int) -> SectionInfo:
        """The table entry with that id; ``NotFound`` when there is none."""
        return self._place(section).info

    def digest(self, progress: Progress | None = None) -> str:
        """SHA-256 of the file without its CRC trailer, in hexadecimal: the blob digest."""
        return file_digest(self.source, self.file_bytes, progress)

    def verify_signatures(
        self, publisher_keys: Sequence[VerifyKey], *, product: str | None, min_release: int = 0
    ) -> VerifiedModel:
        """The same model, now known to be the publisher's.

        Each algorithm among ``publisher_keys`` (the pinned trust) must have signed with one of
        them. ``product`` None skips the comparison of products. Raises ``WrongPublisher``,
        ``ContainerSignature``, ``WrongProduct``, ``ReleaseTooOld``, ``Misuse`` without keys.
        """
        from modelseal.container._verified import VerifiedModel  # which is built on this class

        message = signatures.signed_message(self._raw_prologue, self._raw_header)
        signatures.verify(message, self.header.signers, self._signatures, publisher_keys)
        if product is not None and self.product != product:
            raise WrongProduct("sealed for another product", found=self.product, product=product)
        if self.release < min_release:
            raise ReleaseTooOld(
                "older than the oldest release allowed",
                release=self.release,
                min_release=min_release,
            )
        return VerifiedModel(
            self.source, self.prologue, self.header, self._places,
            self._raw_prologue, self._raw_header, self._signatures,
        )  # fmt: skip

    def _place(self, section: int) -> SectionLayout:
        if isinstance(section, bool) or not isinstance(section, int):
            raise Misuse("a section id is a whole number")
        if not 0 <= section < len(self._places):
            raise NotFound("no such section in the sealed model", section=section)
        return self._places[section]


def file_digest(source: Source, size_bytes: int, progress: Progress | None = None) -> str:
    """SHA-256 of the first ``size_bytes`` bytes, in hexadecimal."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(size_bytes, _DIGEST_STEP)))
    for offset in range(0, size_bytes, _DIGEST_STEP):
        part = buffer[: min(_DIGEST_STEP, size_bytes - offset)]
        fill(source, offset, part)
        digest.update(part)
        if progress is not None:
            progress(offset + part.nbytes, size_bytes)
    return digest.hexdigest()


def _check_size(prologue: Prologue, size: int, front_only: bool) -> None:
    needed = prologue.front_bytes if front_only else prologue.file_bytes
    if size < needed:
        raise ContainerTruncated(
            "the sealed model ends early", needed_bytes=needed, found_bytes=size
        )
    allowed = (prologue.file_bytes, prologue.file_bytes + limits.TRAILER_BYTES)
    if not front_only and size not in allowed:
        raise ContainerMalformed("bytes follow the sealed model", found_bytes=size)
