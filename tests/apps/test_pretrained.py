"""Whole folders through transformers, diffusers, peft and accelerate, plain and sealed.

The models are tiny and random, made by ``programs/make_pretrained.py``; nothing is downloaded.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from tests.apps.conftest import PROGRAMS, Run
from tests.runtime.shop import Shop

for _name in ("transformers", "diffusers", "peft", "accelerate"):
    pytest.importorskip(_name, reason=f"needs {_name}: pip install -r requirements/more.txt")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``single``, ``sharded``, ``custom``, ``lora`` and ``ddpm``, plain."""
    root = tmp_path_factory.mktemp("pretrained")
    command = [sys.executable, str(PROGRAMS / "make_pretrained.py"), str(root)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(root)}
    subprocess.run(command, env=env, capture_output=True, check=True, timeout=300)
    return root


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def seal(shop: Shop, folders: Path, *names: str) -> Path:
    for name in names or sorted(path.name for path in folders.iterdir() if path.is_dir()):
        shop.seal(f"{name}.sealed", files_of(folders / name))
    return shop.folder


def test_every_way_to_load_a_folder_gives_the_same_sealed_and_writes_none_of_it(
    folders: Path, shop: Shop, plain: Run, protected: Run, tmp_path: Path
) -> None:
    sealed = seal(shop, folders)
    for name in ("single", "lora", "ddpm"):  # the file may also lie in a folder of its name
        put_among_impostors(sealed, name)
    expected = plain("pretrained.py", folders)
    shutil.rmtree(tmp_path / "home")  # where the plain run cached the custom code
    found = protected("pretrained.py", sealed)
    assert expected.returncode == found.returncode == 0, found.stderr
    assert len(expected.stdout.splitlines()) >= 22
    assert found.stdout == expected.stdout
    assert "refused during this run" not in found.stderr
    written = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert not [path for path in written if b"Tiny" in path.read_bytes()]


def put_among_impostors(shop: Path, name: str) -> None:
    """The sealed folder lies in a plain one, beside files that are not the signed ones."""
    (shop / name).mkdir()
    (shop / f"{name}.sealed").rename(shop / name / f"{name}.sealed")
    for other in ("config.json", "adapter_config.json", "model_index.json", "tokenizer.json"):
        (shop / name / other).write_text("not the signed one")


def test_a_sealed_folder_is_a_folder_of_links_to_its_process(
    folders: Path, shop: Shop, plain: Run
) -> None:
    sealed = seal(shop, folders, "single", "sharded")
    shop.seal("forbidden.sealed", files_of(folders / "single"), entitlement="face.restore")
    before = _links()
    done = plain("folders.py", sealed, folders)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert _links() <= before


def test_opened_weights_are_not_written_and_own_ones_are(
    folders: Path, shop: Shop, plain: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    made = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and still in use
        torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 3), torch.ones(1, 3)), made)
    sealed = seal(shop, folders, "single", "sharded")
    shop.seal("script.pt", made.getvalue())
    (tmp_path / "out").mkdir()
    done = plain("guarded.py", sealed, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line.endswith("refused") for line in said] == [True] * 12 + [False] * 2
    assert "egress_refused" in (shop.folder / "journal").read_text()
    for left in Path(environment["TMPDIR"]).glob("tmp*"):
        left.rmdir()  # accelerate's, which was refused before it could write into it


def test_a_plain_folder_where_a_sealed_one_is_wanted_is_refused(
    folders: Path, protected: Run, tmp_path: Path
) -> None:
    shutil.copytree(folders / "single", tmp_path / "models" / "single")
    told = 'product = "facefusion"\nserver = "https://localhost"\nsealed = ["models/**"]\n'
    (tmp_path / "modelseal.toml").write_text(told)
    app = {"MODELSEAL_APP": str(tmp_path)}
    found = protected("configured.py", tmp_path / "models" / "single", env=app)
    assert found.returncode == 1 and found.stdout == ""
    assert "[not_sealed]" in found.stderr


def _links() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if name.startswith("modelseal-")}
