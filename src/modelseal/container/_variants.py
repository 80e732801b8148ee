"""Variant sections: each chunk stored several times under labels and keys of its own.

The data key of such a section is a seed that stays with the publisher; all variant keys are made
of it, a licensee gets one per chunk in a key bundle.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelseal.container import _keys as keys
from modelseal.container._chunks import VariantKey
from modelseal.container._leaves import VariantRecord
from modelseal.container._source import Buffer


def variant_key(prologue_hash: bytes, section: int, seed: Buffer, record: VariantRecord) -> bytes:
    """The key of one stored chunk, made of the section's seed."""
    place = keys.variant_place(section, record.index, record.label)
    return keys.variant_key(prologue_hash, seed, place)


def check_seed(
    prologue_hash: bytes, section: int, seed: Buffer, records: Sequence[VariantRecord]
) -> None:
    """Returns when every key of the section is made of ``seed``; else ``ContainerDamaged``."""
    for record in records:
        key = variant_key(prologue_hash, section, seed, record)
        place = keys.variant_place(section, record.index, record.label)
        keys.check_variant(prologue_hash, key, place, record.commitment)


def first_keys(
    prologue_hash: bytes, section: int, seed: Buffer, records: Sequence[VariantRecord]
) -> list[VariantKey]:
    """The keys of the first variant of every chunk."""
    found: list[VariantKey] = []
    for record in records:
        if record.index == len(found):
            key = variant_key(prologue_hash, section, seed, record)
            found.append(VariantKey(record.label, key))
    return found
