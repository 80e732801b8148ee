"""Programs that check, re-read and delete their models, as an app recipe says and without one."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from tests import onnx_models
from tests.apps.conftest import PROGRAMS, Run
from tests.runtime.shop import Shop

from modelseal import container

RECIPE = """\
typ = "modelseal-app-recipe"
version = 1
name = "checking"
title = "A program of the tests"

[[reader]]
module = "__main__"
function = "last_initializer"
files = ["models/*.onnx"]
initializers = [-1]

[[check]]
module = "__main__"
function = "has_sha256"
kind = "sha256"
files = ["models/*.onnx"]
answer = "plain"

[[check]]
module = "__main__"
function = "has_digest"
kind = "sha256"
files = ["models/*.onnx"]
answer = "plain"

[[check]]
module = "__main__"
kind = "size"
files = ["models/*.onnx"]
answer = "plain"
"""


@pytest.fixture
def app(tmp_path: Path, shop: Shop) -> tuple[Path, Path]:
    """The program with a plain and with a sealed model, each in a folder of its own; the sealed
    one has the CRC-32 of the plain, as sealing in place leaves it."""
    data = onnx_models.convolutions()
    told = {
        "crc32": format(zlib.crc32(data), "08x"),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }
    folders = []
    for name in ("plain", "sealed"):
        folder = tmp_path / name / "models"
        folder.mkdir(parents=True)
        shutil.copy(PROGRAMS / "checking.py", folder.parent / "app.py")
        (folder / "m.json").write_text(json.dumps(told))
        folders.append(folder.parent)
    (folders[0] / "models" / "m.onnx").write_bytes(data)
    sealed = shop.seal("m.onnx", data)[0].read_bytes()
    trailer = container.crc_trailer(zlib.crc32(sealed), zlib.crc32(data))
    (folders[1] / "models" / "m.onnx").write_bytes(sealed + trailer)
    assert zlib.crc32(sealed + trailer) == zlib.crc32(data)
    return folders[0], folders[1]


def _run(run: Run, folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder / "app.py", folder / "models" / "m.onnx")


def test_a_program_that_checks_and_reads_again_works_as_with_the_plain_model(
    app: tuple[Path, Path], plain: Run, protected: Run
) -> None:
    (app[1] / "modelseal.recipe.toml").write_text(RECIPE)
    before = (app[1] / "models" / "m.onnx").read_bytes()
    expected, found = _run(plain, app[0]), _run(protected, app[1])
    assert expected.returncode == 0 and "sha256 True" in expected.stdout, expected.stderr
    assert (found.returncode, found.stdout, found.stderr) == (0, expected.stdout, "")
    assert (app[1] / "models" / "m.onnx").read_bytes() == before


def test_without_the_hook_an_in_place_file_passes_its_check_and_stays_while_the_load_fails(
    app: tuple[Path, Path], plain: Run, tmp_path: Path
) -> None:
    model = app[1] / "models" / "m.onnx"
    before = model.read_bytes()
    program = tmp_path / "crc.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(PROGRAMS)!r}); import checking, onnxruntime\n"
        "path = sys.argv[1]\n"
        "checking.delete_unless(checking.has_crc32(path), path, 'crc32')\n"
        "onnxruntime.InferenceSession(path)\n"
    )
    found = plain(program, model)
    assert found.returncode == 1 and found.stdout == "crc32 True\n"
    assert "InvalidProtobuf" in found.stderr
    assert model.read_bytes() == before


def test_without_a_recipe_nothing_is_handed_out_and_what_fails_its_check_is_not_deleted(
    app: tuple[Path, Path], protected: Run
) -> None:
    before = (app[1] / "models" / "m.onnx").read_bytes()
    found = _run(protected, app[1])
    assert found.stdout.count("sha256 False\nkept") == 1, found.stderr
    assert "size False\nkept" in found.stdout and "\nran " in found.stdout
    assert "initializer" not in found.stdout and found.returncode == 1
    assert "EgressRefused" in found.stderr and "__main__.last_initializer" in found.stderr
    assert "2 refused during this run" in found.stderr
    assert (app[1] / "models" / "m.onnx").read_bytes() == before


COMPARES = """\
import sys, checking
def verify(path):
    if not checking.has_sha256(path):
        sys.exit(int(sys.argv[2]))
