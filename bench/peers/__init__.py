"""Other tools that keep a model secret at rest, measured on the same file in the same run.

One file each: ``protect(plain, target)`` writes the protected file and what opens it beside it;
``opener(target)`` reads keys, which is not measured, and gives what is: a function that ends with
every tensor as a numpy array. ``released_as()`` is what was measured, ``REMARK`` what one should
know. A tool that cannot do it raises ``Cannot`` with the reason, which then stands in the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

NAMES = (
    "cryptotensors", "tink", "age", "openssl", "aws", "tensorizer", "modellock", "inferlock",
    "naive",
)  # fmt: skip


class Cannot(Exception):
    """The tool is not there, or does not do this; the text says which."""


def load(name: str) -> Any:
    """The peer's module, whose names the docstring of this package tells."""
    return importlib.import_module(f"bench.peers.{name}")


def released(package: str) -> str:
    """Name and version of an installed package; ``Cannot`` when it is not installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        raise Cannot(f"{package} is not installed: make bench installs it") from None


def key_beside(target: Path) -> Path:
    """Where a peer keeps the key of ``target``."""
    return target.with_name(target.name + ".key")


def tensors(data: bytes) -> dict[str, Any]:
    """The tensors of a safetensors file in memory."""
    import safetensors.numpy

    return dict(safetensors.numpy.load(data))


Open = Callable[[], object]
