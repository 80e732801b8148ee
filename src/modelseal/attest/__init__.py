"""Attestation: keys and data only for machines that prove what they are.

    import modelseal.attest
    with modelseal.attest.connect("https://10.0.0.7:8444", "policy.json") as service:
        answer = service.infer("swap", {"input": photo})

``connect``     a connection to an inference service whose evidence was judged first
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelseal.inference.calling import connect as connect

__all__ = ["connect"]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name != "connect":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = import_module("modelseal.inference.calling").connect
    return found
