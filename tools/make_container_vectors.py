"""Makes ``vectors/sealed-model/`` afresh: ``python tools/make_container_vectors.py``.

All keys and random bytes are drawn from SHAKE-256 of fixed texts. Two things still differ from run
to run, because the library draws its own randomness: ML-DSA signatures and HPKE ciphertexts. So a
new run gives new files with the same meaning; the committed ones stay for ever.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from container_changes import prologue_refusals, trust_refusals, write, xor
from container_forge import Forge, Forged, Part, drbg, index_of, one_entry
from container_refusals import signed_refusals
from modelseal.container import (
    BytesSink,
    BytesSource,
    EntryPlan,
    Prologue,
    SealedResult,
    SealPlan,
    SectionPlan,
    TogetherRef,
    crc_trailer,
    parse,
    seal,
)
from modelseal.crypto.hpke import KemPrivateKey
from modelseal.crypto.signing import SigningKey
from modelseal.types import EntitlementExpression, Level, MemoryProtection

FOLDER = Path(__file__).resolve().parent.parent / "vectors" / "sealed-model"
CREATED_AT = datetime(2026, 10, 1, 12, tzinfo=UTC)
CHUNK = 65536
_KEYS = drbg("modelseal container vectors: keys")
ED25519 = SigningKey("Ed25519", Ed25519PrivateKey.from_private_bytes(_KEYS(32)))
MLDSA = SigningKey("ML-DSA-65", MLDSA65PrivateKey.from_seed_bytes(_KEYS(32)))
OTHER = SigningKey("Ed25519", Ed25519PrivateKey.from_private_bytes(_KEYS(32)))
RECOVERY = KemPrivateKey(_KEYS(96))
Case = dict[str, Any]


def plaintext(name: str, size: int) -> bytes:
    """Bytes that anybody can make again: SHAKE-256 of the name."""
    return hashlib.shake_256(f"plaintext {name}".encode()).digest(size)


class Vectors:
    """Collects files and cases, and writes them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.valid: list[Case] = []
        self.refused: list[Case] = []

    def add(
        self,
        name: str,
        data: bytes,
        data_keys: dict[int, bytes],
        entries: dict[str, bytes],
        **more: Any,
    ) -> Case:
        """A valid file."""
        self.files[f"{name}.sealed"] = data
        case: Case = {
            "name": name,
            "file": f"{name}.sealed",
            "trust": ["ed25519", "ml-dsa-65"],
            "product": "demo",
            "data_keys": {str(section): key.hex() for section, key in data_keys.items()},
            "entries": {n: hashlib.sha256(plain).hexdigest() for n, plain in entries.items()},
            **more,
        }
        self.valid.append(case)
        return case

    def derive(self, base: Case, name: str, *changes: Case, **more: Any) -> None:
        """A valid file made from another by ``changes``, or opened in another way."""
        self.valid.append({**base, "name": name, "changes": list(changes), **more})

    def refuse(self, base: Case, name: str, code: str, *changes: Case, **more: Any) -> None:
        """A refusal made from a valid file by ``changes``, or by what the reader is given."""
        case = {k: v for k, v in base.items() if k not in ("entries", "changes")}
        if changes:
            case["changes"] = [*base.get("changes", []), *changes]
        self.refused.append({**case, "name": name, "code": code, **more})

    def write(self) -> None:
        """Everything on disk, older files removed."""
        (FOLDER / "refused").mkdir(parents=True, exist_ok=True)
        for old in [*FOLDER.glob("*.sealed"), *FOLDER.glob("refused/*.sealed")]:
            old.unlink()
        for name, data in self.files.items():
            (FOLDER / name).write_bytes(data)
        manifest = {
            "format": "modelseal sealed-model vectors, version 1",
            "keys": {
                "ed25519": ED25519.jwk,
                "ml-dsa-65": MLDSA.jwk,
                "other": OTHER.jwk,
                "recovery_kid": RECOVERY.kid,
                "recovery_private": RECOVERY.to_bytes().hex(),
            },
            "valid": self.valid,
            "refused": self.refused,
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=True)
        (FOLDER / "manifest.json").write_text(text + "\n", encoding="utf-8")


