"""The ways in which real programs have torch read a checkpoint or a package, a line each.

spandrel (ComfyUI, chaiNNer) brings an unpickler of its own, ultralytics stores whole modules, and
Silero's programs are packages of torch.
"""

import contextlib
import os
import pickle
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.package import PackageExporter, PackageImporter

warnings.simplefilter("ignore")
folder = Path(sys.argv[1])
weights, module, package = (str(folder / name) for name in ("a.pt", "module.pt", "package.pt"))


class Restricted(pickle.Unpickler):
    def find_class(self, name, wanted):
        if name.partition(".")[0] not in ("torch", "collections"):
            raise pickle.UnpicklingError(f"{name} is not allowed")
        return super().find_class(name, wanted)


def total(state):
    return repr(state["w"].double().sum().item())


own = SimpleNamespace(__name__="own", Unpickler=Restricted, load=pickle.load)
print("own unpickler", total(torch.load(weights, pickle_module=own)))
print("by position", total(torch.load(weights, "cpu", own)))
print("whole module", torch.load(module, weights_only=False)(torch.ones(1, 3)).tolist())
for chosen in ({}, {"weights_only": None}):
    try:
        torch.load(module, **chosen)
    except pickle.UnpicklingError:
        print("code is not loaded unasked")
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
print("asked by environment", torch.load(module)(torch.ones(1, 3)).tolist())
del os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"]
with torch.serialization.safe_globals([torch.nn.Linear, torch.nn.Module]):
    print("safe globals", total(torch.load(weights, mmap=True)))
importer = PackageImporter(package)
print("package", importer.load_text("texts", "said"), total(importer.load_pickle("parts", "state")))
print("package has", importer.file_structure().has_file("parts/state.pkl"))
if len(sys.argv) > 2:
    made = Path(sys.argv[2])
    with contextlib.suppress(OSError), PackageExporter(made) as exporter:
        try:
            exporter.save_pickle("parts", "state", importer.load_pickle("parts", "state"))
        except Exception as error:
            print(type(error).__name__, file=sys.stderr)
