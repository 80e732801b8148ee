"""Makes ``vectors/optimised-onnx/manifest.json``; with ``--check`` compares it instead.

One head, byte for byte, with what it says, and the input that its question means.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import blake3

from modelseal.frameworks.onnx import head
from modelseal.frameworks.onnx.answers import Question
from modelseal.frameworks.onnx.head import Head, Piece

OUT = Path(__file__).resolve().parents[1] / "vectors" / "optimised-onnx" / "manifest.json"
SEED = bytes(range(16))
VALUE = Head(
    machine={"onnxruntime": "1.32.0", "build": "b", "system": "linux", "machine": "x86_64",
             "processor": "avx avx2 fma"},
    size_bytes=8320,
    graph_offset=8256,
    graph_bytes=64,
    pieces=(Piece("swap.onnx", 70, 4096, 0), Piece("swap.onnx.optimised.body", 0, 4224, 4096)),
    direct=True,
    erased=((0, 4096),),
    question=Question(SEED, 2, (("x", "tensor(float)", (2, 4)), ("ids", "tensor(int64)", (3,)))),
    answers=(blake3.blake3(b"answer").digest(),),
)  # fmt: skip


def manifest() -> str:
    """The text of the file."""
    raw = [
        blake3.blake3(SEED + n.to_bytes(4, "little")).digest(length=c) for n, c in ((0, 8), (1, 3))
    ]
    found = {
        "spec": "docs/spec/optimised-onnx.md",
        "head": head.encode(VALUE).hex(),
        "pieces": [[p.name, p.offset, p.size_bytes, p.place] for p in VALUE.pieces],
        "graph": [VALUE.graph_offset, VALUE.graph_bytes],
        "size": VALUE.size_bytes,
        "erased": [list(part) for part in VALUE.erased],
        "inputs": {
            "x": [byte / 128 - 1 for byte in raw[0]],
            "ids": [byte % 2 for byte in raw[1]],
        },
    }
    return json.dumps(found, indent=1) + "\n"


def main() -> int:
    """Exit code 1 when ``--check`` finds another file."""
    if "--check" in sys.argv[1:]:
        return 0 if OUT.is_file() and OUT.read_text() == manifest() else 1
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(manifest())
    return 0


if __name__ == "__main__":
    sys.exit(main())
