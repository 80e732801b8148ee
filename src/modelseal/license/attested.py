"""What evidence of an attested key release is bound to: one request of one device, and no other.

A delegation to a relay is asked for in the same way, with what it is to sign by and without files.

Both sides make the same transcript from the signed request. Pure. Normative:
``docs/spec/protocol.md``, section 4.6.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from modelseal import cbor
from modelseal.crypto.hpke import SUITE, KemPublicKey
from modelseal.errors import InvalidBytes, TokenClaims
from modelseal.license import jws
from modelseal.license.claims import RequestClaims
from modelseal.strict_json import unb64u

LABEL = "modelseal/attested-release/v1"
OP = "attest"
DELEGATE = "delegate"
SHORT = frozenset({"tpm2", "azure-vtpm", "nvidia", "android", "psa"})
"""Kinds whose evidence binds 32 bytes; all others bind 64."""
SHORT_BYTES = 32
_FILE_ID_BYTES = 32
_MAX_REQUEST_BYTES = 64 * 1024

Wanted = dict[bytes, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Transcript:
    """The bytes that evidence is bound to. ``of(claims, token)`` is the same on both sides."""

    encoded: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256: what short evidence binds, and by what a release names the transcript."""
        return hashlib.sha256(self.encoded).digest()

    def bound(self, kind: str, exact_bytes: int = 0) -> bytes:
        """What evidence of ``kind`` binds; ``exact_bytes`` is the kind's own length, 0: open."""
        if kind in SHORT or exact_bytes == SHORT_BYTES:
            return self.digest
        return hashlib.sha512(self.encoded).digest()


def of(claims: RequestClaims, token: str | bytes) -> Transcript:
    """The transcript of the signed request ``token``, whose claims these are.

    Raises ``TokenClaims`` for a request that names too little.
    """
    delegates = claims.op == DELEGATE
    if delegates != (claims.delegate is not None) or (delegates and claims.want):
        raise TokenClaims("a delegation is asked for by one key, without files")
    wanted = {} if delegates else wishes(claims)
    if not claims.server_nonce or not claims.server_key or not claims.level:
        raise TokenClaims("the request names no nonce, key and level of an attested release")
    if claims.op not in (OP, DELEGATE) or claims.sub is None or claims.lic is None:
        raise TokenClaims("the request names no device and license")
    kem = [KemPublicKey({"kty": "AKP", "alg": key.suite, "pub": key.pub}) for key in claims.kem]
    if len(kem) != 1 or claims.kem[0].suite != SUITE:
        raise TokenClaims("an attested release is sealed to one KEM key")
    raw = token.encode("ascii") if isinstance(token, str) else bytes(token)
    signatures = jws.parse(raw, max_bytes=_MAX_REQUEST_BYTES).signatures
    values: dict[str, object] = {
        "suite": SUITE,
        "server": claims.aud,
        "server_key": claims.server_key,
        "nonce": claims.server_nonce,
        "license": claims.lic,
        "device": claims.sub,
        "jkt": claims.iss,
        "signature": signatures[0].signature,
        "request": hashlib.sha256(raw).digest(),
        "kem": [key.kid for key in kem],
        "want": [[file_id, sorted(sections)] for file_id, sections in sorted(wanted.items())],
        "level": claims.level,
        "seq": claims.seq,
    }
    return Transcript(cbor.encode([LABEL, values]))


def wishes(claims: RequestClaims) -> Wanted:
    """The files and sections asked for, each named once; ``TokenClaims`` for an empty list."""
    found: Wanted = {}
    for wish in claims.want:
        try:
            file_id = unb64u(wish.file)
        except InvalidBytes:
            raise TokenClaims("want names a file that is no base64url") from None
        sections = frozenset(wish.sections)
        if len(file_id) != _FILE_ID_BYTES or not sections or len(sections) != len(wish.sections):
            raise TokenClaims("want names a file without sections, or a section twice")
        if file_id in found:
            raise TokenClaims("want names a file twice")
        found[file_id] = sections
    if not found:
        raise TokenClaims("an attested release names the sections that are wanted")
    return found
