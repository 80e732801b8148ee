"""Composing the front of a sealed model: prologue, header, signatures, leaf table.

Its length is known before its content: a blank header has zeros in place of what comes last.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelseal.container import _keys as keys
from modelseal.container import _limits as limits
from modelseal.container import _recovery as recovery_entry
from modelseal.container import _signatures as signatures
from modelseal.container._header import Header, RecoveryEntry, SignerId
from modelseal.container._layout import SectionLayout, chunk_count
from modelseal.container._plan import PlacedSection, SealPlan
from modelseal.container._prologue import Prologue
from modelseal.container._sections import INDEX_KIND, KeySource, SectionInfo, TogetherInfo
from modelseal.crypto.hpke import OVERHEAD_BYTES, KemPublicKey
from modelseal.crypto.signing import Signer
from modelseal.errors import InternalError, SourceNotSealable
from modelseal.types import (
    EntitlementExpression,
    Level,
    MemoryProtection,
    from_numeric,
    to_numeric,
)

_BLANK = bytes(limits.DIGEST_BYTES)


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


def blank_header(
    plan: SealPlan,
    placed: Sequence[PlacedSection],
    signers: tuple[SignerId, ...],
    recovery: KemPublicKey,
    index_bytes: int,
) -> Header:
    """The header as it will be, with zeros for what is known only in the end."""
    sections = [_index_info(plan, index_bytes)]
    for section in placed:
        before = sections[-1]
        sections.append(_section_info(section, before, plan.chunk_bytes))
    recovery_bytes = recovery_entry.plain_bytes(len(sections)) + OVERHEAD_BYTES
    return Header(
        product=plan.product,
        model=plan.model,
        model_version=plan.model_version,
        release=plan.release,
        created_at=from_numeric(to_numeric(plan.created_at)),
        min_reader=1,
        leaf_hash=_BLANK,
        signers=signers,
        recovery=RecoveryEntry(recovery.kid, bytes(recovery_bytes)),
        sections=tuple(sections),
    )


def _section_info(section: PlacedSection, before: SectionInfo, chunk_bytes: int) -> SectionInfo:
    count = chunk_count(section.plain_bytes, chunk_bytes)
    plan = section.plan
    return SectionInfo(
        id=before.id + 1,
        kind=plan.kind,
        first_chunk=before.first_chunk + before.stored_count,
        chunk_count=count,
        stored_count=count,
        stored_last=1,
        plain_bytes=section.plain_bytes,
        commitment=_BLANK,
        key_source=plan.key_source,
        level=plan.min_level,
        memory=plan.memory,
        entitlement=EntitlementExpression.parse(plan.entitlement.texts()),
        together_with=tuple(
            TogetherInfo(other.model, keys.secret_hash(other.secret))
            for other in plan.together_with
        ),
    )


def _index_info(plan: SealPlan, index_bytes: int) -> SectionInfo:
    count = chunk_count(index_bytes, plan.chunk_bytes)
    return SectionInfo(
        id=0,
        kind=INDEX_KIND,
        first_chunk=0,
        chunk_count=count,
        stored_count=count,
        stored_last=1,
        plain_bytes=index_bytes,
        commitment=_BLANK,
        key_source=KeySource.LEASE,
        level=Level(min(section.min_level for section in plan.sections)),
        memory=MemoryProtection.NONE,
        entitlement=None,
    )
