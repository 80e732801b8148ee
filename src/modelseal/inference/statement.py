"""The evidence of an inference service as it travels: strict JSON. ``write`` and ``read`` undo
each other.

Nothing in it is believed: the evidence counts as far as it is genuine and bound to the reader's own
connection, the endorsements as far as their signatures reach a pinned root.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelseal import strict_json
from modelseal.attest.verify import Evidence
from modelseal.errors import AnswerInvalid
from modelseal.strict_json import JsonInvalid

TYP = "modelseal-inference-evidence"
VERSION = 1
MAX_BYTES = 8 << 20
MAX_PIECES = 16
MAX_PARTS = 32
MAX_MODELS = 256
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FILE_ID = re.compile(r"[0-9a-f]{64}")
_KIND = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Statement:
    """What a service says of itself: its evidence, and the sealed files it serves by name."""

    evidence: tuple[Evidence, ...]
    endorsements: tuple[bytes, ...]
    models: Mapping[str, str]


def write(statement: Statement) -> bytes:
    """The bytes of one answer."""
    return strict_json.encode(
        {
            "typ": TYP,
            "version": VERSION,
            "evidence": [
                {"kind": one.kind, "parts": [_text(part) for part in one.parts]}
                for one in statement.evidence
            ],
            "endorsements": [_text(item) for item in statement.endorsements],
            "models": dict(statement.models),
        }
    )


def read(data: bytes) -> Statement:
    """What ``data`` says; ``AnswerInvalid`` for anything else than ``write`` makes."""
    try:
        found = strict_json.decode(data, max_bytes=MAX_BYTES)
    except JsonInvalid as error:
        raise AnswerInvalid(f"evidence that is no strict JSON: {error.detail}") from None
    wanted = {"typ", "version", "evidence", "endorsements", "models"}
    if not isinstance(found, dict) or set(found) != wanted:
        raise AnswerInvalid("not the evidence of an inference service")
    if found["typ"] != TYP or found["version"] != VERSION or found["version"] is True:
        raise AnswerInvalid("evidence of a version that is not known here")
    pieces = tuple(_piece(one) for one in _listed(found["evidence"], 1, MAX_PIECES))
    items = tuple(_octets(item) for item in _listed(found["endorsements"], 0, 256))
    return Statement(pieces, items, _models(found["models"]))


def is_name(text: str) -> bool:
    """True for a name that a model can be served under."""
    return _NAME.fullmatch(text) is not None


def _piece(found: Any) -> Evidence:
    if not isinstance(found, dict) or set(found) != {"kind", "parts"}:
        raise AnswerInvalid("a piece of evidence is a kind and its parts")
    kind = found["kind"]
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise AnswerInvalid("evidence of a kind without a name")
    return Evidence(kind, tuple(_octets(p) for p in _listed(found["parts"], 1, MAX_PARTS)))


def _models(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or len(found) > MAX_MODELS:
        raise AnswerInvalid("the models are a map of names to file ids")
    for name, file_id in found.items():
        if not is_name(name) or not isinstance(file_id, str) or not _FILE_ID.fullmatch(file_id):
            raise AnswerInvalid("the models are a map of names to file ids")
    return found


def _listed(found: Any, least: int, most: int) -> Sequence[Any]:
    if not isinstance(found, list) or not least <= len(found) <= most:
        raise AnswerInvalid(f"a list of {least} to {most} is expected")
    return found


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _octets(found: Any) -> bytes:
    if not isinstance(found, str):
        raise AnswerInvalid("bytes are base64 here")
    try:
        return base64.b64decode(found, validate=True)
    except ValueError:
        raise AnswerInvalid("bytes are base64 here") from None
