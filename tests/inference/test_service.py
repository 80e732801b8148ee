"""The service as any client of the protocol meets it: plain HTTP over TLS, hostile ones too."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import socket
import ssl
import sys
import threading
import time

import numpy as np
import pytest
from tests.inference.serving import opened, policy_for, serving, software

import modelseal
from modelseal import errors
from modelseal.inference.app import Bounds
from modelseal.inference.models import open_sealed
from modelseal.runtime import ending

X = [[1.0, 2.0, 3.0, 4.0]]
ASKED = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": X}]}


def ask(running, method, path, body=None, headers=None):
    host, _, port = running.url.removeprefix("https://").rpartition(":")
    context = ssl._create_unverified_context()
    made = http.client.HTTPSConnection(host, int(port), context=context, timeout=300)
    with contextlib.closing(made):
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        made.request(method, path, data, headers or {})
        answer = made.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


@pytest.fixture
def service(model, root):
    with serving([model], [software(root)], bounds=Bounds(body_bytes=4096)) as running:
        yield running


def test_a_client_of_the_protocol_is_served(service, model):
    status, _, body = ask(service, "POST", "/v2/models/rows/infer", {**ASKED, "id": "7"})
    told = json.loads(body)
    assert status == 200 and told["id"] == "7" and told["model_name"] == "rows"
    (here,) = model.session.run(["y"], {"x": np.array(X, np.float32)})
    assert np.allclose(told["outputs"][0]["data"], here.reshape(-1))
    assert told["outputs"][0]["shape"] == [1, 3]
    status, _, body = ask(service, "GET", "/v2/models/rows/versions/1")
    assert json.loads(body)["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/rows/ready"):
        assert ask(service, "GET", path)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/rows/versions/2", 404),
        ("GET", "/v2/models/../rows", 404),
        ("GET", "/v2/models/rows/infer", 400),
        ("POST", "/v2/models/other/infer", 404),
        ("DELETE", "/v2/models/rows", 404),
        ("GET", "/v1/evidence", 400),
        ("GET", "/v1/evidence?nonce=AAAA", 400),
        ("GET", "/v1/evidence?nonce=!", 400),
        ("GET", "/v1/evidence?nonce=" + "A" * 43 + "&nonce=" + "A" * 43, 400),
    ],
)
def test_other_calls_get_an_error_with_a_code(service, method, path, status):
    got, _, body = ask(service, method, path, b"{}" if method == "POST" else None)
    assert got == status
    assert set(json.loads(body)) == {"error", "code", "reference"}


def test_a_question_beyond_the_limit_is_refused_however_it_comes(service):
    big = b"x" * 5000
    assert ask(service, "POST", "/v2/models/rows/infer", big)[0] == 413
    parts = iter([b"x" * 1000] * 6)
    headers = {"Transfer-Encoding": "chunked"}
    host, _, port = service.url.removeprefix("https://").rpartition(":")
    made = http.client.HTTPSConnection(host, int(port), context=ssl._create_unverified_context())
    with contextlib.closing(made):
        made.request("POST", "/v2/models/rows/infer", parts, headers, encode_chunked=True)
        assert made.getresponse().status == 413


def test_a_compressed_question_is_not_opened(service):
    headers = {"Content-Encoding": "gzip"}
    assert ask(service, "POST", "/v2/models/rows/infer", b"\x1f\x8b", headers)[0] == 400


def test_callers_at_once_get_their_own_answers_in_fewer_runs(model, root):
    rng = np.random.default_rng(3)
    photos = [rng.standard_normal((1, 4)).astype(np.float32) for _ in range(24)]
    with serving([model], [software(root)]) as service:

        def call(photo):
            with modelseal.attest.connect(service.url, policy_for(root)) as proved:
                return proved.infer("rows", {"x": photo})["y"]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(call, photos))
        text = service._service.metrics.text()
    for photo, answer in zip(photos, answers, strict=True):
        assert np.allclose(answer, model.session.run(["y"], {"x": photo})[0], rtol=1e-5)
    assert 'modelseal_inference_requests_total{model="rows",outcome="ok"} 24' in text
    assert 'modelseal_inference_run_rows_sum{model="rows"} 24' in text


def test_metrics_are_in_the_format_of_prometheus_and_hold_no_input(service):
    ask(service, "POST", "/v2/models/rows/infer", ASKED)
    ask(service, "POST", "/v2/models/rows/infer", b"no json")
    status, headers, body = ask(service, "GET", "/metrics")
    text = body.decode()
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'modelseal_inference_requests_total{model="rows",outcome="ok"} 1' in text
    assert 'modelseal_inference_requests_total{model="rows",outcome="misuse"} 1' in text
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families)) == 9
    for line in text.splitlines():
        assert line.startswith("#") or float(line.rpartition(" ")[2]) >= 0


def test_a_stranger_who_says_nothing_holds_nobody_up(service):
    host, _, port = service.url.removeprefix("https://").rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(20)]
    try:
        assert ask(service, "GET", "/v2/health/live")[0] == 200
    finally:
        for one in silent:
            one.close()


def test_the_stop_answers_what_is_under_way(model, root):
    gate, at_it = threading.Event(), threading.Event()
    run = model.session.run

    class Slow:
        get_inputs, get_outputs = model.session.get_inputs, model.session.get_outputs

        def run(self, outputs, feeds):
            at_it.set()
            gate.wait(30)
            return run(outputs, feeds)

    slow = type(model)(model.name, model.file_id, Slow(), model.inputs, model.outputs)
    pool = concurrent.futures.ThreadPoolExecutor(1)
    with pool, serving([slow], [software(root)]) as service:
        answer = pool.submit(ask, service, "POST", "/v2/models/rows/infer", ASKED)
        assert at_it.wait(30)
        service.stop()
        gate.set()
        assert answer.result(30)[0] == 200


def test_a_plain_model_is_not_served(tmp_path, root):
    with opened(tmp_path / "shop"):
        plain = tmp_path / "plain.onnx"
        plain.write_bytes(b"\x08\x08")
        with pytest.raises(errors.NotSealed):
            open_sealed(plain, "plain")


def test_a_license_that_ends_ends_the_answers_of_a_running_service(tmp_path, root):
    with opened(tmp_path / "shop", stops_now=True) as model:
        with serving([model], [software(root)]) as service:
            assert ask(service, "POST", "/v2/models/rows/infer", ASKED)[0] == 200
            told = tmp_path / "shop" / "shop.json"
            told.write_text(json.dumps({**json.loads(told.read_text()), "expired": True}))
            time.sleep(ending.EVERY_SECONDS + 0.05)
            status, _, body = ask(service, "POST", "/v2/models/rows/infer", ASKED)
        assert status == 403 and json.loads(body)["code"] == "license_expired"


def test_nothing_of_the_model_reaches_a_disk(tmp_path, root):
    """By what the process opens for writing while it serves."""
    written: list[str] = []
    watching = [True]

    def hook(event, args):
        if watching and event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            written.append(str(args[0]))

    sys.addaudithook(hook)
    with opened(tmp_path / "shop") as model:
        written.clear()
        with serving([model], [software(root)]) as service:
            assert ask(service, "POST", "/v2/models/rows/infer", ASKED)[0] == 200
        assert not [path for path in written if not path.startswith("/dev/")]
    watching.clear()
