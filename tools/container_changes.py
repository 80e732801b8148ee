"""Refusals made from a valid vector by changes to its bytes or by what the reader is given."""

from __future__ import annotations

from typing import Any, Protocol

from modelseal.container import Prologue

Case = dict[str, Any]


class Vectors(Protocol):
    """Where the cases go."""

    files: dict[str, bytes]
    valid: list[Case]

    def refuse(self, base: Case, name: str, code: str, *changes: Case, **more: Any) -> None:
        """One more refusal."""
        ...


def xor(offset: int, hex_bytes: str = "01") -> Case:
    return {"op": "xor", "offset": offset, "hex": hex_bytes}


def write(offset: int, data: bytes) -> Case:
    return {"op": "write", "offset": offset, "hex": data.hex()}


def truncate(size: int) -> Case:
    return {"op": "truncate", "size": size}


def prologue_refusals(vectors: Vectors, small: Case) -> None:
    data = vectors.files[small["file"]]
    prologue = Prologue.from_bytes(data)
    size = len(data)
    for cut in (0, 1, 7):
        vectors.refuse(small, f"truncated-{cut}", "not_sealed", truncate(cut))
    places = {
        "in-the-prologue": 8,
        "before-the-prologue-ends": 127,
        "after-the-prologue": 128,
        "in-the-header": 200,
        "after-the-header": prologue.signatures_offset,
        "in-the-signatures": prologue.signatures_offset + 50,
        "after-the-signatures": prologue.leaf_table_offset,
        "in-the-leaf-table": prologue.leaf_table_offset + 33,
        "after-the-front": prologue.data_offset,
        "in-the-index": prologue.data_offset + 1000,
        "after-the-index": prologue.data_offset + 4096 + 16,
        "before-the-last-byte": size - 1,
    }
    for where, cut in places.items():
        vectors.refuse(small, f"truncated-{where}", "container_truncated", truncate(cut))
    for count in (1, 3, 5, 8):
        case = {"op": "append", "hex": "00" * count}
        vectors.refuse(small, f"{count}-bytes-follow", "container_malformed", case)
    fields = (
        ("magic", 0, b"\x88", "not_sealed"),
        ("magic-line-end", 5, b"\x0a\x1a\x00", "not_sealed"),
        ("version-0", 8, b"\x00\x00", "container_version"),
        ("version-2", 8, b"\x02\x00", "container_version"),
        ("suite-0", 10, b"\x00\x00", "container_version"),
        ("suite-3", 10, b"\x03\x00", "container_version"),
    )
    for name, offset, value, code in fields:
        vectors.refuse(small, name, code, write(offset, value))
    numbers = (
        ("chunk-size-0", 12, 4, 0),
        ("chunk-size-32768", 12, 4, 32768),
        ("chunk-size-65537", 12, 4, 65537),
        ("chunk-size-16-mib", 12, 4, 1 << 24),
        ("plaintext-size-huge", 48, 8, 2**64 - 1),
        ("plaintext-size-off", 48, 8, prologue.plain_bytes + 1),
        ("file-size-huge", 56, 8, 2**64 - 1),
        ("file-size-0", 56, 8, 0),
        ("file-size-less", 56, 8, size - 1),
        ("header-offset-off", 64, 8, 129),
        ("header-size-0", 72, 4, 0),
        ("header-size-huge", 72, 4, 2**32 - 1),
        ("header-size-off", 72, 4, prologue.header_bytes - 1),
        ("signatures-size-0", 76, 4, 0),
        ("signatures-size-huge", 76, 4, 2**32 - 1),
        ("signatures-offset-off", 80, 8, prologue.signatures_offset + 1),
        ("leaf-table-offset-off", 88, 8, prologue.leaf_table_offset + 1),
        ("data-offset-less", 96, 8, prologue.data_offset - 1),
        ("data-offset-huge", 96, 8, 2**64 - 1),
        ("section-count-0", 104, 4, 0),
        ("section-count-huge", 104, 4, 2**32 - 1),
        ("section-count-off", 104, 4, 1),
        ("stored-count-0", 108, 4, 0),
        ("stored-count-huge", 108, 4, 2**32 - 1),
        ("stored-count-off", 108, 4, 3),
        ("reserved-first", 112, 1, 1),
        ("reserved-last", 127, 1, 1),
    )
    for name, offset, width, value in numbers:
        change = write(offset, value.to_bytes(width, "little"))
        vectors.refuse(small, name, "container_malformed", change)
    more = write(56, (size + 1).to_bytes(8, "little"))
    vectors.refuse(small, "file-size-more", "container_truncated", more)


def trust_refusals(vectors: Vectors, small: Case) -> None:
    data = vectors.files[small["file"]]
    prologue = Prologue.from_bytes(data)
    signature, wrong = "container_signature", "wrong_publisher"
    vectors.refuse(small, "file-id-changed", signature, xor(16))
    vectors.refuse(small, "product-changed", signature, xor(data.index(b"demo")))
    vectors.refuse(small, "entitlement-changed", signature, xor(data.index(b"face.swap")))
    start = prologue.signatures_offset
    vectors.refuse(small, "ed25519-changed", signature, xor(data.index(b"csigX", start) + 6))
    vectors.refuse(small, "ml-dsa-changed", signature, xor(prologue.leaf_table_offset - 1))
    vectors.refuse(small, "another-publisher", wrong, trust=["other"])
    vectors.refuse(small, "another-product", "wrong_product", product="other")
    alone = next(case for case in vectors.valid if case["name"] == "sizes")
    both = ["ed25519", "ml-dsa-65"]
    vectors.refuse(alone, "ml-dsa-demanded-and-not-there", signature, trust=both)
    vectors.refuse(alone, "no-signer-pinned", wrong, trust=["ml-dsa-65"])
