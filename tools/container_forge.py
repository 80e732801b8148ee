"""Makes sealed models that sealing never makes: with variants, or wrong in one chosen way.

For vectors and tests only. Key derivation, prologue and signatures come from the package; header,
index and chunks are put together here, so that a hook can bend each of them before it is hashed
and signed.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from modelseal import cbor
from modelseal.container import _keys as keys
from modelseal.container import _recovery as recovery_entry
from modelseal.container import _signatures as signatures
from modelseal.container._leaves import leaf_hash
from modelseal.container._prologue import Prologue
from modelseal.crypto.hpke import OVERHEAD_BYTES, KemPublicKey
from modelseal.crypto.signing import Signer

Random = Callable[[int], bytes]
_ZERO = bytes(32)


def drbg(seed: str) -> Random:
    """The same unpredictable-looking bytes in every run; never for anything but vectors."""
    state = [0]

    def draw(size: int) -> bytes:
        state[0] += 1
        return hashlib.shake_256(f"{seed}/{state[0]}".encode()).digest(size)

    return draw


def pad_index(body: bytes) -> bytes:
    """The plaintext of section 0 around its CBOR."""
    return struct.pack("<Q", len(body)) + body + bytes(-(8 + len(body)) % 4096)


def one_entry(name: str, plain: bytes, section: int = 1, **more: Any) -> dict[str, Any]:
    """The index entry of a file that is the whole of a section."""
    return {"name": name, "extents": [[section, 0, len(plain), 0, blake3(plain).digest()]], **more}


def index_of(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The index map."""
    return {"typ": "modelseal-index", "version": 1, "entries": list(entries), **more}


@dataclass
class Part:
    """One section to forge; ``members`` override those of the table."""

    plain: bytes
    entitlement: list[str] = field(default_factory=lambda: ["demo"])
    kind: str = "opaque"
    secrets: list[bytes] = field(default_factory=list)
    variants: int = 0
    members: dict[str, Any] = field(default_factory=dict)


@dataclass
class Forged:
    """A forged file, all its keys, and by section the variant keys (chunk, label, key)."""

    data: bytes
    prologue: Prologue
    data_keys: dict[int, bytes]
    variant_keys: dict[int, list[tuple[int, bytes, bytes]]]

    def bundle(self, section: int, pick: Callable[[int], int]) -> list[tuple[bytes, bytes]]:
        """One label and key per chunk: the ``pick(chunk)``-th variant."""
        found: dict[int, list[tuple[bytes, bytes]]] = {}
        for index, label, key in self.variant_keys[section]:
            found.setdefault(index, []).append((label, key))
        return [found[index][pick(index)] for index in sorted(found)]


