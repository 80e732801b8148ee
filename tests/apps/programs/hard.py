"""What real programs do: derive from the class, import names early, carry sessions to workers by
path, swallow every error, and leave with ``os._exit``.
"""

import hashlib
import multiprocessing
import os
import pathlib
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession


class PickableSession(InferenceSession):
    def __init__(self, model_path, **kwargs):
        super().__init__(model_path, **kwargs)
        self.model_path = model_path

    def __getstate__(self):
        return {"model_path": self.model_path}

    def __setstate__(self, values):
        self.__init__(values["model_path"], providers=["CPUExecutionProvider"])


def digest(session):
    (node,) = session.get_inputs()
    shape = [n if isinstance(n, int) else 1 for n in node.shape]
    feed = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    outputs = session.run(None, {node.name: feed})
    return hashlib.sha256(b"".join(o.tobytes() for o in outputs)).hexdigest()


def work(path):
    return digest(InferenceSession(path, providers=["CPUExecutionProvider"]))


def main(path, forbidden):
    session = PickableSession(path, providers=["CPUExecutionProvider"])
    assert isinstance(session, InferenceSession)
    assert isinstance(session, onnxruntime.InferenceSession)
    print("derived", digest(session))
    print("pickled", digest(pickle.loads(pickle.dumps(session))))
    print("pathlib", work(pathlib.Path(path)))
    os.chdir(pathlib.Path(path).parent)
    print("relative", work(pathlib.Path(path).name))
    with ThreadPoolExecutor(8) as pool:
        print("threads", set(pool.map(work, [path] * 12)))
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        print("spawn", pool.map(work, [path]))
    session.set_providers(["CPUExecutionProvider"])
    print("again", digest(session))
    for other in forbidden:
        try:
            work(other)
            print("opened", pathlib.Path(other).name)
        except Exception:
            print("swallowed", pathlib.Path(other).name)
    sys.stdout.flush()
    os._exit(7)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
