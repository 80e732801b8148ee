"""The hook in a virtual environment: put in, taken out, never over another's file."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from tests import onnx_models
from tests.apps.conftest import PROGRAMS, ROOT, SITECUSTOMIZE
from tests.runtime.shop import Shop

import modelseal
from modelseal.errors import InputMissing, Misuse
from modelseal.runtime import installed

SOURCE = Path(modelseal.__file__).parent.parent


def environment_of(folder: Path, *, with_modelseal: bool) -> tuple[str, Path]:
    """The Python and the packages' folder of a fresh environment without pip."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = next(folder.glob("lib/python*/site-packages"))
    places = [sysconfig.get_path("purelib")] if with_modelseal else []
    places += [str(SOURCE)] if with_modelseal else []
    (packages / "shared.pth").write_text("\n".join(places))
    return str(python), packages


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return environment_of(tmp_path_factory.mktemp("venv") / "v", with_modelseal=True)[0]


def run(python: str, shop: Shop, model: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    site = tmp_path / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(SITECUSTOMIZE)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MODELSEAL_", "PYTHON"))}
    env = kept | {"PYTHONPATH": f"{site}:{ROOT}", "SHOP": str(shop.folder)}
    command = [python, str(PROGRAMS / "plain_onnx.py"), str(model)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


def test_programs_open_sealed_models_between_install_and_remove(
    shop: Shop, python: str, tmp_path: Path
) -> None:
    data = onnx_models.convolutions()
    plain = tmp_path / "conv.onnx"
    plain.write_bytes(data)
    sealed, _ = shop.seal("conv.onnx", data)
    expected = run(python, shop, plain, tmp_path)
    assert expected.returncode == 0, expected.stderr
    assert run(python, shop, sealed, tmp_path).returncode != 0
    made = installed.install(python)
    assert made.changed and not installed.install(python).changed
    found = run(python, shop, sealed, tmp_path)
    assert (found.returncode, found.stdout) == (0, expected.stdout), found.stderr
    assert run(python, shop, plain, tmp_path).stdout == expected.stdout
    assert installed.remove(python).changed and not installed.remove(python).changed
    assert not Path(made.path).exists()
    assert run(python, shop, sealed, tmp_path).returncode != 0


def test_without_modelseal_the_hook_is_silent(tmp_path: Path) -> None:
    python, packages = environment_of(tmp_path / "v", with_modelseal=False)
    with pytest.raises(Misuse, match="pip install"):
        installed.install(python)
    (packages / installed.NAME).write_text(installed.LINE)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run([python, "-c", "print(1)"], env=clean, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_another_file_of_the_name_is_left_alone(tmp_path: Path) -> None:
    python, packages = environment_of(tmp_path / "v", with_modelseal=True)
    (packages / installed.NAME).write_text("# mine\n")
    for act in (installed.install, installed.remove):
        with pytest.raises(Misuse):
            act(python)
    assert (packages / installed.NAME).read_text() == "# mine\n"


def test_what_is_no_python_of_an_environment_is_refused(tmp_path: Path) -> None:
    outside = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}"
    assert outside.exists()
    with pytest.raises(Misuse, match="virtual environment"):
        installed.install(str(outside))
    with pytest.raises(InputMissing):
        installed.install(str(tmp_path / "none"))
    with pytest.raises(Misuse):
        installed.install("/bin/true")
