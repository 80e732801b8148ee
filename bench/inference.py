"""``python -m bench.inference``: what `attest serve` costs beside ONNX Runtime behind plain HTTP.

Two services in processes of their own, over TLS 1.3 by the same uvicorn with the same settings, and
one ONNX Runtime session with one thread each: ours, with a sealed model, the checks of every
question and batching, and one of forty lines that decodes the same body, runs the same model and
encodes the same answer. Questions go over kept connections, to both in turns; a connection is made
and judged before the clock starts. CPU is that of the serving process.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelseal.inference import tensors

ROUNDS, CALLERS = 15, (1, 8)
QUESTIONS = {"rows": 200, "photo": 40}
_TICK = os.sysconf("SC_CLK_TCK")


def rows() -> bytes:
    """A model that costs next to nothing: what is left is the service."""
    weights = np.random.default_rng(1).standard_normal((64, 16)).astype(np.float32)
    return _model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [("w", weights)], ["n", 64], ["n", 16]
    )


def photo() -> bytes:
    """Three convolutions over a picture of 224 by 224."""
    made, last, nodes, weights = np.random.default_rng(2), "x", [], []
    for number, (inside, outside) in enumerate(((3, 16), (16, 24), (24, 32))):
        kernel = made.standard_normal((outside, inside, 3, 3)).astype(np.float32) / inside
        weights.append((f"w{number}", kernel))
        nodes.append(
            helper.make_node(
                "Conv", [last, f"w{number}"], [f"c{number}"], strides=[2, 2], pads=[1, 1, 1, 1]
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        last = f"r{number}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"]))
    return _model(nodes, weights, ["n", 3, 224, 224], ["n", 32, 1, 1])


def _model(nodes: list[Any], weights: list[tuple[str, Any]], x: list[Any], y: list[Any]) -> bytes:
    graph = helper.make_graph(
        nodes, "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    made: bytes = model.SerializeToString()
    return made


MODELS = {"rows": rows, "photo": photo}
SHAPES = {"rows": (1, 64), "photo": (1, 3, 224, 224)}


# -- the two services, each in a process of its own


def serve_ours(folder: Path, name: str) -> None:
    """`attest serve` over the sealed model, with software evidence."""
    from tests.inference.serving import software
    from tests.runtime.shop import Shop, ShopLicensee

    from modelseal.crypto.signing import SigningKey
    from modelseal.inference.models import open_sealed
    from modelseal.inference.service import Running
    from modelseal.runtime import default

    path, _ = Shop(folder).seal(f"{name}.sealed", {f"{name}.onnx": MODELS[name]()})
    default.use_licensee(ShopLicensee(folder))
    Running(
        [open_sealed(path, name, threads=1)], [software(SigningKey.generate())],
        listen="127.0.0.1:0", on_ready=_say,
    ).run()  # fmt: skip


def serve_plain(name: str) -> None:
    """The same model by ONNX Runtime, the same protocol, and nothing else."""
    import onnxruntime
    import uvicorn

    from modelseal import listening
    from modelseal.inference.proving import ChannelKey

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        MODELS[name](), options, providers=["CPUExecutionProvider"]
    )
    pool = concurrent.futures.ThreadPoolExecutor(4)

    def answer(body: bytes, length: int) -> tuple[bytes, int]:
        asked = json.loads(body[:length])
        x = np.frombuffer(body, np.float32, offset=length).reshape(asked["inputs"][0]["shape"])
        (y,) = session.run(["y"], {"x": x})
        data = y.tobytes()
        told = {
            "name": "y", "datatype": "FP32", "shape": list(y.shape),
            "parameters": {"binary_data_size": len(data)},
        }  # fmt: skip
        head = json.dumps({"model_name": name, "outputs": [told]}).encode()
        return head + data, len(head)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        import asyncio

        headers = dict(scope["headers"])
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part["body"], part.get("more_body", False)
        length = int(headers[tensors.LENGTH_HEADER.lower().encode()])
        loop = asyncio.get_running_loop()
        told, head = await loop.run_in_executor(pool, answer, body, length)
        kept = [
            (b"content-length", str(len(told)).encode()),
            (tensors.LENGTH_HEADER.lower().encode(), str(head).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": kept})
        await send({"type": "http.response.body", "body": told})

    socket = listening.bind("127.0.0.1", 0)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="asyncio",
        http="h11",
        ws="none",
    )
    config.load()
    config.ssl = ChannelKey.generate(datetime.now(UTC)).context()
    url = listening.url(socket, "127.0.0.1", "https")
    listening.Uvicorn(config, lambda: _say(url)).run(sockets=[socket])


def _say(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


@dataclass
class Served:
    """A running service and what it took so far."""

    process: subprocess.Popen[bytes]
    url: str
    name: str
    seconds: list[float] = field(default_factory=list)
    cpu: float = 0.0

    def cpu_seconds(self) -> float:
        """Of the serving process, user and system."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(text[11]) + int(text[12])) / _TICK

    @contextmanager
    def connected(self) -> Iterator[http.client.HTTPSConnection]:
        """One connection, made and warm."""
        host, _, port = self.url.removeprefix("https://").rpartition(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        made = http.client.HTTPSConnection(host, int(port), context=context, timeout=60)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def running(which: str, name: str, folder: Path) -> Iterator[Served]:
    """A service of one model in a process of its own."""
    words = [sys.executable, "-W", "ignore", "-m", "bench.inference", which, name, str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        url = b"" if process.stdout is None else process.stdout.readline()
        yield Served(process, url.decode().strip(), name)
    finally:
        process.terminate()
        process.wait(30)


def ask(connection: http.client.HTTPSConnection, name: str, message: tensors.Message) -> float:
    """Seconds from question to answer; the answer is looked at."""
    began = time.perf_counter()
    connection.request("POST", f"/v2/models/{name}/infer", message.body, dict(message.headers))
    answer = connection.getresponse()
    body = answer.read()
    took = time.perf_counter() - began
    if answer.status != 200 or not body:
        raise SystemExit(f"{name}: {answer.status} {body[:200]!r}")
    return took


def a_round(served: Served, message: tensors.Message, callers: int, questions: int) -> None:
    """So many questions of so many callers at once."""
    with ExitStack() as stack:
        made = [stack.enter_context(served.connected()) for _ in range(callers)]
        for one in made:
            ask(one, served.name, message)
        before = served.cpu_seconds()
        each = questions // callers

        def work(one: http.client.HTTPSConnection) -> list[float]:
            return [ask(one, served.name, message) for _ in range(each)]

        with concurrent.futures.ThreadPoolExecutor(callers) as pool:
            for took in pool.map(work, made):
                served.seconds += took
        served.cpu += served.cpu_seconds() - before


def measure(folder: Path, rounds: int = ROUNDS) -> Iterator[dict[str, Any]]:
    """A line for each model and number of callers."""
    for name in MODELS:
        x = np.random.default_rng(3).standard_normal(SHAPES[name]).astype(np.float32)
        message = tensors.request({"x": x}, ["y"])
        place = folder / name
        place.mkdir()
        with running("ours", name, place) as ours, running("plain", name, place) as plain:
            for callers in CALLERS:
                for one in (ours, plain):
                    one.seconds, one.cpu = [], 0.0
                for _ in range(rounds):  # in turns: both meet the same noise
                    for one in (ours, plain):
                        a_round(one, message, callers, QUESTIONS[name])
                yield {
                    "model": name,
                    "callers": callers,
                    "body_bytes": len(message.body),
                    **{
                        f"{label}_{what}": round(value, 2)
                        for label, one in (("ours", ours), ("plain", plain))
                        for what, value in _told(one).items()
                    },
                }


def _told(one: Served) -> dict[str, float]:
    cuts = statistics.quantiles(one.seconds, n=100)
    return {
        "p50_ms": cuts[49] * 1e3,
        "p99_ms": cuts[98] * 1e3,
        "cpu_ms": one.cpu / len(one.seconds) * 1e3,
    }


def main(words: Sequence[str]) -> int:
    """The numbers as JSON lines; with words one of the services."""
    if words:
        which, name, folder = words
        serve_ours(Path(folder), name) if which == "ours" else serve_plain(name)
        return 0
    with tempfile.TemporaryDirectory(prefix="msi-") as scratch:
        for line in measure(Path(scratch)):
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
