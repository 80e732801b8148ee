"""GGUF from memory: the reader of the package ``gguf``, and whatever maps a path.

llama-cpp-python needs a compiler and is not run here; what it is given (a path that it maps, and
that leads to a file in memory) is checked with a class of its signature.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import ContainerDamaged, ExtraMissing, Misuse, NotEntitled, NotSealed
from modelseal.frameworks import gguf as adapter
from modelseal.runtime.gguf import memory_file, opening_class
from modelseal.runtime.hook import gguf_

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install -r requirements/more.txt")

WEIGHTS = np.arange(4096, dtype=np.float32).reshape(64, 64)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A GGUF file written by the package."""
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", WEIGHTS)
    for write in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file"):
        getattr(writer, write)()
    writer.close()
    return path


class Llama:
    """As llama-cpp-python's: keeps the path, asks for the file, maps it, closes it."""

    def __init__(
        self,
        model_path: str,
        *,
        use_mmap: bool = True,
        lora_path: str | None = None,
        **more: object,
    ) -> None:
        assert os.path.exists(model_path)
        self.model_path, self.lora_path, self.more = model_path, lora_path, more
        self.mapped = []
        for path in filter(None, (model_path, lora_path)):
            with open(path, "rb") as file:
                self.mapped.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@pytest.fixture
def llama_cpp(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("llama_cpp.llama")
    module.Llama = type("Llama", (Llama,), {"__init__": Llama.__init__})
    monkeypatch.setitem(sys.modules, "llama_cpp", module)
    opening_class.cache_clear()
    modelseal.gguf.__dict__.pop("Llama", None)
    return module


def files_in_memory() -> list[str]:
    places = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    targets = [os.readlink(place) for place in places if os.path.lexists(place)]
    return [target for target in targets if "memfd:kept.gguf" in target]


def test_the_reader_reads_a_sealed_file_as_the_plain_one(
    plain: Path, shop: Shop, licensee: ShopLicensee
) -> None:
    path, _ = shop.seal("tiny.gguf", plain.read_bytes())
    expected, found = gguf.GGUFReader(plain), modelseal.gguf.GGUFReader(path)
    assert isinstance(found, gguf.GGUFReader)
    assert list(found.fields) == list(expected.fields)
    path.unlink()
    assert np.array_equal(found.tensors[0].data, WEIGHTS)
    with pytest.raises(NotSealed):
        modelseal.gguf.GGUFReader(plain)
    assert len(modelseal.gguf.GGUFReader(plain, allow_plain=True).tensors) == 1


def test_llama_gets_a_path_of_a_file_in_memory_and_keeps_the_sealed_one(
    plain: Path, shop: Shop, licensee: ShopLicensee, llama_cpp: ModuleType
) -> None:
    path, _ = shop.seal("kept.gguf", plain.read_bytes())
    model = modelseal.gguf.Llama(str(path), lora_path=str(path), n_ctx=16)
    assert isinstance(model, llama_cpp.Llama) and model.more == {"n_ctx": 16}
    assert (model.model_path, model.lora_path) == (str(path), str(path))
    assert [bytes(each) for each in model.mapped] == [plain.read_bytes()] * 2
    for each in model.mapped:  # Python's own map keeps a descriptor
        each.close()
    assert not files_in_memory()
    named = modelseal.gguf.Llama(model_path=path)
    assert named.model_path == path


def test_the_hook_serves_a_llama_that_was_never_changed(
    plain: Path, shop: Shop, licensee: ShopLicensee, llama_cpp: ModuleType
) -> None:
    gguf_.patch(llama_cpp)
    gguf_.patch(llama_cpp)
    path, _ = shop.seal("tiny.gguf", plain.read_bytes())
    assert bytes(llama_cpp.Llama(str(path)).mapped[0]) == plain.read_bytes()
    untouched = llama_cpp.Llama(model_path=str(plain), use_mmap=False)
    assert untouched.model_path == str(plain)


def test_without_the_packages_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, find in adapter.CLASSES.items():
        monkeypatch.setitem(sys.modules, "llama_cpp" if name == "Llama" else "gguf", None)
        with pytest.raises(ExtraMissing) as raised:
            find()
        assert raised.value.params["extra"] == "gguf"


def test_refused_damaged_and_split_files_are_our_errors(
    plain: Path, shop: Shop, licensee: ShopLicensee
) -> None:
    path, _ = shop.seal("no.gguf", plain.read_bytes(), entitlement="face.restore")
    with pytest.raises(NotEntitled):
        modelseal.gguf.GGUFReader(path)
    path, _ = shop.seal("m-00001-of-00002.gguf", plain.read_bytes())
    with pytest.raises(Misuse, match="join the parts"):
        modelseal.gguf.GGUFReader(path)
    path, _ = shop.seal("bad.gguf", plain.read_bytes())
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ContainerDamaged):
        modelseal.gguf.GGUFReader(path)


def test_a_file_in_memory_cannot_be_changed_and_reaches_a_child_by_its_descriptor(
    plain: Path, shop: Shop, licensee: ShopLicensee
) -> None:
    path, _ = shop.seal("tiny.gguf", plain.read_bytes())
    file = memory_file(path)
    with pytest.raises(PermissionError):
        os.pwrite(file.fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(file.fd, 1)
    code = (
        "import sys, gguf, numpy as np\n"
        "data = gguf.GGUFReader(f'/proc/self/fd/{sys.argv[1]}').tensors[0].data\n"
        "assert data.shape == (64, 64) and data[63, 63] == 4095"
    )
    child = [sys.executable, "-c", code, str(file.fd)]
    subprocess.run(child, pass_fds=[file.fd], check=True, timeout=300)
    file.close()
    assert file.fd == -1
