"""What a sealed model shows to anybody, as values that JSON can carry."""

from __future__ import annotations

from typing import Any

from modelseal.container._model import parse
from modelseal.container._prologue import SUITES
from modelseal.container._sections import SectionInfo
from modelseal.container._source import Source


def inspect(source: Source) -> dict[str, Any]:
    """All that is readable without a key, unverified; raises what ``parse`` raises."""
    sealed = parse(source)
    prologue, header = sealed.prologue, sealed.header
    return {
        "product": header.product,
        "model": header.model,
        "model_version": header.model_version,
        "release": header.release,
        "created_at": header.created_at.isoformat().replace("+00:00", "Z"),
        "file_id": sealed.file_id.hex(),
        "suite": SUITES[prologue.suite],
        "chunk_bytes": prologue.chunk_bytes,
        "plain_bytes": prologue.plain_bytes,
        "file_bytes": prologue.file_bytes,
        "crc_trailer": sealed.has_crc_trailer,
        "min_reader": header.min_reader,
        "signers": [{"alg": signer.alg, "kid": signer.kid} for signer in header.signers],
        "recovery_kid": header.recovery.kid,
        "sections": [_section(info) for info in header.sections],
        "unknown_members": sorted(header.extra),
    }


def _section(info: SectionInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "kind": info.kind,
        "entitlement": [] if info.entitlement is None else info.entitlement.texts(),
        "level": info.level.name,
        "memory": str(info.memory),
        "key_source": str(info.key_source),
        "plain_bytes": info.plain_bytes,
        "chunks": info.chunk_count,
        "stored_chunks": info.stored_count,
        "together_with": [other.model for other in info.together_with],
    }
