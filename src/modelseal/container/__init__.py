"""The sealed model: a plain model's files, encrypted once, the same bytes for every customer.

``seal`` makes one, ``parse`` reads its front, ``SealedModel.verify_signatures`` proves whose it is,
and the ``VerifiedModel`` it returns opens it. Normative: ``docs/spec/sealed-model.md``.

Pure: sources, sinks, keys and randomness come as arguments; nothing here opens a file or reads a
clock. What this release seals, every later one opens.
"""

from modelseal.container._chunks import Depth, VariantKey
from modelseal.container._crc import crc_trailer, crc_update
from modelseal.container._header import Header, RecoveryEntry, SignerId
from modelseal.container._index import Entry, Extent, Index
from modelseal.container._inspect import inspect
from modelseal.container._keys import commitment, secret_hash
from modelseal.container._leaves import LeafRange, LeafRanges, VariantRecord, leaf_hash
from modelseal.container._limits import (
    DEFAULT_CHUNK_BYTES,
    MAGIC,
    MAX_CHUNK_BYTES,
    MAX_SECTION_BYTES,
    MIN_CHUNK_BYTES,
    PROLOGUE_BYTES,
    READER_VERSION,
    TRAILER_BYTES,
)
from modelseal.container._model import SealedModel, file_digest, parse
from modelseal.container._names import label_problem, name_problem
from modelseal.container._plan import EntryPlan, SealPlan, SectionPlan, TogetherRef
from modelseal.container._prologue import Prologue, is_sealed
from modelseal.container._reader import EntryReader
from modelseal.container._runs import Part, Run, in_place
from modelseal.container._seal import SealedResult, seal
from modelseal.container._sections import KeySource, SectionInfo, TogetherInfo
from modelseal.container._source import (
    BytesSink,
    BytesSource,
    Sink,
    Source,
    WatchedSource,
)
from modelseal.container._verified import VerifiedModel

__all__ = [
    "DEFAULT_CHUNK_BYTES",
    "MAGIC",
    "MAX_CHUNK_BYTES",
    "MAX_SECTION_BYTES",
    "MIN_CHUNK_BYTES",
    "PROLOGUE_BYTES",
    "READER_VERSION",
    "TRAILER_BYTES",
    "BytesSink",
    "BytesSource",
    "Depth",
    "Entry",
    "EntryPlan",
    "EntryReader",
    "Extent",
    "Header",
    "Index",
    "KeySource",
    "LeafRange",
    "LeafRanges",
    "Part",
    "Prologue",
    "RecoveryEntry",
    "Run",
    "SealPlan",
    "SealedModel",
    "SealedResult",
    "SectionInfo",
    "SectionPlan",
    "SignerId",
    "Sink",
    "Source",
    "TogetherInfo",
    "TogetherRef",
    "VariantKey",
    "VariantRecord",
    "VerifiedModel",
    "WatchedSource",
    "commitment",
    "crc_trailer",
    "crc_update",
    "file_digest",
    "in_place",
    "inspect",
    "is_sealed",
    "label_problem",
    "leaf_hash",
    "name_problem",
    "parse",
    "seal",
    "secret_hash",
]