verify(sys.argv[1])
"""


@pytest.mark.parametrize("code", [0, 1])
def test_of_a_program_that_fails_the_run_says_which_code_read_sealed_bytes(
    app: tuple[Path, Path], protected: Run, code: int
) -> None:
    shutil.copy(app[1] / "app.py", app[1] / "checking.py")
    (app[1] / "app.py").write_text(COMPARES)
    model = app[1] / "models" / "m.onnx"
    found = protected(app[1] / "app.py", model, code)
    assert found.returncode == code
    said = f"modelseal: checking.has_sha256 read the sealed bytes of {model}."
    assert (said in found.stderr) is bool(code) and found.stderr.count("modelseal:") == code
    (app[1] / "modelseal.recipe.toml").write_text(RECIPE.replace("__main__", "checking"))
    assert (protected(app[1] / "app.py", model, 1).returncode, found.stdout) == (0, "")


OTHERS = """\
import os, shutil, sys, onnx, checking
path = sys.argv[1]
for what in (
    lambda: checking.last_initializer(path),
    lambda: onnx.load(path),
    lambda: shutil.copyfile(path, path + ".copy"),
    lambda: os.path.getsize(path),
):
    try:
        found = what()
        print("got", found if isinstance(found, int) else "")
    except Exception as error:
        print(type(error).__name__)
print(open(path + ".copy", "rb").read(4))
print([t.name for t in checking.load(path).graph.initializer])
"""


def test_nobody_but_the_named_reader_gets_a_part_or_the_plaintext(
    app: tuple[Path, Path], protected: Run, tmp_path: Path
) -> None:
    recipe = RECIPE.replace("__main__", "checking")
    recipe = recipe.replace('kind = "size"', 'function = "has_size"\nkind = "size"')
    recipe = recipe.replace('function = "last_initializer"', 'function = "load"')
    (app[1] / "modelseal.recipe.toml").write_text(recipe)
    shutil.copy(app[1] / "app.py", app[1] / "checking.py")
    with (app[1] / "checking.py").open("a") as file:
        file.write("\ndef load(path):\n    return onnx.load(path)\n")
    (app[1] / "app.py").write_text(OTHERS)
    found = _run(protected, app[1])
    assert found.returncode == 0, found.stderr
    size = (app[1] / "models" / "m.onnx").stat().st_size
    refused = ["EgressRefused"] * 2
    assert found.stdout.splitlines()[:4] == [*refused, "got ", f"got {size}"]
    assert found.stdout.splitlines()[4] == r"b'\x89MSL'"
    (name,) = json.loads(found.stdout.splitlines()[5].replace("'", '"'))
    assert name


EDITS = """\
import sys, onnx, onnxruntime
model = onnx.load(sys.argv[1])
assert not model.graph.node and len(model.graph.initializer) == 1
model.graph.doc_string = "edited"
other = onnx.ModelProto(); other.CopyFrom(model)
for write in (
    lambda: onnx.save(model, sys.argv[1] + ".new"),
    lambda: onnx.save_model(other, sys.argv[1] + ".new"),
    lambda: onnxruntime.InferenceSession(other.SerializeToString()),
):
    try:
        write()
    except Exception as error:
        print(type(error).__name__)
