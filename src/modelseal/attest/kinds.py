"""All evidence kinds there are: the built-in ones and those that other packages bring.

A package names its ``Kind`` under the entry point group ``modelseal.evidence_kinds``. It cannot
take the name of a built-in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from modelseal.attest.verify.kinds import Kind
from modelseal.attest.verify.registry import builtin
from modelseal.errors import ConfigInvalid

GROUP = "modelseal.evidence_kinds"


def known() -> Mapping[str, Kind]:
    """Every kind by name; ``ConfigInvalid`` when a package's entry is none."""
    found: dict[str, Kind] = {}
    for entry in entry_points(group=GROUP):
        try:
            kind = entry.load()
        except Exception as error:  # noqa: BLE001 - whatever a stranger's package raises
            raise ConfigInvalid(f"{GROUP} {entry.name}: {type(error).__name__}") from None
        if not isinstance(kind, Kind) or kind.name != entry.name:
            raise ConfigInvalid(f"{GROUP} {entry.name}: no evidence kind of that name")
        found[kind.name] = kind
    return {**found, **builtin()}
