"""A running inference service for tests: a really sealed model, real TLS, software evidence.

Software evidence counts only under the policy made here, which pins its key by name.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.runtime.shop import Shop, ShopLicensee

from modelseal.attest.collect import Collector
from modelseal.attest.collect.software import SoftwareCollector
from modelseal.attest.verify import policy as policies
from modelseal.crypto.signing import SigningKey
from modelseal.inference.app import Bounds
from modelseal.inference.batching import Limits
from modelseal.inference.models import Model, open_sealed
from modelseal.inference.service import Running
from modelseal.runtime import default


def rows_model() -> bytes:
    """``y = x · w``, row by row, for any number of rows."""
    weights = np.random.default_rng(7).standard_normal((4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def software(key: SigningKey) -> SoftwareCollector:
    """What a program says of itself, always with the same key."""
    return SoftwareCollector(lambda: key)


def policy_for(*keys: SigningKey, accepts: bool = True, **rules: Any) -> bytes:
    """A policy that takes the word of software with these keys; no shipped one does."""
    said = {
        "roots": {"software": [json.dumps(key.jwk) for key in keys]},
        "software": {"accept_software": accepts},
        "accept_unknown": ["measurement"],
    }
    return policies.write({**said, **rules})


@contextlib.contextmanager
def opened(folder: Path, name: str = "rows", *, stops_now: bool = False) -> Iterator[Model]:
    """The model sealed into ``folder`` and opened in memory by a license that grants it."""
    folder.mkdir(exist_ok=True)
    shop = Shop(folder)
    shop.stops_now = stops_now
    path, _ = shop.seal(f"{name}.sealed", {f"{name}.onnx": rows_model()})
    default.use_licensee(ShopLicensee(folder))
    try:
        yield open_sealed(path, name, threads=1)
    finally:
        default.use_licensee(None)


@contextlib.contextmanager
def serving(
    models: Sequence[Model],
    collectors: Sequence[Collector],
    *,
    limits: Limits | None = None,
    bounds: Bounds | None = None,
) -> Iterator[Running]:
    """The service on a free port."""
    ready = threading.Event()
    running = Running(
        models, collectors, listen="127.0.0.1:0", limits=limits, bounds=bounds,
        on_ready=lambda _url: ready.set(),
    )  # fmt: skip
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        assert ready.wait(120)
        yield running
    finally:
        running.stop()
        thread.join(120)
        running.close()
        assert not thread.is_alive()
