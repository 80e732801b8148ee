"""What a courier carries between a relay and the license server: two files of one form.

``read_question(write_question(q)) == q``, and so with answers. The SHA-256 at the end finds what
happened on the way; nothing in either is believed by anybody but for its own signatures, and no
address in it leads anywhere but to what relays ask.
Normative: ``docs/spec/relay.md``.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, TypeVar

import msgspec

from modelseal import cbor
from modelseal.admin import (
    BudgetState,
    EndedLeases,
    GivenLeases,
    HeldLeases,
    RelayReport,
    RelayState,
)
from modelseal.errors import InvalidBytes, RelayFileInvalid
from modelseal.server.relay import documents

MAGIC = b"\x89MSL\r\n\x1a\n"
VERSION = 1
MAX_BYTES = 512 << 20
_DIGEST_BYTES = 32
_RELAY = re.compile(r"rly_[0-9a-f-]{1,64}")
T = TypeVar("T", bound="_File")


class _File(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """Closed; the relay it belongs to stands in it. ``models`` are held, or lie beside it."""

    relay: str
    server: str
    product: str
    models: list[str]


class Asked(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A question of a device."""

    jkt: str
    nonce: str
    method: str
    path: str
    token: bytes


class Told(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The server's answer to one sending of a question; ``status`` 0: another is wanted."""

    jkt: str
    nonce: str
    path: str
    sent: bytes
    status: int
    media: str
    body: bytes
    final: bool
    device: str | None


class Paper(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A signed document."""

    path: str
    media: str
    body: bytes


class QuestionFile(_File, frozen=True, tag="question", tag_field="file"):
    """From the relay: what devices ask, its report, what it holds and what it wants.

    ``leases`` are the leases ahead that it holds or gave out.
    """

    report: RelayReport
    questions: list[Asked]
    held: list[str]
    wanted: list[str]
    leases: list[HeldLeases] = []


class AnswerFile(_File, frozen=True, tag="answer", tag_field="file"):
    """To the relay: what was answered, where its report stands, documents, models beside it.

    ``given`` and ``ended`` are what became of leases ahead, ``ahead`` the most of a device.
    """

    sync: str
    event_id: str
    state: RelayState
    answers: list[Told]
    documents: list[Paper]
    found: int = 0
    ahead: int = 0
    given: list[GivenLeases] = []
    ended: list[EndedLeases] = []
    stopped: list[str] = []
    budget: BudgetState | None = None


def write(file: QuestionFile | AnswerFile) -> bytes:
    """The file's bytes."""
    value = msgspec.to_builtins(file, builtin_types=(bytes,))
    body = MAGIC + bytes([VERSION]) + cbor.encode(value)
    return body + hashlib.sha256(body).digest()


def read(data: bytes, kind: type[T]) -> T:
    """The ``kind`` of file in ``data``; ``RelayFileInvalid`` for everything else."""
    head = len(MAGIC) + 1
    if len(data) > MAX_BYTES or data[: len(MAGIC)] != MAGIC:
        raise RelayFileInvalid("it is no file of a relay")
    if data[len(MAGIC) : head] != bytes([VERSION]):
        raise RelayFileInvalid("another version of modelseal made it")
    if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
        raise RelayFileInvalid("it was cut off or altered on its way")
    try:
        value: Any = cbor.decode(data[head:-_DIGEST_BYTES], max_bytes=MAX_BYTES)
        found = msgspec.convert(value, kind, strict=True)
    except (InvalidBytes, msgspec.ValidationError, RecursionError) as error:
        raise RelayFileInvalid(str(error)[:200]) from None
    if not all(documents.is_digest(name) for name in found.models):
        raise RelayFileInvalid("the name of a sealed model is none")
    if isinstance(found, QuestionFile):
        _check(found)
    return found


def _check(file: QuestionFile) -> None:
    """Whoever made the file asks nothing that a relay does not ask."""
    acts = f"/v1/relays/{file.relay}/acts"
    calls = (
        documents.is_call(each.method, each.path) or (each.method, each.path) == ("POST", acts)
        for each in file.questions
    )
    asked = [*map(documents.is_wanted, file.wanted), *map(documents.is_document, file.held)]
    if not (_RELAY.fullmatch(file.relay) and all(calls) and all(asked)):
        raise RelayFileInvalid("an address that no relay asks")
