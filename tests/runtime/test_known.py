"""The self-test of frameworks at their import: what differs is left alone and stays closed."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.apps.conftest import ROOT

from modelseal.errors import Misuse
from modelseal.runtime import hook
from modelseal.runtime.hook import known

OLDER = {"openvino.runtime.ie_api"}
"""Modules that the installed version of a framework has no more."""


@pytest.mark.parametrize(
    "name", [n for n in known.EXPECTED if n not in OLDER and find_spec(n.partition(".")[0])]
)
def test_the_installed_frameworks_are_as_this_release_knows_them(name: str) -> None:
    known.check(importlib.import_module(name))


def test_every_watched_module_but_those_of_folders_and_cv2_is_tested() -> None:
    others = {name for name, patch in hook.WATCHED.items() if patch == "pretrained_"}
    assert set(hook.WATCHED) - others - {"cv2"} == set(known.EXPECTED)


@pytest.mark.parametrize("name", ["onnxruntime.capi.onnxruntime_inference_collection", "onnx"])
def test_a_changed_signature_or_a_missing_name_differs(name: str) -> None:
    real = importlib.import_module(name)
    for dotted in known.EXPECTED[name]:
        copy = types.ModuleType(name)
        copy.__dict__.update(vars(real))
        owner, _, last = dotted.rpartition(".")
        if owner:
            base = type(owner, (getattr(real, owner),), {})
            setattr(copy, owner, base)
            setattr(base, last, lambda other: None)
        else:
            delattr(copy, last)
        with pytest.raises(Misuse, match=r"not one that this release can serve"):
            known.check(copy)


def test_an_openvino_before_2025_is_told_and_left_alone() -> None:
    class Core:
        def read_model(self, model, weights=None): ...
        def compile_model(self, model, device_name=None, config=None): ...

    module = types.ModuleType("openvino.runtime.ie_api")
    module.Core = Core
    with pytest.raises(Misuse, match=r"Core.read_model takes self, model, weights"):
        known.check(module)


PROGRAM = """\
import sys
import onnxruntime, torch
try:
    torch.load(sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_framework_whose_guard_would_not_hold_opens_nothing(tmp_path: Path) -> None:
    """As if a later torch had renamed the argument of ``load_state_dict``."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "from modelseal.runtime.hook import known\n"
        "known.EXPECTED['torch.nn.modules.module'] = {'Module.load_state_dict': ('self', 'new')}\n"
    )
    sealed = tmp_path / "m.pth"
    sealed.write_bytes(bytes.fromhex("894d534c310d0a1a") + bytes(200))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    code = "import sys; from modelseal.runtime.run import run; sys.exit(run(sys.argv[1:]))"
    found = subprocess.run(
        [sys.executable, "-c", code, sys.executable, str(program), str(sealed)],
        env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert found.stdout.startswith("Misuse "), found.stderr
    assert (
        "is not one that this release can serve: Module.load_state_dict takes self" in found.stderr
    )
    assert sealed.read_bytes()[8:] == bytes(200)