def sealed(
    name: str, *sections: SectionPlan, both: bool = True, **more: Any
) -> tuple[bytes, SealedResult]:
    """A file made by the package itself."""
    values = {"product": "demo", "model": name, "model_version": "1.0", "release": 1} | more
    plan = SealPlan(created_at=CREATED_AT, sections=sections, chunk_bytes=CHUNK, **values)
    sink = BytesSink()
    result = seal(
        plan,
        sink,
        publisher=[ED25519, MLDSA] if both else [ED25519],
        recovery=RECOVERY.public_key(),
        random=drbg(f"{name} {more.get('release', 1)}"),
    )
    return sink.getvalue(), result


def section(entitlement: str, entries: dict[str, bytes], **more: Any) -> SectionPlan:
    """One section with whole files."""
    plans = [EntryPlan(name, BytesSource(plain)) for name, plain in entries.items()]
    return SectionPlan(EntitlementExpression.parse(entitlement.split()), plans, **more)


def forge(name: str) -> Forge:
    """A forge with randomness of its own."""
    return Forge([ED25519], RECOVERY.public_key(), drbg(f"forge {name}"))


def main() -> None:
    """Make and write all vectors."""
    vectors = Vectors()
    small = _small(vectors)
    _sections(vectors)
    _sizes(vectors)
    _together(vectors)
    _variant(vectors)
    _unknown(vectors)
    prologue_refusals(vectors, small)
    trust_refusals(vectors, small)
    for name, code, what, forged in signed_refusals(forge):
        _add_hostile(vectors, name, code, what, forged)
    vectors.write()


def _add_hostile(vectors: Vectors, name: str, code: str, what: str, forged: Forged) -> None:
    file = f"refused/{name}.sealed" if code else f"{name}.sealed"
    vectors.files[file] = forged.data
    case: Case = {
        "name": name,
        "file": file,
        "trust": ["ed25519"],
        "product": "demo",
        "data_keys": {str(k): key.hex() for k, key in forged.data_keys.items()},
    }
    if code:
        vectors.refused.append({**case, "code": code, "wrong": what})
    else:
        entries = {"a.bin": hashlib.sha256(b"the plaintext of the hostile ones").hexdigest()}
        vectors.valid.append({**case, "entries": entries})


def _small(vectors: Vectors) -> Case:
    entries = {"hello.txt": plaintext("hello", 1000), "empty": b""}
    data, made = sealed("small", section("face.swap", entries))
    case = vectors.add("small", data, made.data_keys, entries)
    trailer = crc_trailer(zlib.crc32(data), zlib.crc32(entries["hello.txt"]))
    vectors.derive(case, "crc-trailer", {"op": "append", "hex": trailer.hex()})
    vectors.derive(case, "trust-ed25519-alone", trust=["ed25519"])
    vectors.derive(case, "trust-ml-dsa-alone", trust=["ml-dsa-65"])
    vectors.derive(case, "trust-with-a-key-that-did-not-sign", trust=["ed25519", "other"])
    vectors.derive(case, "product-not-asked", product=None)
    data, made = sealed("small-sha256", section("face.swap", entries), suite=2)
    vectors.add("small-sha256", data, made.data_keys, entries)
    return case


def _sections(vectors: Vectors) -> None:
    model = plaintext("model.onnx", 3000 + 150_000)
    notes, readme = plaintext("notes", 130), plaintext("readme", 70_000)
    plans = (
        section(
            "face.swap+gpu research", {"README.md": readme, "模型/notes.txt": notes}, name="texts"
        ),
        SectionPlan(
            EntitlementExpression.parse(["face.swap"]),
            [EntryPlan("model.onnx", BytesSource(model[:3000]))],
            kind="graph",
            min_level=Level.L2,
            memory=MemoryProtection.SECRET,
        ),
        SectionPlan(
            EntitlementExpression.parse(["face.swap"]),
            [EntryPlan("model.onnx", BytesSource(model[3000:]), file_offset=3000)],
            kind="weights",
            name="weights",
        ),
    )
    entries = {"README.md": readme, "模型/notes.txt": notes, "model.onnx": model}
    data, made = sealed("sections", *plans, release=7)
    case = vectors.add("sections", data, made.data_keys, entries)
    other, _ = sealed("sections", *plans, release=8, both=True)
    vectors.files["sections-release-8.sealed"] = other
    granted = {k: v for k, v in case["data_keys"].items() if k in "01"}
    part = {k: case["entries"][k] for k in ("README.md", "模型/notes.txt")}
    vectors.derive(case, "sections-one-granted", data_keys=granted, entries=part)
    _chunk_refusals(vectors, case, data)


