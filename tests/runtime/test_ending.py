"""Plans with ``on_expiry: stop_now``: sessions that run stop with the license."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests import models, onnx_models
from tests.runtime.shop import Shop, ShopLicensee

import modelseal
from modelseal.errors import LicenseExpired
from modelseal.frameworks import onnx as adapter
from modelseal.runtime import ending

NAME = "silero_vad_16k_op15.onnx"


@pytest.fixture
def strict(shop: Shop) -> Path:
    shop.stops_now = True
    path, _ = shop.seal(NAME, models.path(NAME).read_bytes())
    return path


def end(shop: Shop) -> None:
    shop.expired = True
    shop.save()


def test_the_law_is_asked_once_a_second_and_a_refusal_stays() -> None:
    now, asked, over = 0.0, [], False

    def may() -> None:
        asked.append(now)
        if over:
            raise LicenseExpired("over")

    watch = ending.Watch(may, lambda: now)
    for now in (0.0, 0.5, 0.9, 1.0, 1.5, 1.99, 2.0):  # noqa: B007
        watch.check()
    assert asked == [1.0, 2.0]
    over, now = True, 2.5
    watch.check()
    now = 3.0
    with pytest.raises(LicenseExpired):
        watch.check()
    over, now = False, 99.0
    with pytest.raises(LicenseExpired):
        watch.check()


def test_every_way_to_run_a_session_stops_and_its_weights_go(
    shop: Shop,
    licensee: ShopLicensee,
    strict: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ending, "EVERY_SECONDS", 0)
    session = modelseal.onnx.InferenceSession(str(strict), providers=["CPUExecutionProvider"])
    feeds = onnx_models.feeds(session, 0)
    plain = ort.InferenceSession(str(models.path(NAME)), providers=["CPUExecutionProvider"])
    for one, other in zip(plain.run(None, feeds), session.run(None, feeds), strict=True):
        assert np.array_equal(one, other)
    native = weakref.ref(session._sess)
    end(shop)
    for name in adapter.INFERENCES:
        with pytest.raises(LicenseExpired):
            getattr(session, name)(None, feeds)
    del plain
    gc.collect()
    assert native() is None
    assert [i.name for i in session.get_inputs()] == list(feeds)
    assert [e.code for e in licensee.refusals] == ["license_expired"]
    assert capfd.readouterr().err.count("license") >= 1


def test_a_session_goes_as_soon_as_nobody_holds_it(
    licensee: ShopLicensee, strict: Path, shop: Shop
) -> None:
    """Its guards hold it no longer than the program does."""
    shop.save()
    session = modelseal.onnx.InferenceSession(str(strict), providers=["CPUExecutionProvider"])
    assert "run" in session.__dict__
    known = weakref.ref(session)
    gc.disable()
    try:
        del session
        assert known() is None
    finally:
        gc.enable()


def test_sessions_of_other_plans_are_left_as_they_are(
    shop: Shop, licensee: ShopLicensee, strict: Path
) -> None:
    shop.stops_now = False
    shop.save()
    session = modelseal.onnx.InferenceSession(str(strict), providers=["CPUExecutionProvider"])
    assert not set(adapter.INFERENCES) & set(session.__dict__)
