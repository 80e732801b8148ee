"""The air-gap response: everything that answers one request file, as one byte string. Pure.

``decode(encode(response)) == response``. Nothing outside the signed tokens in it is believed:
``server``, ``product``, ``jkt`` and ``nonce`` say whose it is before anything is verified, so that
a mix-up is named; the SHA-256 at the end finds what happened on the way. Normative:
``docs/spec/air-gap.md``.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from modelseal import cbor
from modelseal.cbor import CborInvalid
from modelseal.errors import ResponseMalformed
from modelseal.license.claims import Count, Id, Name, Nonce, Thumbprint, Time

MAGIC = b"\x89MSA\r\n\x1a\n"
VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
MAX_NEXT = 64
DIGEST_BYTES = 32
OPERATIONS = ("activate", "renew", "return")

_Token = Annotated[str, Meta(max_length=16 * 1024)]
_List = Annotated[str, Meta(max_length=1024 * 1024)]
_Document = Annotated[bytes, Meta(max_length=8 * 1024 * 1024)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Frozen and closed; what is absent is not written."""


class TrustDocuments(_Part, frozen=True):
    """The signed trust in force: the roots after the device's, and what hangs on the newest."""

    roots: Annotated[list[_Document], Meta(max_length=1024)]
    targets: _Document
    keys_role: _Document
    key_list: _Document


class NextLease(_Part, frozen=True):
    """A lease made ahead, under a code. ``place`` counts from 1."""

    place: Annotated[int, Meta(ge=1, le=MAX_NEXT)]
    seq: Count
    starts_at: Time
    ends_at: Time
    sealed: Annotated[bytes, Meta(max_length=32 * 1024)]


class Response(_Part, frozen=True, kw_only=True):
    """The answer to the request ``nonce`` of the device ``jkt``.

    A lease, a denial or, for ``return``, ``seat_free_at``. ``license`` where the device needs one,
    ``bundle`` where the lease names one, ``trust`` where the device's is older.
    """

    server: Id
    product: Name
    jkt: Thumbprint
    nonce: Nonce
    op: Name
    event_id: Id
    lease: _Token | None = None
    license: _Token | None = None
    denial: _Token | None = None
    seat_free_at: Time | None = None
    bundle: Annotated[bytes, Meta(max_length=1024 * 1024)] | None = None
    status: _List | None = None
    trust: TrustDocuments | None = None
    next: Annotated[list[NextLease], Meta(max_length=MAX_NEXT)] = []


def encode(response: Response) -> bytes:
    """The file's bytes."""
    value = msgspec.to_builtins(response, builtin_types=(bytes,))
    body = MAGIC + bytes([VERSION]) + cbor.encode(value)
    return body + hashlib.sha256(body).digest()


def is_response(data: bytes) -> bool:
    """True for whatever begins as a response, of any version."""
    return data[: len(MAGIC)] == MAGIC


def decode(data: bytes) -> Response:
    """The response in ``data``; ``ResponseMalformed`` for anything ``encode`` did not write."""
    if len(data) > MAX_BYTES:
        raise ResponseMalformed(f"longer than {MAX_BYTES} bytes")
    if not is_response(data):
        raise ResponseMalformed("this is no air-gap response")
    if data[len(MAGIC) : len(MAGIC) + 1] != bytes([VERSION]):
        raise ResponseMalformed("made by another version of modelseal")
    body = data[:-DIGEST_BYTES]
    if hashlib.sha256(body).digest() != data[-DIGEST_BYTES:]:
        raise ResponseMalformed("it was cut off or altered on its way")
    try:
        value: Any = cbor.decode(body[len(MAGIC) + 1 :], max_bytes=MAX_BYTES)
        found = msgspec.convert(value, Response, strict=True)
    except (CborInvalid, msgspec.ValidationError, RecursionError) as error:
        raise ResponseMalformed(str(error)[:200]) from None
    if found.op not in OPERATIONS or not _is_whole(found):
        raise ResponseMalformed("neither a lease, nor a denial, nor a seat given back")
    if encode(found) != data:
        raise ResponseMalformed("not the one way to write it")
    return found


def _is_whole(found: Response) -> bool:
    """Exactly one answer; what belongs to a lease comes with one."""
    given = [found.lease is not None, found.denial is not None, found.seat_free_at is not None]
    if sum(given) != 1 or (found.op == "return" and found.lease is not None):
        return False
    if found.op != "return" and found.seat_free_at is not None:
        return False
    return found.lease is not None or not (found.license or found.bundle or found.next)
