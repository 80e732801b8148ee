"""Only what is asked for is read and decrypted: chunks are counted, not seconds."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import InvalidBytes, ModelsealError
from modelseal.runtime import files

CHUNK = 65536
TENSORS = {f"t{n:02}": np.full((64, 1024), n, dtype=np.float32) for n in range(16)}  # 256 KiB each


@pytest.fixture
def counted() -> object:
    """How many stored chunks of the opened file had their leaf compared since it was opened."""

    def count() -> int:
        opened = list(files._files.values())[-1]
        return sum(opened.file.model._proved)

    return count


def test_one_tensor_costs_its_own_chunks(shop: Shop, licensee: ShopLicensee, counted) -> None:
    path, _ = shop.seal("m.safetensors", safetensors.numpy.save(TENSORS))
    with modelseal.safetensors.safe_open(path) as file:
        opening = counted()
        assert opening <= 3  # the index, and the chunk with the header
        assert file.get_tensor("t07")[0, 0] == 7
        assert counted() - opening <= 5  # 256 KiB lie in at most five chunks of 64 KiB
        before = counted()
        assert file.get_slice("t12")[:2].shape == (2, 1024)
        assert counted() - before <= 2


def test_one_shard_and_one_adapter_leave_the_others_alone(
    shop: Shop, licensee: ShopLicensee, counted
) -> None:
    shards = {
        f"model-{n:05}-of-00004.safetensors": safetensors.numpy.save({f"w{n}": TENSORS["t01"]})
        for n in range(1, 5)
    }
    adapter = {"lora/adapter_model.safetensors": safetensors.numpy.save({"a": np.ones(8)})}
    path, _ = shop.seal("big.sealed", shards | adapter | {"config.json": b"{}"})
    view = modelseal.open(path)
    opening = counted()
    modelseal.safetensors.load_file(path / "lora/adapter_model.safetensors")
    assert counted() - opening == 1
    before = counted()
    modelseal.safetensors.load_file(path / "model-00003-of-00004.safetensors")
    assert counted() - before <= 6
    view.close()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_sizes_at_the_edge_of_a_chunk(shop: Shop, licensee: ShopLicensee, size: int) -> None:
    array = np.arange(size, dtype=np.uint8)
    path, _ = shop.seal("m.safetensors", safetensors.numpy.save({"a": array}))
    assert np.array_equal(modelseal.safetensors.load_file(path)["a"], array)
    raw, _ = shop.seal("m.bin", array.tobytes())
    with modelseal.open(raw) as sealed:
        assert sealed.read() == array.tobytes()


def test_a_hundred_thousand_tiny_tensors(shop: Shop, licensee: ShopLicensee) -> None:
    count = 100_000
    header = {
        f"t{n}": {"dtype": "U8", "shape": [1], "data_offsets": [n, n + 1]} for n in range(count)
    }
    text = json.dumps(header).encode()
    data = struct.pack("<Q", len(text)) + text + bytes(n % 251 for n in range(count))
    path, _ = shop.seal("m.safetensors", data, chunk_bytes=262144)
    found = modelseal.safetensors.load_file(path)
    assert len(found) == count and found["t99999"][0] == 99999 % 251


HOSTILE = {
    "overlap": {"a": ("U8", [4], 0, 4), "b": ("U8", [4], 2, 6)},
    "gap": {"a": ("U8", [2], 0, 2), "b": ("U8", [2], 4, 6)},
    "past the end": {"a": ("U8", [99], 0, 99)},
    "backwards": {"a": ("U8", [0], 6, 0)},
    "2^64": {"a": ("U8", [2**32, 2**32], 0, 2**64)},
    "an unknown dtype": {"a": ("Q7", [6], 0, 6)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused(shop: Shop, licensee: ShopLicensee, name: str) -> None:
    header = {
        tensor: {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
        for tensor, (dtype, shape, begin, end) in HOSTILE[name].items()
    }
    text = json.dumps(header).encode()
    refuse(shop, struct.pack("<Q", len(text)) + text + bytes(6))


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 500_000) + b'{"a":' * 100_000,
        struct.pack("<Q", 200_006) + b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 10) + b'{"a":1}',
        b"\0" * 7,
    ],
    ids=["deep lists", "deep objects", "deep and closed", "2^63", "cut off", "too short"],
)
def test_hostile_bytes_are_refused(shop: Shop, licensee: ShopLicensee, data: bytes) -> None:
    refuse(shop, data)


def refuse(shop: Shop, data: bytes) -> None:
    path, _ = shop.seal("m.safetensors", data)
    with pytest.raises(InvalidBytes):
        modelseal.safetensors.safe_open(path)
    with pytest.raises(InvalidBytes):
        modelseal.safetensors.load(path.read_bytes())


@pytest.mark.parametrize(
    "name", ["../other", "a/../../b", "/etc/passwd", "a\0b", "a" * 5000, "", ".", "none/"]
)
def test_names_that_lead_out_of_a_sealed_folder_lead_nowhere(
    shop: Shop, licensee: ShopLicensee, name: str
) -> None:
    path, _ = shop.seal("folder.sealed", {"a/m.safetensors": b"x", "config.json": b"{}"})
    with pytest.raises(ModelsealError):
        modelseal.safetensors.load_file(f"{path}/a/{name}/m.safetensors")
    with modelseal.open(path) as sealed, pytest.raises(ModelsealError):
        sealed.read(name)
    assert not (Path(path).parent / "other").exists()
