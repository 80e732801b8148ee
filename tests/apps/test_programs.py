"""Real programs, unchanged, plain and protected, with identical outputs."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path

import pytest
import safetensors.numpy
import torch
import torch.package
from tests import models, onnx_models, small_models
from tests.apps.conftest import Run
from tests.runtime.shop import Shop


@pytest.fixture
def pair(shop: Shop, tmp_path: Path) -> tuple[Path, Path]:
    """The same model plain and sealed, under the same name."""
    plain = tmp_path / "plain"
    plain.mkdir()
    data = onnx_models.convolutions()
    (plain / "conv.onnx").write_bytes(data)
    return plain / "conv.onnx", shop.seal("conv.onnx", data)[0]


def test_an_onnx_program_gives_the_same_outputs(
    pair: tuple[Path, Path], plain: Run, protected: Run
) -> None:
    expected, found = plain("plain_onnx.py", pair[0]), protected("plain_onnx.py", pair[1])
    assert expected.returncode == 0 and expected.stdout
    assert (found.returncode, found.stdout, found.stderr) == (0, expected.stdout, "")
    untouched = protected("plain_onnx.py", pair[0])
    assert (untouched.returncode, untouched.stdout, untouched.stderr) == (0, expected.stdout, "")


def test_without_the_hook_a_sealed_model_fails_cleanly_and_stays(
    pair: tuple[Path, Path], plain: Run
) -> None:
    before = pair[1].read_bytes()
    assert plain("plain_onnx.py", pair[1]).returncode != 0
    assert pair[1].read_bytes() == before


def test_a_safetensors_program_gives_the_same_outputs(
    shop: Shop, plain: Run, protected: Run
) -> None:
    original = models.path("silero_vad_16k.safetensors")
    sealed, _ = shop.seal("m.safetensors", original.read_bytes())
    expected, found = plain("tensors.py", original), protected("tensors.py", sealed)
    assert expected.returncode == 0, expected.stderr
    assert (found.returncode, found.stdout, found.stderr) == (0, expected.stdout, "")
    untouched = protected("tensors.py", original)
    assert untouched.stdout == expected.stdout


def test_a_hard_program_gives_the_same_outputs_and_its_refusals_are_told(
    pair: tuple[Path, Path], shop: Shop, plain: Run, protected: Run, tmp_path: Path
) -> None:
    expected = plain("hard.py", pair[0], tmp_path / "plain" / "none.onnx")
    forbidden, _ = shop.seal("restore.onnx", b"not read", entitlement="face.restore")
    found = protected("hard.py", pair[1], forbidden, shop.folder / "none.onnx")
    assert expected.returncode == found.returncode == 7, found.stderr
    assert expected.stdout.splitlines()[:-1] == found.stdout.splitlines()[:-2]
    assert found.stdout.splitlines()[-2:] == ["swallowed restore.onnx", "swallowed none.onnx"]
    assert (shop.folder / "journal").read_text() == "not_entitled\n"
    assert found.stderr.count("restore.onnx") >= 1 and "[not_entitled]" in found.stderr
    assert "1 refused during this run" in found.stderr


def test_every_way_to_name_a_model_and_to_start_a_worker_gives_the_same_outputs(
    pair: tuple[Path, Path], plain: Run, protected: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    told = []
    for run, model in ((plain, pair[0]), (protected, pair[1])):
        folder = tmp_path / run.__qualname__.partition(".")[0]
        folder.mkdir(exist_ok=True)
        (folder / "other name.bin").unlink(missing_ok=True)
        told.append(run("ways.py", model, folder))
    expected, found = told
    assert expected.returncode == 0, expected.stderr
    assert (found.returncode, found.stdout) == (0, expected.stdout), found.stderr
    assert len(set(found.stdout.split()) & {"spawn", "forkserver", "fork", "execv"}) == 4
    for left in Path(environment["TMPDIR"]).glob(
        "pymp-*"
    ):  # of multiprocessing, which execv replaced
        shutil.rmtree(left)


def test_a_sitecustomize_of_the_program_still_runs(pair: tuple[Path, Path], protected: Run) -> None:
    found = protected("plain_onnx.py", pair[1], env={"CHAINED": "1"})
    assert found.stdout.startswith("chained\n")


def test_onnx_load_of_a_sealed_model_is_refused_with_its_reason(
    pair: tuple[Path, Path], protected: Run, tmp_path: Path
) -> None:
    program = tmp_path / "loads.py"
    program.write_text(
        "import sys, onnx\n"
        "assert onnx.load(sys.argv[1]).graph.name == 'g'\n"
        "try:\n    onnx.load_model(sys.argv[2])\n"
        "except Exception as error:\n    print(type(error).__name__, error.code)\n"
    )
    found = protected(program, *pair)
    assert found.stdout == "EgressRefused egress_refused\n", found.stderr
    assert "onnx.load" in found.stderr


def test_nothing_is_opened_where_modelseal_toml_wants_a_sealed_file_and_finds_a_plain_one(
    pair: tuple[Path, Path], protected: Run, tmp_path: Path
) -> None:
    app = tmp_path / "app"
    (app / "models").mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "programs" / "plain_onnx.py", app / "app.py")
    (app / "modelseal.toml").write_text('product = "facefusion"\nsealed = ["models/*.onnx"]\n')
    shutil.copy(pair[0], app / "models" / "a.onnx")
    shutil.copy(pair[0], app / "other.onnx")
    found = protected(app / "app.py", app / "models" / "a.onnx")
    assert found.returncode == 1 and "[not_sealed]" in found.stderr
    assert protected(app / "app.py", app / "other.onnx").returncode == 0
    (app / "models" / "link.onnx").symlink_to(app / "other.onnx")
    assert protected(app / "app.py", app / "models" / "link.onnx").returncode == 1
    shutil.copy(pair[1], app / "models" / "a.onnx")
    assert protected(app / "app.py", app / "models" / "a.onnx").returncode == 0


def test_install_as_first_or_late_import_does_what_run_does(
    pair: tuple[Path, Path], shop: Shop, plain: Run, tmp_path: Path
) -> None:
    sealed, _ = shop.seal("m.safetensors", safetensors.numpy.save({}))
    body = (
        "import onnxruntime as o, safetensors.numpy as s\n"
        "from safetensors.numpy import load_file\n"
        "from onnxruntime import InferenceSession\n"
    )
    use = (
        "import sys\nassert load_file(sys.argv[2]) == {} == s.load_file(sys.argv[2])\n"
        "print(len(InferenceSession(sys.argv[1]).get_outputs()))\n"
    )
    install = "import modelseal; modelseal.install(); modelseal.install()\n"
    for text in (install + body + use, body + install + use):
        program = tmp_path / "frozen.py"
        program.write_text(text)
        found = plain(program, pair[1], sealed)
        assert (found.returncode, found.stdout) == (0, "1\n"), found.stderr


def test_a_program_without_stderr_reads_the_reason_in_the_journal(
    shop: Shop, protected: Run, tmp_path: Path
) -> None:
    forbidden, _ = shop.seal("restore.onnx", b"not read", entitlement="face.restore")
    program = tmp_path / "windowed.py"
    program.write_text(
        "import sys, os\nsys.stderr = sys.stdout = None\nimport onnxruntime\n"
        "try:\n    onnxruntime.InferenceSession(sys.argv[1])\nexcept Exception:\n    os._exit(9)\n"
    )
    found = protected(program, forbidden)
    assert found.returncode == 9
    assert (shop.folder / "journal").read_text() == "not_entitled\n"
    assert "[not_entitled]" in found.stderr  # the summary, from the parent


def test_no_key_is_in_the_environment_or_arguments(
    pair: tuple[Path, Path], shop: Shop, protected: Run, tmp_path: Path
) -> None:
    program = tmp_path / "tells.py"
    program.write_text(
        "import sys, onnxruntime\nonnxruntime.InferenceSession(sys.argv[1])\n"
        "print(open('/proc/self/environ').read(), open('/proc/self/cmdline').read())\n"
    )
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    found = protected(program, pair[1])
    assert found.returncode == 0
    for keys in shop.keys.values():
        assert not any(key in found.stdout.lower() for key in keys.values())


def test_a_program_of_four_more_frameworks_gives_the_same_outputs(
    shop: Shop, plain: Run, protected: Run, tmp_path: Path
) -> None:
    import openvino

    folder = tmp_path / "plain"
    folder.mkdir()
    param, weights = small_models.ncnn_pair()
    files = {
        "conv.onnx": onnx_models.convolutions(),
        "mesh.tflite": small_models.tflite_model(),
        "net.param": param,
        "net.bin": weights,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    model = openvino.Core().read_model(files["conv.onnx"])
    openvino.serialize(model, str(folder / "ir.xml"), str(folder / "ir.bin"))
    for file in folder.iterdir():
        shop.seal(file.name, file.read_bytes())
    expected = plain("frameworks.py", folder)
    assert expected.returncode == 0, expected.stderr
    found = protected("frameworks.py", shop.folder)
    assert (found.returncode, found.stdout) == (0, expected.stdout), found.stderr
    untouched = protected("frameworks.py", folder)
    assert (untouched.returncode, untouched.stdout) == (0, expected.stdout)


def test_every_way_in_which_torch_is_asked_gives_the_same_outputs(
    shop: Shop, plain: Run, protected: Run, tmp_path: Path
) -> None:
    """Also a package of torch, whose parts are opened weights: no other package takes them up."""
    folder = tmp_path / "plain"
    folder.mkdir()
    torch.manual_seed(1)
    torch.save({"w": torch.randn(40, 70)}, folder / "a.pt")
    torch.save(torch.nn.Linear(3, 2), folder / "module.pt")
    with warnings.catch_warnings(), torch.package.PackageExporter(folder / "package.pt") as made:
        warnings.simplefilter("ignore")  # torch warns of what it does itself
        made.save_text("texts", "said", "a text")
        made.save_pickle("parts", "state", {"w": torch.randn(20, 30)})
    for file in folder.iterdir():
        shop.seal(file.name, file.read_bytes())
    expected = plain("torch_ways.py", folder)
    assert expected.returncode == 0, expected.stderr
    found = protected("torch_ways.py", shop.folder, tmp_path / "copy.pt")
    assert (found.returncode, found.stdout) == (0, expected.stdout), found.stderr
    assert "EgressRefused" in found.stderr
