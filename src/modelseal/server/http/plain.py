"""Renewals that need no parser: one whole request of the one form that clients and proxies send.

A second reading of HTTP beside h11's, so it takes only what leaves nothing to be read in two ways,
and gives up on anything else without a word: h11 then reads the same bytes from the beginning.
Whatever is taken here h11 would have read alike, and ``front`` would have let through (ADR 247).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from uvicorn.protocols.http.h11_impl import STATUS_PHRASES

from modelseal.server.http.heads import HOST
from modelseal.server.http.work import DEVICE_BODY_BYTES, JWT

Header = tuple[bytes, bytes]
BEGINNING = b"PUT /v1/leases/"
HEAD_BYTES = 8 * 1024
_VALUE = rb"[\x21-\x7e]++(?: ++[\x21-\x7e]++)*+"
# Possessive throughout: no request, however long, is looked at twice.
_HEAD = re.compile(
    rb"PUT (/v1/leases/([A-Za-z0-9_.-]{1,128}+)) HTTP/1\.1\r\n"
    rb"((?:[-!#$%&'*+.^_`|~0-9A-Za-z]++: " + _VALUE + rb"\r\n)++)\r\n"
)
_LINE = re.compile(rb"([^:]+): ([^\r]+)\r\n")
_ANSWERED = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9a-z]++: (?:" + _VALUE + rb")?+\r\n)++")
_ODD = frozenset({
    b"transfer-encoding", b"te", b"trailer", b"expect", b"upgrade", b"content-encoding",
    b"http2-settings", b"proxy-connection",
})  # fmt: skip
_FRAMING = frozenset({b"transfer-encoding", b"trailer", b"connection", b"upgrade", b"host"})
_JWT = JWT.encode()


class Plain(NamedTuple):
    """A renewal as it stands in its bytes; names of ``headers`` are in small letters."""

    device_id: str
    path: bytes
    headers: list[Header]
    body: bytes


def read(data: bytes) -> Plain | None:
    """The renewal that ``data`` is, neither more nor less; None of anything else."""
    head = _HEAD.match(data)
    if head is None or head.end() > HEAD_BYTES:
        return None
    path, device_id, lines = head.groups()
    headers = [(name.lower(), value) for name, value in _LINE.findall(lines)]
    said = dict(headers)
    length = len(data) - head.end()
    if (
        len(said) != len(headers)
        or not _ODD.isdisjoint(said)
        or said.get(b"content-length") != b"%d" % length
        or said.get(b"content-type") != _JWT
        or said.get(b"connection", b"keep-alive").lower() != b"keep-alive"
        or not said.get(b"host")
        or HOST.fullmatch(said[b"host"]) is None
        or not 0 < length <= DEVICE_BODY_BYTES
    ):
        return None
    return Plain(device_id.decode("ascii"), path, headers, bytes(data[head.end() :]))


def head_of(status: int, headers: Iterable[Header], length: int) -> bytes | None:
    """What h11 writes before a body of ``length`` bytes; None where it had to say more or less."""
    given = list(headers)
    reason = STATUS_PHRASES.get(status)
    if reason is None or status < 200 or status in (204, 304):
        return None
    try:
        lines = b"\r\n".join([*map(b": ".join, given), b""])
    except TypeError:  # texts, which h11 encodes
        return None
    said = dict(given)
    if (
        len(said) != len(given)
        or said.get(b"content-length") != b"%d" % length
        or not _FRAMING.isdisjoint(said)
        or lines.count(b"\r\n") != len(given)  # a value with an end of line is no two headers
        or _ANSWERED.fullmatch(lines) is None
    ):
        return None
    return b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, reason, lines)


__all__ = ["BEGINNING", "HEAD_BYTES", "Plain", "head_of", "read"]
