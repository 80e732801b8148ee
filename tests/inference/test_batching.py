"""Questions that share a run get the answers they would have got alone."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import numpy as np
import pytest
from tests.inference.serving import rows_model

from modelseal import errors
from modelseal.inference.batching import Batcher, Limits
from modelseal.inference.models import of_session
from modelseal.inference.tensors import Request


class Gate:
    """A real session that waits at a gate, so that a test decides what is queued by then."""

    def __init__(self, session) -> None:
        self._session = session
        self.open = threading.Event()
        self.at_it = threading.Event()
        self.fails_for: float | None = None
        self.runs: list[int] = []
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs

    def run(self, outputs, feeds):
        self.at_it.set()
        assert self.open.wait(30)
        self.runs.append(len(feeds["x"]))
        if self.fails_for is not None and (feeds["x"] == self.fails_for).any():
            raise RuntimeError("this row holds somebody's secret")
        return self._session.run(outputs, feeds)


@pytest.fixture(scope="module")
def session():
    import onnxruntime

    return onnxruntime.InferenceSession(rows_model(), providers=["CPUExecutionProvider"])


@pytest.fixture
def gate(session):
    return Gate(session)


@pytest.fixture
def make(gate):
    made = []

    def batcher(**limits):
        model = of_session("rows", "ab" * 32, gate)
        made.append(Batcher(model, Limits(**{"wait_seconds": 0.0, **limits})))
        return made[-1]

    yield batcher
    gate.open.set()
    for one in made:
        one.close()


def rows(*values: float) -> Request:
    return Request({"x": np.array([[v] * 4 for v in values], np.float32)})


def queue_behind_one(batcher, gate, *asked: Request) -> list[Future]:
    """The first question runs at the gate; ``asked`` wait behind it, then the gate opens."""
    first = batcher.ask(rows(1))
    assert gate.at_it.wait(30)
    futures = [batcher.ask(one) for one in asked]
    gate.open.set()
    first.result(30)
    return futures


def test_what_waits_together_runs_together_and_each_gets_its_own(make, gate, session):
    asked = [rows(2), rows(3, 4), rows(5)]
    futures = queue_behind_one(make(), gate, *asked)
    for one, future in zip(asked, futures, strict=True):
        (alone,) = session.run(["y"], dict(one.inputs))
        assert np.allclose(future.result(30)["y"], alone, rtol=1e-6)
    assert gate.runs == [1, 4]


def test_a_run_holds_no_more_rows_than_allowed(make, gate):
    futures = queue_behind_one(make(max_rows=3), gate, rows(2, 2), rows(3, 3), rows(4))
    for future in futures:
        future.result(30)
    assert gate.runs == [1, 3, 2]


def test_without_batching_every_question_runs_alone(make, gate):
    for future in queue_behind_one(make(max_rows=1), gate, rows(2), rows(3)):
        future.result(30)
    assert gate.runs == [1, 1, 1]


def test_a_full_queue_refuses_at_once(make, gate):
    batcher = make(queue=2)
    batcher.ask(rows(1))
    assert gate.at_it.wait(30)
    batcher.ask(rows(2))
    batcher.ask(rows(3))
    with pytest.raises(errors.RateLimited):
        batcher.ask(rows(4))
    assert batcher.depth == 2


def test_a_question_that_breaks_the_model_breaks_nobody_elses(make, gate):
    gate.fails_for = 13.0
    good, bad, also = queue_behind_one(make(), gate, rows(2), rows(13), rows(3))
    assert good.result(30)["y"].shape == also.result(30)["y"].shape == (1, 3)
    with pytest.raises(errors.InternalError) as caught:
        bad.result(30)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"other": np.zeros((1, 4), np.float32)},
        {"x": np.zeros((1, 4), np.float64)},
        {"x": np.zeros((1, 5), np.float32)},
        {"x": np.zeros((4,), np.float32)},
        {"x": np.zeros((0, 4), np.float32)},
        {"x": np.zeros((1, 4), np.float32), "more": np.zeros(1, np.float32)},
    ],
)
def test_what_does_not_fit_the_model_is_not_queued(make, inputs):
    batcher = make()
    with pytest.raises(errors.Misuse):
        batcher.ask(Request(inputs))
    assert batcher.depth == 0


def test_an_unknown_output_is_refused(make):
    with pytest.raises(errors.Misuse):
        make().ask(Request(rows(1).inputs, ("nothing",)))


def test_a_cancelled_question_is_not_run(make, gate):
    batcher = make()
    batcher.ask(rows(1))
    assert gate.at_it.wait(30)
    gone, stays = batcher.ask(rows(2)), batcher.ask(rows(3))
    assert gone.cancel()
    gate.open.set()
    stays.result(30)
    assert gate.runs == [1, 1]


def test_what_waits_at_the_end_is_answered_and_nothing_more_taken(make, gate):
    batcher = make()
    first = batcher.ask(rows(1))
    assert gate.at_it.wait(30)
    last = batcher.ask(rows(2))
    gate.open.set()
    batcher.close()
    assert first.done() and last.done()
    with pytest.raises(errors.Unavailable):
        batcher.ask(rows(3))
