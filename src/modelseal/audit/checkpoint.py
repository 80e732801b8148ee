"""Signed heads of the log: C2SP tlog-checkpoint in a C2SP signed note with Ed25519.

https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note. The key name is the origin.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from modelseal.audit.merkle import HASH_BYTES, MAX_SIZE
from modelseal.crypto import jwk as jwks
from modelseal.crypto.signing import Signer, VerifyKey
from modelseal.errors import AuditBroken, Misuse, TokenMalformed, TokenSignature

MAX_NOTE_BYTES = 65536
MAX_SIGNATURES = 64
_ED25519 = b"\x01"
_NAME = re.compile(r"[!-*,-~]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE = re.compile(r"— (\S+) ([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log ``origin`` has ``size`` entries and the root hash ``root`` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed, with its last newline."""
        root = base64.b64encode(self.root).decode("ascii")
        return f"{self.origin}\n{self.size}\n{root}\n"


def sign(checkpoint: Checkpoint, signer: Signer) -> str:
    """The signed note of ``checkpoint``; ``verify`` undoes it. Needs an Ed25519 ``signer``."""
    if signer.alg != "Ed25519":
        raise Misuse("checkpoints are signed with Ed25519")
    if not _NAME.fullmatch(checkpoint.origin) or len(checkpoint.root) != HASH_BYTES:
        raise Misuse("an origin is ASCII without spaces and plus, a root has 32 bytes")
    text = checkpoint.text
    signature = key_id(checkpoint.origin, signer.jwk) + signer.sign(text.encode("utf-8"))
    return f"{text}\n— {checkpoint.origin} {base64.b64encode(signature).decode('ascii')}\n"


def verify(note: str | bytes, keys: Iterable[VerifyKey], origin: str | None = None) -> Checkpoint:
    """The checkpoint of ``note`` when one of ``keys`` signed it and every known key's line holds.

    Lines of unknown keys are ignored, as witnesses may add theirs. ``origin`` None takes the
    note's own. Raises ``AuditBroken`` (fault ``checkpoint``) for anything else.
    """
    text, lines = _split(note)
    checkpoint = _parse_text(text)
    if origin is not None and checkpoint.origin != origin:
        raise _broken("a checkpoint of another log")
    known = {key_id(checkpoint.origin, k.jwk): k for k in keys if k.alg == "Ed25519"}
    held = 0
    for name, raw in lines:
        key = known.get(raw[:4])
        if name != checkpoint.origin or key is None:
            continue
        try:
            key.verify(raw[4:], text.encode("utf-8"))
        except TokenSignature:
            raise _broken("the signature does not hold") from None
        held += 1
    if not held:
        raise _broken("no signature of a known key")
    return checkpoint


def key_id(name: str, jwk: jwks.Jwk) -> bytes:
    """The four bytes that name an Ed25519 key beside ``name`` in a signature line."""
    try:
        public = jwks.member(jwk, "x")
    except TokenMalformed:
        raise Misuse("checkpoints are signed with Ed25519") from None
    return hashlib.sha256(name.encode("utf-8") + b"\n" + _ED25519 + public).digest()[:4]


def verifier_key(name: str, key: VerifyKey) -> str:
    """The key as other tools of this kind take it: ``name+hash+base64(0x01 || public key)``."""
    encoded = base64.b64encode(_ED25519 + jwks.member(key.jwk, "x")).decode("ascii")
    return f"{name}+{key_id(name, key.jwk).hex()}+{encoded}"


def _split(note: str | bytes) -> tuple[str, list[tuple[str, bytes]]]:
    try:
        whole = note.decode("utf-8") if isinstance(note, bytes) else note
        size = len(whole.encode("utf-8"))
    except UnicodeError:
        raise _broken("not UTF-8") from None
    if size > MAX_NOTE_BYTES or any(ord(char) < 32 and char != "\n" for char in whole):
        raise _broken("longer than 64 KiB, or with control characters")
    text, gap, signatures = whole.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise _broken("not a signed note")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise _broken("too many signatures")
    return text + "\n", [_parse_line(line) for line in lines]


def _parse_line(line: str) -> tuple[str, bytes]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise _broken("a signature line has another form")
    raw = _unb64(found[2])
    if len(raw) < 5 or "+" in found[1]:
        raise _broken("a signature line has another form")
    return found[1], raw


def _parse_text(text: str) -> Checkpoint:
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines) or not _SIZE.fullmatch(lines[1]):
        raise _broken("not the text of a checkpoint")
    root = _unb64(lines[2])
    if len(root) != HASH_BYTES or int(lines[1]) > MAX_SIZE or not _NAME.fullmatch(lines[0]):
        raise _broken("not the text of a checkpoint")
    return Checkpoint(lines[0], int(lines[1]), root)


def _unb64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise _broken("not base64") from None
    if base64.b64encode(raw).decode("ascii") != text:
        raise _broken("not canonical base64")
    return raw


def _broken(detail: str) -> AuditBroken:
    return AuditBroken(f"checkpoint: {detail}", fault="checkpoint")
