"""safetensors in the forms programs import it."""

import hashlib
import sys

import numpy as np
import safetensors
import safetensors.numpy
from safetensors import safe_open
from safetensors.numpy import load, load_file


def show(what, tensors):
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        print(what, name, array.dtype, array.shape, hashlib.sha256(array.tobytes()).hexdigest())


path = sys.argv[1]
show("load_file", load_file(path))
show("module", safetensors.numpy.load_file(path))
with open(path, "rb") as file:
    show("load", load(file.read()))
with safe_open(path, framework="np") as opened:
    print(opened.keys(), opened.metadata())
    name = opened.keys()[0]
    show("slice", {name: opened.get_slice(name)[:1]})
    show("tensor", {name: opened.get_tensor(name)})
with safetensors.safe_open(path, "numpy", device="cpu") as opened:
    show("tensors", opened.get_tensors())
loaded = load_file(path)
for array in loaded.values():
    array += 1
show("changed", loaded)