def _chunk_refusals(vectors: Vectors, case: Case, data: bytes) -> None:
    """Stored chunks: 0 index, 1 and 2 texts, 3 graph, 4 to 6 weights."""
    prologue = Prologue.from_bytes(data)
    model = parse(BytesSource(data)).verify_signatures([ED25519.verify_key()], product="demo")
    chunks = model.leaf_ranges()
    damaged = "container_damaged"
    for number, what in ((0, "index"), (1, "first"), (4, "middle"), (6, "last")):
        offset, size, _ = chunks[number]
        vectors.refuse(case, f"chunk-{what}-ciphertext", damaged, xor(offset))
        vectors.refuse(case, f"chunk-{what}-tag", damaged, xor(offset + size - 1, "80"))
        vectors.refuse(case, f"leaf-{what}", damaged, xor(prologue.leaf_table_offset + 32 * number))
    four, five, whole = chunks[4].offset, chunks[5].offset, chunks[4].size
    vectors.refuse(
        case,
        "chunks-swapped",
        damaged,
        {"op": "swap", "offset": four, "other": five, "size": whole},
    )
    vectors.refuse(
        case, "chunk-repeated", damaged, {"op": "copy", "from": four, "offset": five, "size": whole}
    )
    vectors.refuse(
        case,
        "chunk-of-another-section",
        damaged,
        {"op": "copy", "from": chunks[1].offset, "offset": four, "size": whole},
    )
    vectors.refuse(
        case, "chunk-dropped", "container_truncated", {"op": "cut", "offset": four, "size": whole}
    )
    release_8 = parse(BytesSource(vectors.files["sections-release-8.sealed"]))
    at = release_8.verify_signatures([ED25519.verify_key()], product="demo").leaf_ranges()[4].offset
    vectors.refuse(
        case,
        "chunk-of-another-release",
        damaged,
        {
            "op": "splice",
            "file": "sections-release-8.sealed",
            "from": at,
            "offset": four,
            "size": whole,
        },
    )
    vectors.refuse(
        case,
        "leaf-table-of-another-release",
        damaged,
        {
            "op": "splice",
            "file": "sections-release-8.sealed",
            "from": release_8.prologue.leaf_table_offset,
            "offset": prologue.leaf_table_offset,
            "size": prologue.leaf_table_bytes,
        },
    )
    vectors.refuse(
        case,
        "front-of-another-release",
        damaged,
        {
            "op": "splice",
            "file": "sections-release-8.sealed",
            "from": 0,
            "offset": 0,
            "size": prologue.front_bytes,
        },
    )
    _forged_chunk(vectors, case, data)
    keys = dict(case["data_keys"])
    vectors.refuse(case, "key-of-another-section", damaged, data_keys={**keys, "2": keys["3"]})
    vectors.refuse(case, "key-short", damaged, data_keys={**keys, "2": keys["2"][:62]})
    vectors.refuse(case, "key-unknown", damaged, data_keys={**keys, "3": "00" * 32})
    vectors.refuse(case, "key-of-the-index-unknown", damaged, data_keys={**keys, "0": "00" * 32})
    vectors.refuse(case, "release-too-old", "release_too_old", min_release=8)


def _forged_chunk(vectors: Vectors, case: Case, data: bytes) -> None:
    """A licensee who knows the key writes the graph anew: it opens, but its leaf is not signed."""
    from modelseal.container import _keys as keys

    model = parse(BytesSource(data)).verify_signatures([ED25519.verify_key()], product="demo")
    offset, size, _ = model.leaf_ranges()[3]
    data_key = bytes.fromhex(case["data_keys"]["2"])
    cipher = keys.section_cipher(model.prologue_hash, data_key, (), 2)
    forged = cipher.encrypt(keys.nonce(0, True), bytes(size - 16), keys.aad(2, 3))
    vectors.refuse(case, "chunk-forged-with-the-key", "container_damaged", write(offset, forged))


def _sizes(vectors: Vectors) -> None:
    entries = {f"size-{n}": plaintext(f"size {n}", n) for n in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1)}
    plans = [section("demo", {name: plain}) for name, plain in entries.items()]
    data, made = sealed("sizes", *plans, both=False)
    vectors.add("sizes", data, made.data_keys, entries, trust=["ed25519"])


