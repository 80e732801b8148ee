"""The signed header: what a sealed model is, without a word about what is inside.

``Header.to_bytes`` and ``Header.from_bytes`` undo each other, unknown members included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelseal import cbor
from modelseal.container import _limits as limits
from modelseal.container._fields import Fields
from modelseal.container._names import label_problem
from modelseal.container._sections import SectionInfo
from modelseal.errors import ContainerMalformed, ContainerVersion, Misuse
from modelseal.types import from_numeric, to_numeric

MAX_RELEASE = 2**53 - 1
_KID_CHARACTERS = 128
_KNOWN = frozenset(
    {
        "created_at",
        "leaf_hash",
        "min_reader",
        "model",
        "model_version",
        "product",
        "recovery",
        "release",
        "sections",
        "signers",
    }
)


@dataclass(frozen=True, slots=True)
class SignerId:
    """Who signed: an algorithm as named in JOSE and the thumbprint of the key."""

    alg: str
    kid: str


@dataclass(frozen=True, slots=True)
class RecoveryEntry:
    """The data keys of all sections, HPKE-sealed to the publisher's recovery key ``kid``."""

    kid: str
    ct: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Header:
    """The members of the header; ``extra`` holds what this release does not know."""

    product: str
    model: str
    model_version: str
    release: int
    created_at: datetime
    min_reader: int
    leaf_hash: bytes
    signers: tuple[SignerId, ...]
    recovery: RecoveryEntry
    sections: tuple[SectionInfo, ...]
    crit: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The deterministic encoding."""
        members: dict[str, Any] = {
            **self.extra,
            "product": self.product,
            "model": self.model,
            "model_version": self.model_version,
            "release": self.release,
            "created_at": to_numeric(self.created_at),
            "min_reader": self.min_reader,
            "leaf_hash": self.leaf_hash,
            "signers": [{"alg": s.alg, "kid": s.kid} for s in self.signers],
            "recovery": {"kid": self.recovery.kid, "ct": self.recovery.ct},
            "sections": [section.to_map() for section in self.sections],
        }
        if self.crit:
            members["crit"] = list(self.crit)
        return cbor.encode(members)

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """The header; ``ContainerVersion`` for one made for later readers, else
        ``ContainerMalformed``."""
        try:
            value = cbor.decode(data, max_bytes=limits.MAX_HEADER_BYTES)
        except cbor.CborInvalid as error:
            raise ContainerMalformed(f"header: {error.detail}") from None
        fields = Fields(value, "header")
        min_reader = fields.whole("min_reader", 1, 2**32)
        if min_reader > limits.READER_VERSION:
            raise ContainerVersion(f"made for readers from {min_reader} on", version=min_reader)
        crit = fields.require_known(_KNOWN)
        return cls(
            product=_label(fields, "product"),
            model=_label(fields, "model"),
            model_version=_label(fields, "model_version"),
            release=fields.whole("release", 0, MAX_RELEASE),
            created_at=_instant(fields),
            min_reader=min_reader,
            leaf_hash=fields.octets("leaf_hash", limits.DIGEST_BYTES),
            signers=_signers(fields),
            recovery=_recovery(Fields(fields.member("recovery"), "recovery")),
            sections=tuple(
                SectionInfo.from_map(item, position)
                for position, item in enumerate(fields.items("sections", 1, limits.MAX_SECTIONS))
            ),
            crit=crit,
            extra=fields.rest(),
        )


def _label(fields: Fields, name: str) -> str:
    text = fields.text(name)
    problem = label_problem(text)
    if problem is not None:
        raise fields.error(f"{name}: {problem}")
    return text


def _instant(fields: Fields) -> datetime:
    try:
        return from_numeric(fields.whole("created_at", 0, 2**40))
    except Misuse as error:
        raise fields.error(error.detail) from None


def _signers(fields: Fields) -> tuple[SignerId, ...]:
    found = []
    for item in fields.items("signers", 1, limits.MAX_SIGNATURES):
        entry = Fields(item, "signer")
        found.append(SignerId(entry.text("alg", 32), entry.text("kid", _KID_CHARACTERS)))
        if entry.rest():
            raise entry.error("only alg and kid")
    if len(set(found)) != len(found):
        raise fields.error("a signer stands twice")
    return tuple(found)


def _recovery(fields: Fields) -> RecoveryEntry:
    entry = RecoveryEntry(
        fields.text("kid", _KID_CHARACTERS), fields.octets("ct", 1, limits.MAX_HEADER_BYTES)
    )
    if fields.rest():
        raise fields.error("only kid and ct")
    return entry
