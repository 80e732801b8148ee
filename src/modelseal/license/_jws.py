"""The strict JWS parser that stands before any signature check (RFC 7515, RFC 8725).

Compact serialization for one signature, general JSON for the hybrid profile. Only the header
members ``alg``, ``kid`` and ``typ`` exist; a token that carries keys, addresses or ``crit`` is
refused before anything in it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelseal import strict_json
from modelseal.errors import TokenAlgorithm, TokenMalformed, TokenTooLarge
from modelseal.strict_json import JsonInvalid, b64u, unb64u

MAX_BYTES = 16384
MAX_STATUS_LIST_BYTES = 1 << 20
MAX_SIGNATURES = 2
_HEADER = frozenset({"alg", "kid", "typ"})


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature with its protected header, not yet verified."""

    alg: str
    kid: str
    typ: str
    signing_input: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Parsed:
    """A token in its parts, not yet verified; every signature covers the same ``payload``."""

    signatures: tuple[Signature, ...]
    payload: bytes

    @property
    def typ(self) -> str:
        """The one ``typ`` of all signatures."""
        return self.signatures[0].typ


def parse(token: str | bytes, max_bytes: int) -> Parsed:
    """The parts of ``token``; ``TokenTooLarge``, ``TokenMalformed`` or ``TokenAlgorithm``."""
    if not isinstance(token, (str, bytes)):
        raise TokenMalformed("a token is text")
    if len(token) > max_bytes:
        raise TokenTooLarge(f"longer than {max_bytes} bytes")
    try:
        text = token.decode("ascii") if isinstance(token, bytes) else token
        text.encode("ascii")
    except UnicodeError:
        raise TokenMalformed("a token is ASCII text") from None
    try:
        parsed = _parse_general(text, max_bytes) if text.startswith("{") else _parse_compact(text)
    except JsonInvalid as error:
        raise TokenMalformed(error.detail) from None
    if len({signature.typ for signature in parsed.signatures}) != 1:
        raise TokenMalformed("the signatures name different kinds of token")
    if len({signature.kid for signature in parsed.signatures}) != len(parsed.signatures):
        raise TokenMalformed("a key signs twice")
    return parsed


def _parse_compact(text: str) -> Parsed:
    parts = text.split(".")
    if len(parts) != 3:
        raise TokenMalformed("a compact token has three parts")
    protected, payload, value = parts
    return Parsed((_signature(protected, payload, value),), unb64u(payload))


def _parse_general(text: str, max_bytes: int) -> Parsed:
    body = strict_json.decode(text, max_bytes=max_bytes)
    if strict_json.encode(body).decode("utf-8") != text:
        raise TokenMalformed("not the canonical JSON")
    if not isinstance(body, dict) or set(body) != {"payload", "signatures"}:
        raise TokenMalformed("a general token has the members payload and signatures")
    payload, signatures = body["payload"], body["signatures"]
    if not isinstance(signatures, list) or len(signatures) != MAX_SIGNATURES:
        raise TokenMalformed(f"a general token has {MAX_SIGNATURES} signatures")
    found: list[Signature] = []
    for entry in signatures:
        if not isinstance(entry, dict) or set(entry) != {"protected", "signature"}:
            raise TokenMalformed("a signature has the members protected and signature")
        found.append(_signature(entry["protected"], payload, entry["signature"]))
    return Parsed(tuple(found), unb64u(payload))


def _signature(protected: str, payload: str, value: str) -> Signature:
    header = strict_json.decode(unb64u(protected), max_bytes=1024)
    if not isinstance(header, dict):
        raise TokenMalformed("the header is no object")
    if set(header) != _HEADER or not all(isinstance(v, str) for v in header.values()):
        raise TokenMalformed("the header holds exactly alg, kid and typ, all text")
    if header["alg"].lower() in {"none", ""}:
        raise TokenAlgorithm("a token must be signed")
    return Signature(
        alg=header["alg"],
        kid=header["kid"],
        typ=header["typ"],
        signing_input=f"{protected}.{payload}".encode("ascii"),
        value=unb64u(value),
    )


def header(alg: str, kid: str, typ: str) -> str:
    """The protected header as it stands in a token."""
    return b64u(strict_json.encode({"alg": alg, "kid": kid, "typ": typ}))
