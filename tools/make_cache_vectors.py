"""Makes ``vectors/sealed-cache/manifest.json``; with ``--check`` compares it instead.

One file, by its front and the digest of the whole, from keys, salt and plaintext that are told.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from modelseal.runtime.cache import form
from modelseal.runtime.cache.form import Header, Origin

OUT = Path(__file__).resolve().parents[1] / "vectors" / "sealed-cache" / "manifest.json"
KEYS = [bytes(range(32)), bytes(range(32, 64))]
PLAIN = bytes(n % 251 for n in range(form.CHUNK_BYTES + 5))
HEADER = Header(
    "openvino-compiled",
    (Origin("/models/net.xml", b"\x11" * 32, b"\x22" * 32, (0, 1)),),
    len(PLAIN),
    b"\x33" * 32,
)


def manifest() -> str:
    """The text of the file."""
    front = form.encode(HEADER)
    cipher = form.cipher(front, HEADER, [memoryview(key) for key in KEYS])
    chunks = list(form.seal(cipher, front, memoryview(PLAIN)))
    found = {
        "spec": "docs/spec/sealed-cache.md",
        "front": front.hex(),
        "data_keys": [key.hex() for key in KEYS],
        "plaintext": "byte n is n mod 251",
        "size": len(PLAIN),
        "last_chunk": chunks[-1].hex(),
        "file_sha256": hashlib.sha256(front + b"".join(chunks)).hexdigest(),
    }
    return json.dumps(found, indent=2) + "\n"


def main() -> int:
    """Writes the vectors, or says with 1 that they differ."""
    if "--check" in sys.argv[1:]:
        return int(OUT.read_text() != manifest())
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(manifest())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
