"""What importing costs: nothing that is not used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modelseal
from modelseal.runtime import run as runner

HEAVY = ("ssl", "sqlite3", "torch", "onnxruntime", "numpy", "cryptography", "msgspec", "asyncio")


def modules_after(code: str, **env: str) -> set[str]:
    told = f"{code}\nimport sys; print('\\n'.join(sys.modules))"
    import os

    found = subprocess.run(
        [sys.executable, "-c", told],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return set(found.stdout.split())


def test_importing_modelseal_imports_nothing_heavy() -> None:
    assert not modules_after("import modelseal").intersection(HEAVY)


def test_under_the_hook_a_program_with_nothing_sealed_imports_next_to_nothing() -> None:
    site = str(runner.site_folder())
    plain = modules_after("import json")
    hooked = modules_after("import json", PYTHONPATH=site)
    added = {name for name in hooked - plain if not name.startswith("modelseal")}
    assert added <= {"sitecustomize", "__future__", "importlib.machinery", "importlib"}, added
    assert {name for name in hooked if name.startswith("modelseal")} == {
        "modelseal",
        "modelseal.runtime",
        "modelseal.runtime.hook",
    }


def test_under_the_hook_a_plain_safetensors_program_imports_no_cryptography() -> None:
    site = str(runner.site_folder())
    hooked = modules_after("import safetensors, json", PYTHONPATH=site)
    assert "modelseal.runtime.hook.safetensors_" in hooked
    assert not hooked.intersection({"cryptography", "msgspec", "numpy", "ssl", "modelseal.client"})


def test_every_public_name_is_there_and_no_other() -> None:
    for name in modelseal.__all__:
        assert getattr(modelseal, name) is not None
        assert name in dir(modelseal)
    with pytest.raises(AttributeError):
        modelseal.nothing  # noqa: B018
    from modelseal.onnx import InferenceSession

    assert modelseal.onnx.InferenceSession is InferenceSession
    with pytest.raises(AttributeError):
        modelseal.onnx.nothing  # noqa: B018


def test_the_stub_names_exactly_the_public_names() -> None:
    stub = Path(modelseal.__file__).with_suffix(".pyi").read_text()
    (told,) = re.findall(r"__all__ = (\[.*?\])", stub, re.DOTALL)
    assert sorted(ast.literal_eval(told)) == sorted(modelseal.__all__)
    named = set(re.findall(r" as (\w+)$", stub, re.MULTILINE))
    assert named == set(modelseal.__all__)