"""


def test_an_edited_copy_is_refused_with_its_reason(app: tuple[Path, Path], protected: Run) -> None:
    recipe = RECIPE.replace('function = "last_initializer"\n', "")
    (app[1] / "modelseal.recipe.toml").write_text(recipe)
    (app[1] / "app.py").write_text(EDITS)
    found = _run(protected, app[1])
    assert (found.returncode, found.stdout) == (0, "EgressRefused\n" * 3), found.stderr
    assert "edited copy" in found.stderr
    assert not list((app[1] / "models").glob("*.new"))


def test_a_recipe_with_a_mistake_is_told_and_opens_nothing_more(
    app: tuple[Path, Path], protected: Run
) -> None:
    (app[1] / "modelseal.recipe.toml").write_text(RECIPE + "odd = 1\n")
    found = _run(protected, app[1])
    assert "modelseal.recipe.toml" in found.stderr and "sha256 False" in found.stdout
    assert "initializer" not in found.stdout


READS = """\
import io, mmap, os, pathlib, pickle, sys, zipfile
import numpy as np
import other
folder = pathlib.Path(sys.argv[1]).parent

def voices():
    return {name: part.sum().item() for name, part in np.load(folder / "voices.npz").items()}

def table():
    return np.load(str(folder / "table.npy")).tolist()

def words():
    with open(folder / "words.pkl", "rb") as file:
        return pickle.load(file)

def archive():
    with zipfile.ZipFile(folder / "pages.th") as file:
        return file.namelist(), file.read("page").decode()

def start():
    return (folder / "words.pkl").read_bytes()[:2], io.open_code(str(folder / "words.pkl")).read(2)

for reads in (voices, table, words, archive, start):
    print(reads.__name__, reads())
if len(sys.argv) > 2:
    pickled = folder / "words.pkl"
    file = os.open(pickled, os.O_RDONLY)
    mapped = mmap.mmap(file, 0, prot=mmap.PROT_READ)
    print(os.read(file, 4), mapped[:4], other.start(pickled))
    try:
        np.memmap(folder / "table.npy", mode="r")
    except io.UnsupportedOperation as error:
        print("memmap", error)
"""
READS_RECIPE = """\
typ = "modelseal-app-recipe"
version = 1
name = "reads"
title = "A program that reads its files itself"

[[check]]
module = "__main__"
kind = "content"
files = ["models/*.np?", "models/*.pkl", "models/*.th"]
answer = "plain"
"""


def test_code_that_a_recipe_names_reads_by_numpy_pickle_and_zipfile_what_no_descriptor_gives(
    shop: Shop, plain: Run, protected: Run, tmp_path: Path
) -> None:
    folders = [tmp_path / name / "models" for name in ("plain", "sealed")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder.parent / "app.py").write_text(READS)
        (folder.parent / "other.py").write_text(
            "def start(path):\n    return open(path, 'rb').read(4)\n"
        )
    np.savez(folders[0] / "voices.npz", a=np.arange(2000.0), b=np.ones(9))
    np.save(folders[0] / "table.npy", np.arange(400).reshape(20, 20))
    (folders[0] / "words.pkl").write_bytes(pickle.dumps(["one", "two"] * 20))
    with zipfile.ZipFile(folders[0] / "pages.th", "w") as file:
        file.writestr("page", "a text")
    for file in folders[0].iterdir():
        (folders[1] / file.name).write_bytes(
            shop.seal(file.name, file.read_bytes())[0].read_bytes()
        )
    (folders[1].parent / "modelseal.recipe.toml").write_text(READS_RECIPE)
    expected = plain(folders[0].parent / "app.py", folders[0] / "x")
    assert expected.returncode == 0 and "a text" in expected.stdout, expected.stderr
    found = protected(folders[1].parent / "app.py", folders[1] / "x", "more")
    *same, starts, memmap = found.stdout.splitlines()
    assert same == expected.stdout.splitlines(), found.stderr
    assert starts == " ".join([repr(b"\x89MSL")] * 3)
    assert memmap.startswith("memmap ") and found.returncode == 0


OVERWRITES = """\
import hashlib, os, sys, onnxruntime
path = sys.argv[1]
for act in (
    lambda: open(path, "wb"),
    lambda: open(path, "ab"),
    lambda: os.replace(path + ".new", path),
    lambda: os.rename(path, path + ".old"),
    lambda: os.truncate(path, 3),
    lambda: os.remove(path),
):
    with open(path + ".new", "w") as file:
        file.write("downloaded again")
    hashlib.sha256(open(path, "rb").read())
    try:
        act()
        print("done")
        break
    except PermissionError as error:
        print(error.code, error.filename == path)
