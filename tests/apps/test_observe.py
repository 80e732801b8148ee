"""``modelseal app observe``: what one run with plain models tells is enough to run it sealed."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

from tests.apps.conftest import ROOT, Run
from tests.apps.test_recipes import app as app
from tests.runtime.shop import Shop

from modelseal.runtime import recipes
from modelseal.runtime.observe import summary


def observe(
    environment: dict[str, str], folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelseal", "app", "observe", "--name", "Some Program", "--"]
    program = [sys.executable, "app.py", *arguments]
    return subprocess.run(
        [*command, *program],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_the_observed_recipe_is_enough_for_the_sealed_program(
    app: tuple[Path, Path], environment: dict[str, str], plain: Run, protected: Run
) -> None:
    found = observe(environment, app[0], "models/m.onnx")
    assert found.returncode == 0 and "1 model files, 1 second readers" in found.stderr, found.stderr
    data = (app[0] / "modelseal.recipe.toml").read_bytes()
    made = recipes.decode(data)
    assert (made.name, made.verified[0].how) == ("some-program", "observed, not compared")
    (file,) = made.file
    assert (file.files, file.seal) == (["models/m.onnx"], "in-place")
    assert file.readers == ["onnx.load", "onnxruntime.InferenceSession"]
    (reader,) = made.reader
    assert (reader.module, reader.function) == ("__main__", "last_initializer")
    assert (reader.initializers, reader.node_names) == ([-1], 0)
    assert {(c.function, c.kind, c.answer) for c in made.check} == {
        ("has_crc32", "crc32", "sealed"),
        ("has_sha256", "sha256", "plain"),
        ("has_digest", "sha256", "plain"),
        ("has_size", "size", "plain"),
        ("resume", "size", "plain"),
    }
    (app[1] / "modelseal.recipe.toml").write_bytes(data)
    arguments = app[1] / "app.py", app[1] / "models" / "m.onnx"
    expected = plain(app[0] / "app.py", app[0] / "models" / "m.onnx")
    run = protected(*arguments)
    assert (run.returncode, run.stdout, run.stderr) == (0, expected.stdout, "")


WRITES = """\
import sys, zlib, onnx, onnxruntime, pathlib
options = onnxruntime.SessionOptions()
options.optimized_model_filepath = "opt.onnx"
onnxruntime.InferenceSession("models/m.onnx", options)
def normalised(path):
    return [node.name for node in onnx.load(path).graph.node[:8]]
def copied():
    data = open("models/m.onnx", "rb").read()
    pathlib.Path("copy.onnx").write_bytes(data)
class Hasher:
    def matches(self, data): return zlib.crc32(data)
normalised("models/m.onnx"); copied()
onnx.save(onnx.load("models/m.onnx"), "edited.onnx")
pathlib.Path("copy.onnx").unlink()
sys.exit(3)
"""


def test_what_a_program_writes_and_deletes_is_seen_and_its_exit_code_passes(
    app: tuple[Path, Path], environment: dict[str, str]
) -> None:
    (app[0] / "app.py").write_text(WRITES)
    found = observe(environment, app[0])
    assert found.returncode == 3, found.stderr
    made = recipes.decode((app[0] / "modelseal.recipe.toml").read_bytes())
    caches = {cache.what: cache.answer for cache in made.cache}
    assert caches["optimized_model_filepath"] in ("encrypted", "refused")
    assert caches["onnx.save"] == caches["__main__.copied"] == "refused"
    assert {r.function: r.node_names for r in made.reader} == {None: 0, "normalised": 8}
    assert "__main__ deletes or moves copy.onnx." in made.notes
    again = observe(environment, app[0])
    assert again.returncode == 2 and "modelseal.recipe.toml" in again.stderr


def test_a_digest_made_elsewhere_is_known_by_its_length() -> None:
    told = summary.Told("x", "python x.py", "/app", "2026-11-29")
    opened = {"event": "open", "path": "/app/m.onnx", "size": 900, "module": "a", "function": "f"}
    hashed = {"event": "hash", "kind": "crc32", "size": 900, "module": "b", "function": "g"}
    (check,) = summary.recipe([opened, hashed], told).check
    assert (check.module, check.kind, check.files) == ("a", "crc32", ["m.onnx"])
    alone = summary.recipe([opened, {**hashed, "size": 901}], told)
    assert not alone.check and "a reads m.onnx itself: it stays plain, or" in alone.notes


def test_files_of_a_folder_that_is_loaded_whole_are_sealed_with_it() -> None:
    told = summary.Told("x", "python x.py", "/app", "2026-11-29")
    by = {"event": "load", "module": "server", "function": "main"}
    folder = {**by, "path": "/app/gpt", "loader": "from_pretrained"}
    inside = {**by, "path": "/app/gpt/model.safetensors", "loader": "safetensors.safe_open"}
    (file,) = summary.recipe([inside, folder], told).file
    assert (file.files, file.entitlement, file.readers) == (["gpt"], "x.gpt", ["from_pretrained"])


def test_a_command_among_others_gives_the_recipe_its_own_name(
    app: tuple[Path, Path], environment: dict[str, str]
) -> None:
    folder = app[0] / "bin"
    folder.mkdir()
    command = folder / "upscale"
    command.write_text(f"#!{sys.executable}\nimport onnxruntime, sys\n")
    command.chmod(0o755)
    for argv in ([str(command)], [sys.executable, str(command)], [sys.executable, "app.py"]):
        (app[0] / "app.py").write_text("import sys\n")
        observing = [sys.executable, "-m", "modelseal", "app", "observe", "-o", "made.toml", "--"]
        ran = subprocess.run(
            [*observing, *argv],
            env=environment, cwd=app[0], capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        made = recipes.decode((app[0] / "made.toml").read_bytes())
        assert made.name == ("plain" if "app.py" in argv else "upscale")
        (app[0] / "made.toml").unlink()


def test_lines_that_are_no_events_are_passed_over() -> None:
    assert summary.events(b'{"event": "load"}\nnonsense\n[1]\n{"event": 1}\n{') == [
        {"event": "load"}
    ]


def test_observing_needs_no_license_and_leaves_nothing_behind(
    app: tuple[Path, Path], environment: dict[str, str], shop: Shop
) -> None:
    env = {**environment, "PYTHONPATH": str(ROOT), "SHOP": "/nowhere"}
    before = zlib.crc32((app[0] / "models" / "m.onnx").read_bytes())
    found = observe(env, app[0], "models/m.onnx")
    assert found.returncode == 0, found.stderr
    assert zlib.crc32((app[0] / "models" / "m.onnx").read_bytes()) == before
    assert sorted(p.name for p in app[0].iterdir()) == ["app.py", "models", "modelseal.recipe.toml"]
