"""JWS as modelseal reads it: bytes in, header and payload out, strictly. Pure; no key, no trust.

Two forms. *Compact* (RFC 7515, section 7.1) for one signature; *general JSON* (section 7.2.1) for
several. A header is exactly ``alg``, ``kid``, ``typ``. base64url and JSON are canonical: whatever
is accepted is the only spelling of what it says. Normative: ``docs/spec/tokens.md``, "Form".
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from modelseal import strict_json
from modelseal.crypto.signing import ALGORITHMS, Signer
from modelseal.errors import (
    Misuse,
    TokenAlgorithm,
    TokenHeader,
    TokenMalformed,
    TokenTooLarge,
    TokenType,
)
from modelseal.strict_json import JsonInvalid, b64u, unb64u

MAX_SIGNATURES = 4
_MAX_HEADER_BYTES = 1024
_HEADER = ("alg", "kid", "typ")
T = TypeVar("T")


class Signature(Struct, frozen=True):
    """One signature with what its protected header says."""

    alg: str
    kid: str
    signing_input: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Jws:
    """A parsed token. Nothing in it is verified."""

    typ: str
    payload: dict[str, Any]
    signatures: tuple[Signature, ...]


class _Header(Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str


_HEADER_DECODER = msgspec.json.Decoder(_Header)


def parse(token: str | bytes, *, max_bytes: int) -> Jws:
    """The parts of ``token``, of which nothing is verified.

    Raises ``TokenTooLarge`` before anything is parsed, then ``TokenMalformed`` (form, base64url,
    JSON), ``TokenHeader`` (a member beside the three), ``TokenAlgorithm`` (none of ours).
    """
    text = _text(token, max_bytes)
    if text.startswith("{"):
        payload_part, pairs = _general(text)
    else:
        payload_part, pairs = _compact(text)
    headers = [_header(protected) for protected, _ in pairs]
    typ = headers[0]["typ"]
    if any(header["typ"] != typ for header in headers):
        raise TokenType("the signatures name different kinds of token")
    return Jws(
        typ=typ,
        payload=_object(payload_part, "the payload", max_bytes),
        signatures=tuple(
            Signature(
                alg=header["alg"],
                kid=header["kid"],
                signing_input=f"{protected}.{payload_part}".encode("ascii"),
                signature=_bytes(signature, "a signature"),
            )
            for header, (protected, signature) in zip(headers, pairs, strict=True)
        ),
    )


def parse_as(
    token: str | bytes, typ: str, decoder: msgspec.json.Decoder[T], *, max_bytes: int
) -> tuple[Signature, T] | None:
    """The parts of a compact token of kind ``typ``, its payload read by ``decoder``.

    None for whatever ``parse`` refuses or the decoder does, and now and then for what neither
    does: ask ``parse``, which takes longer and says what is wrong.
    """
    if len(token) > max_bytes:
        return None
    try:
        text = token if isinstance(token, str) else token.decode("ascii")
        protected, payload, signature = text.split(".")
        head = strict_json.decode_as(unb64u(protected), _HEADER_DECODER)
        told = strict_json.decode_as(unb64u(payload), decoder)
        if head is None or told is None or head.typ != typ or head.alg not in ALGORITHMS:
            return None
        signed = f"{protected}.{payload}".encode("ascii")
        return Signature(head.alg, head.kid, signed, unb64u(signature)), told
    except (ValueError, JsonInvalid):
        return None


def build(typ: str, payload: dict[str, Any], signers: list[Signer]) -> str:
    """The token of ``payload``: compact with one signer, general JSON with several."""
    return build_encoded(typ, strict_json.encode_plain(payload), signers)


def build_encoded(typ: str, payload: bytes, signers: Sequence[Signer]) -> str:
    """As ``build``, of a payload that is canonical JSON already."""
    if not 1 <= len(signers) <= MAX_SIGNATURES:
        raise Misuse(f"a token has 1 to {MAX_SIGNATURES} signers")
    body = b64u(payload)
    pairs = []
    for signer in signers:
        protected = _protected(signer.alg, signer.kid, typ)
        pairs.append((protected, b64u(signer.sign(f"{protected}.{body}".encode("ascii")))))
    if len(pairs) == 1:
        return f"{pairs[0][0]}.{body}.{pairs[0][1]}"
    signatures = [{"protected": protected, "signature": value} for protected, value in pairs]
    return strict_json.encode({"payload": body, "signatures": signatures}).decode("ascii")


@functools.lru_cache(maxsize=64)
def _protected(alg: str, kid: str, typ: str) -> str:
    return b64u(strict_json.encode_plain({"alg": alg, "kid": kid, "typ": typ}))


def _text(token: str | bytes, max_bytes: int) -> str:
    if not isinstance(token, (str, bytes)):
        raise TokenMalformed("a token is text")
    if len(token) > max_bytes:
        raise TokenTooLarge(f"longer than {max_bytes} bytes", limit=max_bytes)
    try:
        return token.decode("ascii") if isinstance(token, bytes) else _ascii(token)
    except UnicodeError:
        raise TokenMalformed("a token is ASCII") from None


def _ascii(token: str) -> str:
    token.encode("ascii")
    return token


def _compact(text: str) -> tuple[str, list[tuple[str, str]]]:
    parts = text.split(".", 3)
    if len(parts) != 3:
        raise TokenMalformed("a compact token has three parts")
    return parts[1], [(parts[0], parts[2])]


def _general(text: str) -> tuple[str, list[tuple[str, str]]]:
    outer = _canonical(text.encode("ascii"), "the token", len(text))
    if sorted(outer) != ["payload", "signatures"] or not isinstance(outer["payload"], str):
        raise TokenMalformed("a general token holds payload and signatures")
    items = outer["signatures"]
    if not isinstance(items, list) or not 2 <= len(items) <= MAX_SIGNATURES:
        raise TokenMalformed(f"a general token has 2 to {MAX_SIGNATURES} signatures")
    pairs = []
    for item in items:
        if not isinstance(item, dict) or sorted(item) != ["protected", "signature"]:
            raise TokenMalformed("a signature holds protected and signature")
        if not all(isinstance(value, str) for value in item.values()):
            raise TokenMalformed("protected and signature are texts")
        pairs.append((item["protected"], item["signature"]))
    return outer["payload"], pairs


def _header(protected: str) -> dict[str, str]:
    header = _object(protected, "the header", _MAX_HEADER_BYTES)
    extra = sorted(set(header) - set(_HEADER))
    if extra:
        raise TokenHeader(
            f"the header member {extra[0][:32]!r} is not allowed", member=extra[0][:32]
        )
    if "typ" not in header or not isinstance(header["typ"], str):
        raise TokenType("the header names no kind of token")
    if header.get("alg") not in ALGORITHMS:
        raise TokenAlgorithm("the header names none of the algorithms in use")
    if not isinstance(header.get("kid"), str):
        raise TokenMalformed("the header names no key")
    return header


def _object(part: str, what: str, max_bytes: int) -> dict[str, Any]:
    return _canonical(_bytes(part, what), what, max_bytes)


def _canonical(raw: bytes, what: str, max_bytes: int) -> dict[str, Any]:
    try:
        value = strict_json.decode_canonical(raw, max_bytes=max_bytes)
    except JsonInvalid as error:
        raise TokenMalformed(f"{what}: {error.detail}") from None
    if not isinstance(value, dict):
        raise TokenMalformed(f"{what} is no JSON object")
    return value


def _bytes(part: str, what: str) -> bytes:
    try:
        return unb64u(part)
    except JsonInvalid as error:
        raise TokenMalformed(f"{what}: {error.detail}") from None