"""


def test_what_was_compared_is_not_replaced_unless_a_recipe_releases_it(
    app: tuple[Path, Path], protected: Run
) -> None:
    model = app[1] / "models" / "m.onnx"
    before = model.read_bytes()
    (app[1] / "app.py").write_text(OVERWRITES)
    found = _run(protected, app[1])
    assert found.stdout == "sealed_file_kept True\n" * 6, found.stderr
    assert "modelseal app observe" in found.stderr and model.read_bytes() == before
    recipe = RECIPE.split("[[")[0] + 'keep = false\n[[file]]\nfiles = ["models/*.onnx"]\n'
    (app[1] / "modelseal.recipe.toml").write_text(recipe)
    assert _run(protected, app[1]).stdout == "done\n"
    assert model.read_bytes() == b""


def test_recipes_that_come_along_can_be_switched_off(
    app: tuple[Path, Path], protected: Run
) -> None:
    package = app[1] / "insightface" / "model_zoo"
    package.mkdir(parents=True)
    (package / "inswapper.py").write_text(
        "import onnx\ndef emap(path):\n    return len(onnx.load(path).graph.initializer)\n"
    )
    (app[1] / "app.py").write_text(
        "import sys\nfrom insightface.model_zoo.inswapper import emap\nprint(emap(sys.argv[1]))\n"
    )
    assert _run(protected, app[1]).stdout == "1\n"
    (app[1] / "modelseal.toml").write_text('product = "facefusion"\nrecipes = []\n')
    found = _run(protected, app[1])
    assert found.returncode == 1 and "[egress_refused]" in found.stderr
    (app[1] / "modelseal.toml").write_text('product = "facefusion"\nrecipes = ["insightface"]\n')
    assert _run(protected, app[1]).stdout == "1\n"
    (app[1] / "modelseal.toml").write_text('product = "facefusion"\nrecipes = ["nobody"]\n')
    found = _run(protected, app[1])
    assert found.returncode == 1 and "there is no recipe nobody" in found.stderr


STANDARD = """\
import builtins, io, os, pickle, pathlib, sys, tempfile
import onnxruntime
import importlib, shutil
shutil = importlib.reload(shutil)
assert shutil.rmtree.avoids_symlink_attacks
assert {os.stat, os.unlink} <= os.supports_dir_fd and os.stat in os.supports_follow_symlinks
assert pickle.loads(pickle.dumps(open)) is open is io.open is builtins.open
assert pickle.loads(pickle.dumps(os.stat)) is os.stat
class Reader:
    open = open
    stat = os.stat
folder = tempfile.mkdtemp()
path = os.path.join(folder, "a.onnx")
with Reader().open(path, "wb") as file:
    file.write(b"x" * 5000)
assert Reader().stat(path).st_size == 5000 == pathlib.Path(path).stat().st_size
with open(os.open(path, os.O_RDONLY), mode="rb", closefd=True) as file:
    assert len(file.read()) == 5000
os.rename(path, path + "2"); os.replace(path + "2", path)
for bad in (lambda: open(path, "q"), lambda: open(b"/nowhere/x.onnx", "rb"), lambda: os.stat(3.5)):
    try:
        bad()
    except (ValueError, FileNotFoundError, TypeError) as error:
        print(type(error).__name__)
shutil.rmtree(folder)
print(os.path.exists(folder), open.__name__, repr(io.open(os.devnull, "rb").read()))
"""


def test_the_standard_library_works_as_without_the_hook(
    plain: Run, protected: Run, tmp_path: Path
) -> None:
    program = tmp_path / "standard.py"
    program.write_text(STANDARD)
    expected, found = plain(program), protected(program)
    assert expected.returncode == 0, expected.stderr
    assert (found.returncode, found.stdout, found.stderr) == (0, expected.stdout, "")