@dataclass
class Forge:
    """What is common to the files of one publisher, and the hooks.

    ``on_header`` gets the header's map, twice: with zeros for hashes, and in the end; both times
    the encoding must have the same length. ``on_stored`` gets section, chunk and stored bytes
    before the leaf is taken. ``encode_header`` may be another encoding than the canonical one.
    """

    publisher: Sequence[Signer]
    recovery: KemPublicKey
    random: Random
    product: str = "demo"
    model: str = "model"
    release: int = 1
    suite: int = 1
    chunk_bytes: int = 65536
    on_header: Callable[[dict[str, Any]], None] = lambda header: None
    on_prologue: Callable[[Prologue], Prologue] = lambda prologue: prologue
    on_stored: Callable[[int, int, bytes], bytes] = lambda section, index, stored: stored
    on_records: Callable[[bytes], bytes] = lambda records: records
    on_commitment: Callable[[int, bytes], bytes] = lambda section, commitment: commitment
    on_signatures: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda entries: entries
    encode_header: Callable[[dict[str, Any]], bytes] = cbor.encode

    def make(self, index: dict[str, Any] | bytes, *parts: Part) -> Forged:
        """The file; ``index`` is the index map, or the bytes to stand in its place."""
        plain = index if isinstance(index, bytes) else pad_index(cbor.encode(index))
        sections = [Part(plain, [], "index"), *parts]
        file_id = self.random(32)
        data_keys = {number: self.random(32) for number in range(len(sections))}
        labels = [
            [
                sorted(self.random(16) for _ in range(part.variants))
                for _ in range(_count(part.plain, self.chunk_bytes))
            ]
            for part in sections
        ]
        header = self._header(sections)
        self.on_header(header)
        prologue = self.on_prologue(self._prologue(header, sections, file_id))
        salt = keys.prologue_hash(prologue.to_bytes())
        body = _Body(self, salt)
        for number, part in enumerate(sections):
            body.add(number, part, data_keys[number], labels[number])
        final = self._header(sections)
        for number, member in enumerate(final["sections"]):
            member["commitment"] = self.on_commitment(number, body.commitments[number])
        leaf_table = bytes(body.leaves + body.records)
        final["leaf_hash"] = leaf_hash(self.suite, leaf_table)
        bound = recovery_entry.info(
            product=self.product,
            model=self.model,
            release=self.release,
            file_id=file_id,
            prologue_hash=salt,
            kid=self.recovery.kid,
        )
        final["recovery"]["ct"] = recovery_entry.seal_entry(data_keys, self.recovery, bound).ct
        self.on_header(final)
        raw_header = self.encode_header(final)
        message = signatures.signed_message(prologue.to_bytes(), raw_header)
        signed = self._signed(message)
        data = prologue.to_bytes() + raw_header + signed + leaf_table + bytes(body.data)
        return Forged(data, prologue, data_keys, body.variant_keys)

    def _signed(self, message: bytes) -> bytes:
        entries = [
            {"alg": signer.alg, "kid": signer.kid, "sig": signer.sign(message)}
            for signer in self.publisher
        ]
        return cbor.encode(self.on_signatures(entries))

    def _header(self, sections: Sequence[Part]) -> dict[str, Any]:
        recovery_bytes = recovery_entry.plain_bytes(len(sections)) + OVERHEAD_BYTES
        table, first = [], 0
        for number, part in enumerate(sections):
            count = _count(part.plain, self.chunk_bytes)
            member: dict[str, Any] = {
                "id": number,
                "kind": part.kind,
                "first": first,
                "count": count,
                "bytes": len(part.plain),
                "commitment": _ZERO,
                "source": "lease",
                "level": 0,
                "memory": "none",
            }
            if number:
                member["entitlement"] = part.entitlement
            if part.variants:
                member |= {"stored": count * part.variants, "stored_last": part.variants}
            if part.kind == "variant":
                member["source"] = "bundle"
            first += count * max(1, part.variants)
            table.append(member | part.members)
        return {
            "product": self.product,
            "model": self.model,
            "model_version": "1.0",
            "release": self.release,
            "created_at": 1_790_000_000,
            "min_reader": 1,
            "leaf_hash": _ZERO,
            "sections": table,
            "signers": [{"alg": s.alg, "kid": s.kid} for s in self.publisher],
            "recovery": {"kid": self.recovery.kid, "ct": bytes(recovery_bytes)},
        }

    def _prologue(
        self, header: dict[str, Any], sections: Sequence[Part], file_id: bytes
    ) -> Prologue:
        header_bytes, signatures_bytes = len(self.encode_header(header)), len(self._signed(b""))
        leaf_table_offset = 128 + header_bytes + signatures_bytes
        stored = sum(_stored(part, self.chunk_bytes) for part in sections)
        records = sum(_stored(part, self.chunk_bytes) for part in sections if part.variants)
        data_offset = leaf_table_offset + 32 * stored + 52 * records
        body = sum(len(part.plain) * max(1, part.variants) for part in sections) + 16 * stored
        return Prologue(
            suite=self.suite,
            chunk_bytes=self.chunk_bytes,
            file_id=file_id,
            plain_bytes=sum(len(part.plain) for part in sections),
            file_bytes=data_offset + body,
            header_bytes=header_bytes,
            signatures_bytes=signatures_bytes,
            leaf_table_offset=leaf_table_offset,
            data_offset=data_offset,
            section_count=len(sections),
            stored_count=stored,
        )


class _Body:
    """The stored chunks, leaves, records and commitments, section by section."""

    def __init__(self, forge: Forge, salt: bytes) -> None:
        self._forge = forge
        self._salt = salt
        self._stored = 0
        self.data = bytearray()
        self.leaves = bytearray()
        self.records = bytearray()
        self.commitments: dict[int, bytes] = {}
        self.variant_keys: dict[int, list[tuple[int, bytes, bytes]]] = {}

    def add(self, number: int, part: Part, data_key: bytes, labels: list[list[bytes]]) -> None:
        step = self._forge.chunk_bytes
        count = _count(part.plain, step)
        cipher = keys.section_cipher(self._salt, data_key, part.secrets, number)
        records = b""
        for index in range(count):
            chunk = part.plain[index * step : (index + 1) * step]
            for label in labels[index] or [b""]:
                if label:
                    place = keys.variant_place(number, index, label)
                    key = keys.variant_key(self._salt, data_key, place)
                    self.variant_keys.setdefault(number, []).append((index, label, key))
                    cipher = keys.variant_cipher(self._salt, key, part.secrets, place)
                    commitment = keys.variant_commitment(self._salt, key, place)
                    records += struct.pack("<I", index) + label + commitment
                aad = keys.aad(number, self._stored, label)
                nonce = keys.nonce(index, index == count - 1)
                stored = cipher.encrypt(nonce, chunk, aad)
                stored = self._forge.on_stored(number, index, stored)
                self.data += stored
                self.leaves += leaf_hash(self._forge.suite, stored)
                self._stored += 1
        if part.variants:
            records = self._forge.on_records(records)
            self.records += records
            self.commitments[number] = leaf_hash(self._forge.suite, records)
        else:
            self.commitments[number] = keys.commitment(self._salt, data_key)


def _count(plain: bytes, chunk_bytes: int) -> int:
    return max(1, -(-len(plain) // chunk_bytes))


def _stored(part: Part, chunk_bytes: int) -> int:
    return _count(part.plain, chunk_bytes) * max(1, part.variants)


__all__ = ["Forge", "Forged", "Part", "drbg", "index_of", "one_entry", "pad_index"]
