"""``modelseal.torch``: PyTorch files of sealed models.

state = modelseal.torch.load("model.pth")      # weights_only stays True
"""

from __future__ import annotations

from modelseal.runtime.torch import load

__all__ = ["load"]
