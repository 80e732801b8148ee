"""``torch.load`` over opened memory."""

from __future__ import annotations

from typing import Any, BinaryIO

from modelseal.errors import ExtraMissing


def runtime() -> Any:
    """The module ``torch``; ``ExtraMissing`` when it is not installed."""
    try:
        import torch
    except ImportError:
        raise ExtraMissing("torch is not installed", extra="torch") from None
    return torch


def load(file: BinaryIO, load: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``torch.load`` (``load``) of ``file``.

    ``mmap`` would need a path and is left out: what it saves is saved here anyway.
    """
    kwargs = {name: value for name, value in kwargs.items() if name != "mmap"}
    return load(file, *args, **kwargs)


def load_script(path: str, load: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``torch.jit.load`` (``load``) of the TorchScript file at ``path``, a file in memory.

    A path and no bytes: torch would copy bytes once more before it reads them.
    """
    return load(path, *args, **kwargs)
