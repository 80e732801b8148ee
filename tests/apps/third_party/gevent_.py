"""Serves a large model with gevent, which puts threads, locks and sockets of its own in place."""

# ruff: noqa: E402 - gevent wants to be first

from gevent import monkey

monkey.patch_all()

import hashlib
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import gevent
import numpy as np
import onnxruntime
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

model = f"{sys.argv[1]}/large.onnx"


def digest(number):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    row = np.random.default_rng(number).standard_normal((1, 2048)).astype(np.float32)
    return hashlib.sha256(session.run(None, {"x": row})[0].tobytes()).hexdigest()


def answer(environ, start_response):
    start_response("200 OK", [])
    return [digest(int(environ["PATH_INFO"].strip("/"))).encode()]


server = WSGIServer(("127.0.0.1", 0), answer, log=None)
server.start()


def ask(number):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{number}") as found:
        return found.read().decode()


print(Pool(4).map(ask, range(4)))
with ThreadPoolExecutor(4) as pool:
    print(list(pool.map(digest, range(4))))
print(gevent.spawn(digest, 5).get())
server.stop()
