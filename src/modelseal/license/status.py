"""Status lists: two bits per licensed device, deflated, signed (Token Status List, section 4).

``parse`` undoes ``build``. A list is never replaced by one with a lower number.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from modelseal.errors import TokenClaims
from modelseal.license import tokens
from modelseal.license.claims import StatusListBody, StatusListClaims
from modelseal.license.tokens import MAX_STATUS_LIST_BYTES, TrustView
from modelseal.strict_json import JsonInvalid, b64u, unb64u
from modelseal.types import check_aware, from_numeric

MAX_ENTRIES = 16_777_216
_PER_BYTE = 4


class Status(IntEnum):
    """What two bits say."""

    VALID = 0
    REVOKED = 1
    SUSPENDED = 2
    ENDED = 3  # application-specific: returned, replaced or forked; the denial tells which


@dataclass(frozen=True, slots=True)
class StatusList:
    """A verified list. ``size`` is the number of entries it can answer for."""

    uri: str
    number: int
    issued_at: datetime
    expires_at: datetime
    ttl_seconds: int
    bits: bytes

    @property
    def size(self) -> int:
        """How many entries the list has."""
        return len(self.bits) * _PER_BYTE

    def get(self, index: int) -> Status | None:
        """The status at ``index``; None when the list does not reach that far."""
        if not 0 <= index < self.size:
            return None
        byte = self.bits[index // _PER_BYTE]
        return Status(byte >> (2 * (index % _PER_BYTE)) & 3)

    def fresh(self, now: datetime) -> bool:
        """True before the list's own end."""
        return check_aware(now) < self.expires_at


def pack(statuses: Mapping[int, Status], size: int) -> bytes:
    """The bits of ``size`` entries, all valid but those of ``statuses``."""
    if not 0 < size <= MAX_ENTRIES or any(not 0 <= i < size for i in statuses):
        raise TokenClaims(f"a status list has 1 to {MAX_ENTRIES} entries")
    packed = bytearray((size + _PER_BYTE - 1) // _PER_BYTE)
    for index, status in statuses.items():
        packed[index // _PER_BYTE] |= int(status) << (2 * (index % _PER_BYTE))
    return bytes(packed)


def body(bits: bytes) -> StatusListBody:
    """``bits`` as they stand in the token: deflated by zlib, base64url."""
    return StatusListBody(bits=2, lst=b64u(zlib.compress(bits, 9)))


def parse(token: str | bytes, trust: TrustView, *, uri: str | None = None) -> StatusList:
    """The list of ``token``; ``TokenClaims`` when it is another list than the one at ``uri``.

    Whether it is still fresh is asked of the list, with a time.
    """
    claims = tokens.read(token, StatusListClaims, trust, max_bytes=MAX_STATUS_LIST_BYTES)
    if uri is not None and claims.sub != uri:
        raise TokenClaims("the status list of another address")
    return StatusList(
        uri=claims.sub,
        number=claims.number,
        issued_at=from_numeric(claims.iat),
        expires_at=from_numeric(claims.exp),
        ttl_seconds=claims.ttl,
        bits=_inflate(claims.status_list.lst),
    )


def _inflate(text: str) -> bytes:
    limit = MAX_ENTRIES // _PER_BYTE
    machine = zlib.decompressobj()
    try:
        bits = machine.decompress(unb64u(text), limit + 1)
    except (zlib.error, JsonInvalid):
        raise TokenClaims("the status list cannot be inflated") from None
    if len(bits) > limit or not machine.eof or machine.unused_data:
        raise TokenClaims("the status list is too large, cut or has something behind it")
    return bits
