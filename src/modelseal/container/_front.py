"""Composing the front of a sealed model: prologue, header, signatures, leaf table."""

from __future__ import annotations

from collections.abc import Sequence

from modelseal.container import _limits as limits
from modelseal.container import _signatures as signatures
from modelseal.container._header import Header
from modelseal.container._layout import SectionLayout
from modelseal.container._prologue import Prologue
from modelseal.crypto.signing import Signer
from modelseal.errors import InternalError, SourceNotSealable


def prologue_for(header: Header, *, file_id: bytes, suite: int, chunk_bytes: int) -> Prologue:
    """The prologue of a file with a header of that shape; its hashes may still be zeros.

    ``SourceNotSealable`` when the header would be too long.
    """
    header_bytes = len(header.to_bytes())
    blank = [bytes(signatures.SIGNATURE_BYTES[signer.alg]) for signer in header.signers]
    signatures_bytes = len(signatures.encode(header.signers, blank))
    if header_bytes > limits.MAX_HEADER_BYTES:
        raise SourceNotSealable("the header would be too long, take fewer sections")
    stored = sum(info.stored_count for info in header.sections)
    records = sum(info.stored_count for info in header.sections if info.is_variant)
    leaf_table_offset = limits.PROLOGUE_BYTES + header_bytes + signatures_bytes
    data_offset = (
        leaf_table_offset + stored * limits.DIGEST_BYTES + records * limits.VARIANT_RECORD_BYTES
    )
    data_bytes = sum(SectionLayout(info, chunk_bytes, 0).size_bytes for info in header.sections)
    return Prologue(
        suite=suite,
        chunk_bytes=chunk_bytes,
        file_id=file_id,
        plain_bytes=sum(info.plain_bytes for info in header.sections),
        file_bytes=data_offset + data_bytes,
        header_bytes=header_bytes,
        signatures_bytes=signatures_bytes,
        leaf_table_offset=leaf_table_offset,
        data_offset=data_offset,
        section_count=len(header.sections),
        stored_count=stored,
    )


def compose(
    prologue: Prologue, header: Header, publisher: Sequence[Signer], leaf_table: bytes
) -> bytes:
    """The signed front, exactly ``prologue.front_bytes`` long."""
    raw_prologue, raw_header = prologue.to_bytes(), header.to_bytes()
    made = signatures.sign(signatures.signed_message(raw_prologue, raw_header), publisher)
    signed = signatures.encode(header.signers, made)
    front = raw_prologue + raw_header + signed + leaf_table
    if len(front) != prologue.front_bytes:
        raise InternalError("the front has not the length that was planned")
    return front