def _together(vectors: Vectors) -> None:
    safety = {"nsfw.onnx": plaintext("nsfw", 500)}
    data, made = sealed("safety", section("safety", safety), both=False, secret_for_together=True)
    assert made.together_secret is not None
    vectors.add(
        "safety",
        data,
        made.data_keys,
        safety,
        trust=["ed25519"],
        secret=made.together_secret.hex(),
    )
    other = drbg("other secret")(32)
    swap = {"swap.onnx": plaintext("swap", 700)}
    others = (TogetherRef("safety", made.together_secret), TogetherRef("watermark", other))
    data, made_swap = sealed("swapper", section("swap", swap, together_with=others), both=False)
    secrets = {"safety": made.together_secret.hex(), "watermark": other.hex()}
    case = vectors.add(
        "swapper", data, made_swap.data_keys, swap, trust=["ed25519"], together=secrets
    )
    missing = "together_missing"
    vectors.refuse(case, "together-not-given", missing, together={})
    vectors.refuse(case, "together-one-not-given", missing, together={"safety": secrets["safety"]})
    wrong = {"safety": secrets["watermark"], "watermark": secrets["safety"]}
    vectors.refuse(case, "together-exchanged", missing, together=wrong)


def _variant(vectors: Vectors) -> None:
    plain = plaintext("variant", CHUNK + 4000)
    plain_2 = plaintext("variant 2", 600)
    parts = (
        Part(plain, kind="variant", variants=2),
        Part(plain_2, kind="variant", variants=3),
        Part(b"beside"),
    )
    index = index_of(
        one_entry("v.bin", plain), one_entry("w.bin", plain_2, 2), one_entry("x", b"beside", 3)
    )
    made = forge("variant").make(index, *parts)
    entries = {"v.bin": plain, "w.bin": plain_2, "x": b"beside"}
    keys = {k: v for k, v in made.data_keys.items() if k not in (1, 2)}
    picked = {1: made.bundle(1, lambda chunk: chunk % 2), 2: made.bundle(2, lambda chunk: 2)}
    bundle = {str(s): [[a.hex(), b.hex()] for a, b in found] for s, found in picked.items()}
    case = vectors.add(
        "variant",
        made.data,
        keys,
        entries,
        trust=["ed25519"],
        bundle_keys=bundle,
        seeds={str(s): made.data_keys[s].hex() for s in (1, 2)},
    )
    model = parse(BytesSource(made.data)).verify_signatures([ED25519.verify_key()], product="demo")
    ranges = model.leaf_ranges()
    # stored chunks: 0 index, 1-2 and 3-4 the variants of v.bin, 5-7 of w.bin, 8 the rest
    unused = [{"op": "zero", "offset": ranges[i].offset, "size": ranges[i].size} for i in (2, 3, 5)]
    vectors.derive(case, "variant-holes", *unused, holes=True)
    damaged = "container_damaged"
    vectors.refuse(case, "variant-holes-not-allowed", damaged, *unused)
    used = {"op": "zero", "offset": ranges[1].offset, "size": ranges[1].size}
    vectors.refuse(case, "variant-hole-that-is-needed", damaged, used, holes=True)
    rest = {"op": "zero", "offset": ranges[8].offset, "size": ranges[8].size}
    vectors.refuse(case, "hole-outside-variants", damaged, rest, holes=True)
    (label, key), second = bundle["1"]
    (w_label, w_key) = bundle["2"][0]
    for name, changed in (
        ("variant-key-wrong", {**bundle, "1": [[label, "00" * 32], second]}),
        ("variant-label-unknown", {**bundle, "1": [["00" * 16, key], second]}),
        ("variant-key-of-another-chunk", {**bundle, "1": [[label, second[1]], second]}),
        ("variant-label-of-another-section", {**bundle, "2": [[label, key]]}),
        ("variant-key-short", {**bundle, "2": [[w_label, w_key[:60]]]}),
    ):
        vectors.refuse(case, name, damaged, bundle_keys=changed)
    prologue = made.prologue
    records_at = prologue.leaf_table_offset + 32 * prologue.stored_count
    vectors.refuse(case, "variant-record-changed", damaged, xor(records_at + 30))


def _unknown(vectors: Vectors) -> None:
    plain = plaintext("unknown", 100)
    maker = forge("unknown")
    later = {"later": [1, b"\x02", "three", {"4": None}]}

    def change(header: dict[str, Any]) -> None:
        header.update(later)
        header["sections"][1].update(later)

    maker.on_header = change
    made = maker.make(index_of(one_entry("a.bin", plain, **later), **later), Part(plain))
    vectors.add("unknown-members", made.data, made.data_keys, {"a.bin": plain}, trust=["ed25519"])


if __name__ == "__main__":
    main()
