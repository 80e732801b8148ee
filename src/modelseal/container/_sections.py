"""The section table: sections are the unit of entitlement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from modelseal.container import _limits as limits
from modelseal.container._fields import Fields
from modelseal.container._names import is_kind, label_problem
from modelseal.errors import Misuse
from modelseal.types import EntitlementExpression, Level, MemoryProtection

INDEX_KIND = "index"
VARIANT_KIND = "variant"
_KNOWN = frozenset(
    {
        "bytes",
        "commitment",
        "count",
        "entitlement",
        "first",
        "id",
        "kind",
        "level",
        "memory",
        "source",
        "stored",
        "stored_last",
        "together",
    }
)


class KeySource(StrEnum):
    """Where a section's keys travel."""

    LEASE = "lease"
    BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class TogetherInfo:
    """Another sealed model of the product whose index holds the secret with this hash."""

    model: str
    secret_hash: bytes


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """One entry of the section table.

    ``first_chunk`` counts stored chunks of the whole file, ``chunk_count`` chunks of the section.
    Only in variant sections ``stored_count`` is larger, and ``stored_last`` of these stored chunks
    are variants of the last chunk.
    """

    id: int
    kind: str
    first_chunk: int
    chunk_count: int
    stored_count: int
    stored_last: int
    plain_bytes: int
    commitment: bytes
    key_source: KeySource
    level: Level
    memory: MemoryProtection
    entitlement: EntitlementExpression | None
    together_with: tuple[TogetherInfo, ...] = ()
    crit: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_variant(self) -> bool:
        """True when each chunk is stored more than once, under keys of its own."""
        return self.kind == VARIANT_KIND

    def to_map(self) -> dict[str, Any]:
        """The table entry as CBOR members."""
        members: dict[str, Any] = {
            **self.extra,
            "id": self.id,
            "kind": self.kind,
            "first": self.first_chunk,
            "count": self.chunk_count,
            "bytes": self.plain_bytes,
            "commitment": self.commitment,
            "source": str(self.key_source),
            "level": int(self.level),
            "memory": str(self.memory),
        }
        if self.is_variant:
            members["stored"] = self.stored_count
            members["stored_last"] = self.stored_last
        if self.entitlement is not None:
            members["entitlement"] = self.entitlement.texts()
        if self.together_with:
            members["together"] = [
                {"model": t.model, "secret_hash": t.secret_hash} for t in self.together_with
            ]
        if self.crit:
            members["crit"] = list(self.crit)
        return members

    @classmethod
    def from_map(cls, value: Any, position: int) -> SectionInfo:
        """The entry at ``position``; ``ContainerVersion`` or ``ContainerMalformed`` if odd."""
        fields = Fields(value, f"section {position}")
        crit = fields.require_known(_KNOWN)
        kind = fields.text("kind", 32)
        if not is_kind(kind) or (kind == INDEX_KIND) != (position == 0):
            raise fields.error("the kind does not fit")
        count = fields.whole("count", 1, limits.MAX_STORED_CHUNKS)
        stored, stored_last = _variants(fields, count) if kind == VARIANT_KIND else (count, 1)
        max_bytes = limits.MAX_SECTION_BYTES if position else limits.MAX_INDEX_BYTES
        section = cls(
            id=fields.whole("id", position, position),
            kind=kind,
            first_chunk=fields.whole("first", 0, limits.MAX_STORED_CHUNKS),
            chunk_count=count,
            stored_count=stored,
            stored_last=stored_last,
            plain_bytes=fields.whole("bytes", 0, max_bytes),
            commitment=fields.octets("commitment", limits.DIGEST_BYTES),
            key_source=KeySource(_choice(fields, "source", KeySource)),
            level=Level(fields.whole("level", int(min(Level)), int(max(Level)))),
            memory=MemoryProtection(_choice(fields, "memory", MemoryProtection)),
            entitlement=_entitlement(fields, position),
            together_with=_together(fields) if fields.has("together") else (),
            crit=crit,
            extra=fields.rest(),
        )
        if position == 0 and (section.together_with or section.key_source is not KeySource.LEASE):
            raise fields.error("the index needs no other model and no bundle")
        if section.is_variant and section.key_source is not KeySource.BUNDLE:
            raise fields.error("variant keys travel in a bundle")
        return section


def _variants(fields: Fields, count: int) -> tuple[int, int]:
    low, high = limits.MIN_VARIANTS, limits.MAX_VARIANTS
    last = fields.whole("stored_last", low, high)
    others = count - 1
    return fields.whole("stored", others * low + last, others * high + last), last


def _choice(fields: Fields, name: str, kind: type[StrEnum]) -> str:
    text = fields.text(name, 32)
    if text not in [str(member) for member in kind]:
        raise fields.error(f"{name} is none of the known words")
    return text


def _entitlement(fields: Fields, position: int) -> EntitlementExpression | None:
    if position == 0:
        if fields.has("entitlement"):
            raise fields.error("the index has no entitlement of its own")
        return None
    texts = fields.items("entitlement", 1, limits.MAX_ALTERNATIVES)
    try:
        if not all(isinstance(text, str) for text in texts):
            raise Misuse("an alternative is a text")
        expression = EntitlementExpression.parse(texts)
    except Misuse as error:
        raise fields.error(f"entitlement: {error.detail}") from None
    if expression.texts() != texts:
        raise fields.error("the entitlement is not in its canonical form")
    if max(map(len, expression.alternatives)) > limits.MAX_NAMES_PER_ALTERNATIVE:
        raise fields.error("too many names in one alternative")
    return expression


def _together(fields: Fields) -> tuple[TogetherInfo, ...]:
    found = []
    for item in fields.items("together", 1, limits.MAX_TOGETHER):
        entry = Fields(item, "together")
        info = TogetherInfo(entry.text("model"), entry.octets("secret_hash", limits.DIGEST_BYTES))
        if label_problem(info.model) is not None or entry.rest():
            raise entry.error("a model and the hash of its secret")
        found.append(info)
    if len({info.model for info in found}) != len(found):
        raise fields.error("a model stands twice in together")
    return tuple(found)
