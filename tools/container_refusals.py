"""The hostile sealed models among the vectors: each signed by the publisher, each wrong once.

``signed_refusals`` yields name, expected code, what is wrong, and the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cbor2
from blake3 import blake3

from container_forge import Forge, Forged, Part, index_of, one_entry, pad_index
from modelseal import cbor

RELEASE = cbor.encode("release")
PLAIN = b"the plaintext of the hostile ones"
Members = dict[str, Any]
Case = tuple[str, str, str, Forged]
MALFORMED, VERSION, DAMAGED = "container_malformed", "container_version", "container_damaged"


def signed_refusals(forge: Callable[[str], Forge]) -> Iterator[Case]:
    """Every hostile file; ``forge(name)`` gives a forge with fresh randomness."""
    yield from _headers(forge)
    yield from _encodings(forge)
    yield from _signatures(forge)
    yield from _indexes(forge)
    yield from _chunks(forge)


def _headers(forge: Callable[[str], Forge]) -> Iterator[Case]:
    def section(**members: Any) -> Callable[[Members], None]:
        return lambda header: header["sections"][1].update(members)

    def top(**members: Any) -> Callable[[Members], None]:
        return lambda header: header.update(members)

    def gone(name: str) -> Callable[[Members], None]:
        return lambda header: header.pop(name, None)

    cases: list[tuple[str, str, Callable[[Members], None]]] = [
        ("reader-too-old", VERSION, top(min_reader=2)),
        ("reader-zero", MALFORMED, top(min_reader=0)),
        ("header-unknown-critical", VERSION, top(crit=["later"], later=1)),
        ("section-unknown-critical", VERSION, section(crit=["later"], later=1)),
        ("critical-not-there", MALFORMED, top(crit=["later"])),
        ("critical-empty", MALFORMED, top(crit=[])),
        ("critical-null", MALFORMED, top(crit=None)),
        ("critical-no-list", MALFORMED, top(crit=1)),
        ("critical-unsorted", MALFORMED, top(crit=["product", "model"])),
        ("critical-no-text", MALFORMED, top(crit=[1])),
        ("product-missing", MALFORMED, gone("product")),
        ("product-no-text", MALFORMED, top(product=b"demo")),
        ("product-control-character", MALFORMED, top(product="de\nmo")),
        ("model-not-normalised", MALFORMED, top(model="e\u0301")),
        ("model-path", MALFORMED, top(model="../model")),
        ("release-negative", MALFORMED, top(release=-1)),
        ("release-boolean", MALFORMED, top(release=True)),
        ("release-huge", MALFORMED, top(release=2**53)),
        ("created-year-10000", MALFORMED, top(created_at=253402300800)),
        ("leaf-hash-short", MALFORMED, top(leaf_hash=bytes(31))),
        ("sections-none", MALFORMED, top(sections=[])),
        ("sections-no-maps", MALFORMED, top(sections=[1, 2])),
        (
            "sections-one-more",
            MALFORMED,
            lambda h: h["sections"].append(dict(h["sections"][1], id=2, first=2)),
        ),
        ("section-id-twice", MALFORMED, section(id=0)),
        ("section-first-off", MALFORMED, section(first=2)),
        ("section-count-off", MALFORMED, section(count=2)),
        ("section-count-zero", MALFORMED, section(count=0)),
        ("section-bytes-off", MALFORMED, section(bytes=len(PLAIN) + 1)),
        ("section-bytes-huge", MALFORMED, section(bytes=2**64 - 1)),
        ("section-bytes-over-the-cap", MALFORMED, section(bytes=2**36 + 1, count=2**20 + 1)),
        ("section-commitment-short", MALFORMED, section(commitment=b"")),
        ("section-second-index", MALFORMED, section(kind="index")),
        ("section-kind-odd", MALFORMED, section(kind="Opaque!")),
        ("section-level-six", MALFORMED, section(level=6)),
        ("section-memory-unknown", MALFORMED, section(memory="soft")),
        ("section-source-unknown", MALFORMED, section(source="air")),
        ("entitlement-missing", MALFORMED, lambda h: h["sections"][1].pop("entitlement")),
        ("entitlement-empty", MALFORMED, section(entitlement=[])),
        ("entitlement-odd-name", MALFORMED, section(entitlement=["Face Swap"])),
        ("entitlement-unsorted", MALFORMED, section(entitlement=["b", "a"])),
        ("entitlement-twice", MALFORMED, section(entitlement=["a", "a"])),
        ("entitlement-no-text", MALFORMED, section(entitlement=[1])),
        (
            "entitlement-of-the-index",
            MALFORMED,
            lambda h: h["sections"][0].update(entitlement=["a"]),
        ),
        ("index-from-a-bundle", MALFORMED, lambda h: h["sections"][0].update(source="bundle")),
        (
            "together-twice",
            MALFORMED,
            section(together=[{"model": "m", "secret_hash": bytes(32)}] * 2),
        ),
        (
            "together-extra-member",
            MALFORMED,
            section(together=[{"model": "m", "secret_hash": bytes(32), "x": 1}]),
        ),
        ("together-empty", MALFORMED, section(together=[])),
        ("variant-without-counts", MALFORMED, section(kind="variant", source="bundle")),
        ("variant-from-the-lease", MALFORMED, section(kind="variant", stored=2, stored_last=2)),
        (
            "variant-stored-once",
            MALFORMED,
            section(kind="variant", source="bundle", stored=1, stored_last=1),
        ),
        (
            "variant-table-missing",
            MALFORMED,
            section(kind="variant", source="bundle", stored=2, stored_last=2),
        ),
        ("signer-twice", MALFORMED, lambda h: h["signers"].append(h["signers"][0])),
        ("signer-extra-member", MALFORMED, lambda h: h["signers"][0].update(x=1)),
        ("signers-none", MALFORMED, top(signers=[])),
        ("recovery-extra-member", MALFORMED, lambda h: h["recovery"].update(x=1)),
        ("recovery-missing", MALFORMED, gone("recovery")),
        ("extra-and-critical-known", "", top(crit=["product"], later=[None, {"a": -1}])),
    ]
    for name, code, change in cases:
        maker = forge(name)
        maker.on_header = change
        yield name, code, "the header", maker.make(index_of(one_entry("a.bin", PLAIN)), Part(PLAIN))


def _encodings(forge: Callable[[str], Forge]) -> Iterator[Case]:
    cases: list[tuple[str, Callable[[Members], bytes]]] = [
        ("header-keys-unsorted", lambda h: cbor2.dumps(dict(sorted(h.items(), reverse=True)))),
        ("header-key-twice", lambda h: _head(h, 1) + cbor.encode(h)[1:] + RELEASE + b"\x01"),
        ("header-indefinite", lambda h: b"\xbf" + cbor.encode(h)[1:] + b"\xff"),
        ("header-long-integer", lambda h: _instead_of_1(h, b"\x18\x01")),
        ("header-trailing-byte", lambda h: cbor.encode(h) + b"\x00"),
        ("header-half-float", lambda h: _instead_of_1(h, b"\xf9\x3c\x00")),
        ("header-tag", lambda h: b"\xd9\xd9\xf7" + cbor.encode(h)),
        ("header-undefined", lambda h: _instead_of_1(h, b"\xf7")),
        ("header-bad-utf8", lambda h: cbor.encode(h).replace(b"demo", b"\xff\xfe\xfd\xfc")),
        ("header-a-list", lambda h: cbor.encode([h])),
        ("header-integer-key", lambda h: _head(h, 1) + b"\x01\x01" + cbor.encode(h)[1:]),
        ("header-map-of-2-to-the-32", lambda h: b"\xba\xff\xff\xff\xff" + cbor.encode(h)[1:]),
        ("header-string-of-2-to-the-63", lambda h: b"\x5b\x7f" + b"\xff" * 7 + cbor.encode(h)[1:]),
        ("header-empty-map", lambda h: b"\xa0"),
    ]
    for name, encode in cases:
        maker = forge(name)
        maker.encode_header = encode
        index = index_of(one_entry("a.bin", PLAIN))
        yield name, MALFORMED, "the header's encoding", maker.make(index, Part(PLAIN))


def _instead_of_1(header: Members, value: bytes) -> bytes:
    return cbor.encode(header).replace(RELEASE + b"\x01", RELEASE + value)


def _head(header: Members, more: int) -> bytes:
    return bytes([0xA0 + len(header) + more])


def _signatures(forge: Callable[[str], Forge]) -> Iterator[Case]:
    cases: list[tuple[str, Callable[[list[Members]], list[Members]]]] = [
        ("signatures-none", lambda entries: []),
        ("signatures-one-more", lambda entries: [*entries, entries[0]]),
        ("signature-extra-member", lambda entries: [dict(entries[0], x=1)]),
        ("signature-other-kid", lambda entries: [dict(entries[0], kid="A" * 43)]),
        ("signature-other-alg", lambda entries: [dict(entries[0], alg="ML-DSA-65")]),
        ("signature-no-bytes", lambda entries: [dict(entries[0], sig="x" * 64)]),
    ]
    for name, change in cases:
        maker = forge(name)
        maker.on_signatures = change
        index = index_of(one_entry("a.bin", PLAIN))
        yield name, MALFORMED, "the signatures", maker.make(index, Part(PLAIN))


def _indexes(forge: Callable[[str], Forge]) -> Iterator[Case]:
    good = one_entry("a.bin", PLAIN)
    digest = blake3(PLAIN).digest()
    size = len(PLAIN)
    names = {
        "absolute": "/etc/passwd",
        "parent": "../a",
        "inner-parent": "a/../b",
        "dot": "./a",
        "double-slash": "a//b",
        "backslash": "a\\b",
        "drive": "C:a",
        "nul": "a\0b",
        "trailing-dot": "a.",
        "trailing-space": "a ",
        "device": "NUL.txt",
        "decomposed": "e\u0301",
        "control": "a\x1bb",
        "separator": "a\u2028b",
        "long-part": "a" * 256,
        "many-parts": "/".join("a" * 33),
        "folder-dot": "a./b",
    }
    cases: list[tuple[str, Members | bytes]] = [
        (f"name-{what}", index_of(one_entry(name, PLAIN))) for what, name in names.items()
    ]
    empty = [1, 64, 0, 0, blake3(b"").digest()]

    def extents(*found: list[Any], **more: Any) -> Members:
        return index_of({"name": "a.bin", "extents": list(found)}, **more)

    def body(value: Any) -> bytes:
        return pad_index(cbor.encode(value))

    whole = index_of(good)
    cases += [
        ("names-same-but-for-case", index_of(good, {"name": "A.BIN", "extents": [empty]})),
        (
            "names-same-in-unicode",
            index_of(dict(good, name="stra\u00dfe"), {"name": "STRASSE", "extents": [empty]}),
        ),
        ("name-file-and-folder", index_of(good, {"name": "a.bin/b", "extents": [empty]})),
        ("index-typ", dict(whole, typ="modelseal-else")),
        ("index-version", dict(whole, version=2)),
        ("index-no-entries", dict(whole, entries=[])),
        ("index-unknown-critical", dict(whole, crit=["later"], later=1)),
        ("entry-unknown-critical", index_of(dict(good, crit=["later"], later=1))),
        ("index-critical-null", dict(whole, crit=None)),
        ("index-secret-short", dict(whole, secret=bytes(31))),
        ("index-names-section-0", dict(whole, names={0: "index"})),
        ("index-names-no-section", dict(whole, names={2: "two"})),
        ("entry-role-file", index_of(dict(good, role="file"))),
        ("entry-without-extents", index_of({"name": "a.bin", "extents": []})),
        ("extent-short", extents([1, 0, size, 0])),
        ("extent-negative", extents([1, -1, size, 0, digest])),
        ("extent-in-the-index", extents([0, 0, size, 0, digest])),
        ("extent-in-no-section", extents([2, 0, size, 0, digest])),
        ("extent-huge", extents([1, 0, 2**64 - 1, 0, digest])),
        ("extent-too-long", extents([1, 0, size + 1, 0, digest])),
        ("extent-too-short", extents([1, 0, size - 1, 0, digest])),
        ("extent-unaligned", extents([1, 1, size - 1, 0, digest])),
        ("extents-overlap", index_of(good, dict(good, name="b.bin"))),
        ("extents-file-gap", extents([1, 0, size, 1, digest])),
        ("extents-empty-piece", extents([1, 0, 0, 0, digest], [1, 0, size, 0, digest])),
        ("index-not-canonical", pad_index(b"\xbf" + cbor.encode(whole)[1:] + b"\xff")),
        ("index-no-map", body([1])),
        ("index-padding-not-zero", body(whole)[:-1] + b"\x01"),
        ("index-length-too-large", b"\xff" * 8 + body(whole)[8:]),
        ("index-length-too-small", bytes(8) + body(whole)[8:]),
        ("index-not-padded", body(whole)[:-1]),
        ("index-padded-twice", body(whole) + bytes(4096)),
        ("index-empty", b""),
    ]
    for name, index in cases:
        yield name, DAMAGED, "the index", forge(name).make(index, Part(PLAIN))


def _chunks(forge: Callable[[str], Forge]) -> Iterator[Case]:
    first, second = b"a" * 10, b"b" * 20
    gap = index_of(
        {"name": "a", "extents": [[1, 0, 10, 0, blake3(first).digest()]]},
        {"name": "b", "extents": [[1, 64, 20, 0, blake3(second).digest()]]},
    )
    plain = first + b"\x01" + bytes(53) + second
    yield "padding-not-zero", DAMAGED, "the padding", forge("padding").make(gap, Part(plain))
    maker = forge("tag")
    maker.on_stored = lambda section, index, stored: stored[:-1] + bytes([stored[-1] ^ 1])
    index = index_of(one_entry("a.bin", PLAIN))
    yield "tag-wrong-leaf-right", DAMAGED, "a tag", maker.make(index, Part(PLAIN))
    maker = forge("commitment")
    maker.on_commitment = lambda section, made: made if section == 0 else bytes(32)
    yield "commitment-wrong", DAMAGED, "a commitment", maker.make(index, Part(PLAIN))
    part = Part(PLAIN, kind="variant", variants=2)
    maker = forge("records-unsorted")
    maker.on_records = lambda records: records[52:] + records[:52]
    yield "variant-records-unsorted", DAMAGED, "the records", maker.make(index, part)
    maker = forge("records-index")
    maker.on_records = lambda records: records[:52] + b"\x01" + records[53:]
    yield "variant-records-of-no-chunk", DAMAGED, "the records", maker.make(index, part)
    maker = forge("records-hash")
    maker.on_commitment = lambda section, made: made if section == 0 else bytes(32)
    yield "variant-records-hash", DAMAGED, "the records", maker.make(index, part)
