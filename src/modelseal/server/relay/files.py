"""What a courier carries between a relay and the license server: two files of one form.

``read_question(write_question(q)) == q``, and so with answers. The SHA-256 at the end finds what
happened on the way; nothing in either is believed by anybody but for its own signatures.
Normative: ``docs/spec/relay.md``.
"""

from __future__ import annotations

import hashlib
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

MAGIC = b"\x89MSL\r\n\x1a\n"
VERSION = 1
MAX_BYTES = 512 << 20
_DIGEST_BYTES = 32
T = TypeVar("T", bound="_File")


class _File(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """Closed; the relay it belongs to stands in it."""

    relay: str
    server: str
    product: str


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
    models: list[str]
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
    models: list[str]
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
        return msgspec.convert(value, kind, strict=True)
    except (InvalidBytes, msgspec.ValidationError, RecursionError) as error:
        raise RelayFileInvalid(str(error)[:200]) from None
