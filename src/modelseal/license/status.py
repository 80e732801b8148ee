"""Status lists: two bits per licensed device, deflated, signed (Token Status List, section 4).

Pure. What is signed over ``body(pack(entries, size))`` is read again by ``parse``. Normative:
``docs/spec/tokens.md``, "Status list".
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from modelseal.errors import Misuse, TokenClaims
from modelseal.license import tokens
from modelseal.license.claims import StatusListBody, StatusListClaims
from modelseal.license.tokens import TrustView
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
    """The bits of ``size`` entries, all valid but those of ``statuses``; ``Misuse`` outside it.

    Entry ``i`` stands in byte ``i // 4`` from bit ``2 * (i % 4)`` on (section 4.1).
    """
    if not 0 < size <= MAX_ENTRIES or any(not 0 <= i < size for i in statuses):
        raise Misuse(f"a status list has 1 to {MAX_ENTRIES} entries and knows no others")
    packed = bytearray((size + _PER_BYTE - 1) // _PER_BYTE)
    for index, status in statuses.items():
        packed[index // _PER_BYTE] |= int(status) << (2 * (index % _PER_BYTE))
    return bytes(packed)


def body(bits: bytes) -> StatusListBody:
    """``bits`` as they stand in the token: deflated by zlib, base64url; ``unpack`` undoes it."""
    return StatusListBody(bits=2, lst=b64u(zlib.compress(bits, 9)))


def unpack(body: StatusListBody) -> bytes:
    """The bits in ``body``, at most ``MAX_ENTRIES`` of them; ``TokenClaims`` for anything else."""
    limit = MAX_ENTRIES // _PER_BYTE
    machine = zlib.decompressobj()
    try:
        bits = machine.decompress(unb64u(body.lst), limit + 1)
    except (zlib.error, JsonInvalid):
        raise TokenClaims("the status list cannot be inflated") from None
    if len(bits) > limit or not machine.eof or machine.unused_data:
        raise TokenClaims("the status list is too large, cut or has something behind it")
    return bits


def parse(
    token: str | bytes, trust: TrustView, *, uri: str | None = None, least_number: int = 0
) -> StatusList:
    """The list in ``token``.

    Raises ``TokenClaims`` when it is another list than the one at ``uri``, or one older than
    ``least_number`` (the highest number seen): a list is never replaced by an older one. Whether
    it is still fresh is asked of the list, with a time.
    """
    claims = tokens.read(token, StatusListClaims, trust)
    if uri is not None and claims.sub != uri:
        raise TokenClaims("the status list of another address")
    if claims.number < least_number:
        raise TokenClaims("an older status list than one already seen")
    return StatusList(
        uri=claims.sub,
        number=claims.number,
        issued_at=from_numeric(claims.iat),
        expires_at=from_numeric(claims.exp),
        ttl_seconds=claims.ttl,
        bits=unpack(claims.status_list),
    )
