"""``modelseal.torch``: PyTorch files of sealed models.

    state = modelseal.torch.load("model.pth")          # weights_only stays True
    module = modelseal.torch.jit.load("script.pt")     # TorchScript

Both take the arguments of the plain ones and raise ``NotSealed`` for a plain file unless
``allow_plain``, ``InputMissing``, the refusals of the license, ``ExtraMissing`` without torch.
"""

from __future__ import annotations

from types import SimpleNamespace

from modelseal.runtime.torch import load, load_script

__all__ = ["jit", "load"]

jit = SimpleNamespace(load=load_script)
