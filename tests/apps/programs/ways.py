"""Every way in which real programs name a model and start their workers, a line of output each."""

import hashlib
import multiprocessing
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import onnxruntime
from onnxruntime import InferenceSession

CPU = ["CPUExecutionProvider"]


class Named:
    """A path whose text is bytes, as ``os.scandir(b"...")`` gives them."""

    def __init__(self, path):
        self.path = os.fsencode(path)

    def __fspath__(self):
        return self.path


def digest(session):
    (node,) = session.get_inputs()
    shape = [n if isinstance(n, int) else 1 for n in node.shape]
    feed = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    outputs = session.run(None, {node.name: feed})
    return hashlib.sha256(b"".join(o.tobytes() for o in outputs)).hexdigest()


def work(path):
    return digest(InferenceSession(path, providers=CPU))


def options():
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = 1
    return chosen


def main(path, folder):
    if os.environ.get("AGAIN"):
        print("after execv", work(path))
        return
    print("positional options", digest(InferenceSession(path, options(), CPU)))
    print("named options", digest(InferenceSession(path, sess_options=options(), providers=CPU)))
    print("named path", digest(InferenceSession(path_or_bytes=path, providers=CPU)))
    print("content", work(pathlib.Path(path).read_bytes()))
    print("pathlib", work(pathlib.Path(path)))
    link = pathlib.Path(folder, "other name.bin")
    link.symlink_to(path)
    print("symlink", work(str(link)))
    os.chdir(folder)
    print("relative", work("other name.bin"), work("./other name.bin"))
    try:
        print("path of bytes", work(Named(path)))
    except TypeError:
        print("path of bytes: not for this framework")
    for method in ("spawn", "forkserver", "fork"):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            print(method, set(pool.map(work, [path] * 3)))
    here = os.path.dirname(os.path.abspath(__file__))
    code = (
        f"import sys; sys.path.insert(0, {here!r}); import ways; "
        "print('subprocess', ways.work(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)
    subprocess.run(["sh", "-c", 'exec "$0" -c "$1" "$2"', sys.executable, code, path], check=True)
    sys.stdout.flush()
    os.environ["AGAIN"] = "1"
    os.execv(sys.executable, [sys.executable, __file__, path, folder])


if __name__ == "__main__":
    main(*sys.argv[1:])
