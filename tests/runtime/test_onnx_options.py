"""Which session options the optimised graph serves, and that they are the caller's afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests.runtime.shop import Shop, ShopLicensee
from tests.runtime.test_onnx_optimised import CPU, formed, opened, pytestmark, same, sealed

import modelseal
from modelseal.frameworks.onnx import options

__all__ = ["pytestmark"]
LEVELS = ort.GraphOptimizationLevel


def _made(**attributes: object) -> ort.SessionOptions:
    assert modelseal.onnx.InferenceSession  # options made from here on are known
    made = ort.SessionOptions()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def test_harmless_options_are_kept_and_their_object_stays_as_it_was(
    shop: Shop, licensee: ShopLicensee
) -> None:
    given = _made(intra_op_num_threads=1, inter_op_num_threads=1, enable_mem_pattern=False)
    given.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = opened(sealed(shop, "convolutions"), given)
    assert modelseal.onnx.why_portable(session) is None
    shown = session.get_session_options()
    for each in (given, shown):
        assert each.graph_optimization_level == LEVELS.ORT_ENABLE_ALL
        assert (each.intra_op_num_threads, each.enable_mem_pattern) == (1, False)
        assert each.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    plain = ort.InferenceSession(formed("convolutions")[0], given, providers=CPU)
    assert same(plain, session)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        *(("graph_optimization_level", v) for n, v in LEVELS.__members__.items() if "ALL" not in n),
        ("graph_optimization_level", LEVELS.ORT_DISABLE_ALL),
        ("use_deterministic_compute", True),
    ],
)
def test_other_levels_get_the_portable_model_and_its_outputs(
    attribute: str, value: object, shop: Shop, licensee: ShopLicensee
) -> None:
    given = _made(**{attribute: value})
    session = opened(sealed(shop, "convolutions"), given)
    assert modelseal.onnx.why_portable(session) == attribute
    assert licensee.notes[-1][:2] == ("onnx_portable", attribute)
    plain = ort.InferenceSession(formed("convolutions")[0], given, providers=CPU)
    assert same(plain, session)


def test_an_initializer_of_the_callers_own_is_respected(shop: Shop, licensee: ShopLicensee) -> None:
    mine = ort.OrtValue.ortvalue_from_numpy(np.zeros((64, 80), np.float32))
    given = _made()
    given.add_initializer("w", mine)
    session = opened(sealed(shop, "lookup"), given)
    assert modelseal.onnx.why_portable(session) == "add_initializer"
    answer = session.run(None, {"ids": np.zeros((1, 2), np.int64)})[0]
    assert not answer.any()


def test_a_fixed_dimension_is_respected(shop: Shop, licensee: ShopLicensee) -> None:
    given = _made()
    given.add_free_dimension_override_by_name("n", 1)
    session = opened(sealed(shop, "products"), given)
    assert modelseal.onnx.why_portable(session) == "add_free_dimension_override_by_name"
    assert session.get_inputs()[0].shape == [1, 512]


def test_an_entry_that_is_not_known_to_be_harmless_gets_the_portable_model(
    shop: Shop, licensee: ShopLicensee
) -> None:
    given = _made()
    given.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = opened(sealed(shop, "products"), given)
    assert modelseal.onnx.why_portable(session) == "session.set_denormal_as_zero"


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((["CUDAExecutionProvider", *CPU],), {}, "providers"),
        (([("CPUExecutionProvider", {"a": "1"})],), {}, "providers"),
        ((CPU, [{"a": "1"}]), {}, "provider_options"),
        ((CPU,), {"disabled_optimizers": ["ConstantFolding"]}, "disabled_optimizers"),
        ((CPU, None, None), {}, None),
        ((), {}, None),
        ((None,), {}, None),
    ],
)
def test_arguments_that_change_what_runs_do_not_fit(
    args: tuple, kwargs: dict, reason: str | None
) -> None:
    assert options.unfit(ort, None, args, kwargs) == reason


def test_options_made_before_are_served_by_the_portable_model() -> None:
    code = (
        "import onnxruntime as ort; from modelseal.frameworks.onnx import options;"
        "early = ort.SessionOptions(); options.watch(ort.SessionOptions);"
        "late = ort.SessionOptions();"
        "print([options.unfit(ort, each, (), {}) for each in (early, late)])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['options made before modelseal.onnx was imported', None]"


def test_one_options_object_serves_many_threads_and_plain_models(
    shop: Shop, licensee: ShopLicensee
) -> None:
    given = _made(intra_op_num_threads=1)
    paths = [sealed(shop, name) for name in ("convolutions", "products", "lookup")]

    def work(number: int) -> bool:
        if number % 4 == 3:
            session = ort.InferenceSession(formed("products")[0], given, providers=CPU)
            level = session.get_session_options().graph_optimization_level
            return level == LEVELS.ORT_ENABLE_ALL
        return modelseal.onnx.why_portable(opened(paths[number % 4], given)) is None

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(24)))


def test_set_providers_loads_the_optimised_graph_again(shop: Shop, licensee: ShopLicensee) -> None:
    session = opened(sealed(shop, "convolutions"))
    session.set_providers(CPU)
    assert modelseal.onnx.why_portable(session) is None
    assert same(ort.InferenceSession(formed("convolutions")[0], providers=CPU), session)


def test_under_the_hook_the_plain_class_loads_the_optimised_graph(shop: Shop) -> None:
    """The options of an unchanged program are known from its start."""
    path = sealed(shop, "convolutions")
    code = (
        "import sys; from modelseal.runtime import hook; hook.start(); import onnxruntime as ort;"
        "from tests.runtime import shop; shop.use_from_environment();"
        "options = ort.SessionOptions(); options.intra_op_num_threads = 1;"
        "session = ort.InferenceSession(sys.argv[1], options, providers=['CPUExecutionProvider']);"
        "import modelseal; print(repr(modelseal.onnx.why_portable(session)))"
    )
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "SHOP": str(shop.folder), "PYTHONPATH": root}
    out = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False, env=env
    )
    assert (out.stdout.strip(), out.returncode) == ("None", 0), out.stderr
