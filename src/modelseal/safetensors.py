"""``modelseal.safetensors``: tensors of sealed models, over the memory they were decrypted into.

    weights = modelseal.safetensors.load_file("model.safetensors")                  # numpy
    weights = modelseal.safetensors.load_file("model.safetensors", framework="pt")  # torch
    with modelseal.safetensors.safe_open("model.safetensors", framework="pt") as f:
        rows = f.get_slice("embedding")[:16]                 # reads and decrypts these rows only

Tensors are writable and the caller's own, as those of plain safetensors are; their memory is wiped
when the last of them goes. All raise ``NotSealed`` for a plain file unless ``allow_plain``,
``InputMissing``, the refusals of the license, ``InvalidBytes`` for what is no safetensors,
``ExtraMissing`` without numpy or torch.
"""

from __future__ import annotations

from modelseal.runtime.safetensors import load, load_file, safe_open

__all__ = ["load", "load_file", "safe_open"]
