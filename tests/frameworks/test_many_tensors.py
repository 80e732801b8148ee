"""A hundred thousand tiny tensors in one file: read in bounded memory, none mixed up."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from modelseal.errors import InvalidBytes
from modelseal.frameworks.safetensors import header

COUNT = 100_000


def tiny(count: int = COUNT) -> bytes:
    told = {
        f"t{n}": {"dtype": "U8", "shape": [1], "data_offsets": [n, n + 1]} for n in range(count)
    }
    return json.dumps(told).encode()


def test_a_hundred_thousand_tiny_tensors_have_their_places() -> None:
    raw = tiny()
    found = header.parse(raw, 8 + len(raw) + COUNT)
    assert len(found.tensors) == COUNT
    assert found.data_begin == 8 + len(raw)
    for n in (0, 1, COUNT // 2, COUNT - 1):
        info = found.tensors[f"t{n}"]
        assert (info.begin, info.end) == (8 + len(raw) + n, 8 + len(raw) + n + 1)


def test_a_tensor_costs_little_memory_however_many_there_are() -> None:
    few = COUNT // 20
    raw = tiny(few)
    tracemalloc.start()
    header.parse(raw, 8 + len(raw) + few)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * few


def test_one_wrong_place_among_a_hundred_thousand_is_noticed() -> None:
    raw = tiny().replace(b"[77777, 77778]", b"[77776, 77777]")
    with pytest.raises(InvalidBytes):
        header.parse(raw, 8 + len(raw) + COUNT)
