"""``guarded.py SEALED OWN``: tries to write weights down, opened ones and its own; says what came.

``modelseal.install()`` stands first, as in a frozen program.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import modelseal

modelseal.install()

import safetensors.numpy  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
import torch._inductor.config  # noqa: E402
from accelerate import disk_offload, init_empty_weights, load_checkpoint_and_dispatch  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from modelseal.errors import EgressRefused  # noqa: E402

sealed, own = sys.argv[1:]
out = Path(own)


def attempt(what, write):
    try:
        write()
    except EgressRefused:
        print(what, "refused")
    else:
        print(what, "written")


assert not torch._inductor.config.force_disable_caches
model = AutoModelForCausalLM.from_pretrained(f"{sealed}/single")
assert torch._inductor.config.force_disable_caches and not torch._inductor.config.freezing
state = model.state_dict()
single = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
arrays = modelseal.safetensors.load_file(f"{sealed}/single.sealed/model.safetensors")
taken = torch.nn.Linear(32, 64, bias=False)
taken.load_state_dict({"weight": state["transformer.wte.weight"]})
script = torch.jit.load(f"{sealed}/script.pt")

attempt("save_pretrained", lambda: model.save_pretrained(out / "a"))
attempt("torch.save of a state", lambda: torch.save(state, out / "a"))
attempt("torch.save of a module", lambda: torch.save(model, io.BytesIO()))
attempt("torch.save of what took it over", lambda: torch.save(taken.state_dict(), out / "a"))
attempt("save_file for torch", lambda: safetensors.torch.save_file(single, out / "a"))
attempt("save_model", lambda: safetensors.torch.save_model(model, out / "a"))
attempt("save_file for numpy", lambda: safetensors.numpy.save_file(arrays, out / "a"))
attempt("save for numpy", lambda: safetensors.numpy.save(arrays))
attempt("a script's save", lambda: script.save(out / "a"))
attempt("torch.jit.save", lambda: torch.jit.save(script, str(out / "a")))
attempt("disk_offload", lambda: disk_offload(model, out / "a", execution_device="cpu"))
with init_empty_weights():
    empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(f"{sealed}/sharded"))
empty.tie_weights()
parts = ("wte", "wpe", "ln_f")
placed = {f"transformer.{part}": "cpu" for part in parts} | {"transformer.h": "disk"}
attempt(
    "offloading while it is loaded",
    lambda: load_checkpoint_and_dispatch(
        empty, f"{sealed}/sharded", device_map=placed | {"lm_head": "cpu"}, offload_folder=out / "a"
    ),
)
assert not (out / "a").is_file() and not list(out.rglob("*.*"))
mine = torch.nn.Linear(2, 2)
attempt("own state", lambda: torch.save(mine.state_dict(), out / "own.pt"))
attempt("own tensors", lambda: safetensors.torch.save_file({"a": torch.ones(3)}, out / "own.st"))
