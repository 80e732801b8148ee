"""What can prove something here, and what a verdict means in words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelseal.client import hardware
from modelseal.client.core import Core
from modelseal.client.identity import Identity
from modelseal.errors import LevelNotReached, Misuse, ModelsealError

if TYPE_CHECKING:
    from modelseal.attest.collect import Collector

TPM = "tpm2"
GPU = "nvidia"
_CPUS = ("azure-vtpm", "gramine", "nitro", "tsm")
_CPU_LEVEL, _GPU_LEVEL, _TPM_LEVEL = 4, 5, 3


def chosen(
    core: Core, me: Identity, level: int, given: Sequence[str | Collector] | None
) -> list[Collector]:
    """The collectors that are asked for ``level``: the ``given`` ones, or what is found here.

    Raises ``Misuse`` for an unknown name, ``LevelNotReached`` where nothing here can prove it.
    """
    table = core.ports.collectors()
    if given is not None:
        found = [_one(core, me, table, each) for each in given]
    else:
        found = _found(core, me, table, level)
    if not found:
        raise missing(level)
    return found


def missing(level: int) -> ModelsealError:
    """The error for a computer that has nothing to prove ``level`` with."""
    return explained(LevelNotReached(level="L0", needed=f"L{level}", verdict="no_hardware"))


def explained(error: ModelsealError) -> ModelsealError:
    """``error`` with its verdict in words an operator can act on."""
    from modelseal.attest.verify.reasons import reason

    verdict = error.params.get("verdict")
    if isinstance(verdict, str) and verdict:
        error.params["why"] = reason(verdict, values(error)).rstrip(".。")
    return error


def values(error: ModelsealError) -> dict[str, str | int]:
    """The named values that came with a verdict."""
    told = error.params.get("verdict_params")
    first = told[0] if isinstance(told, list) and told else None
    return dict(first) if isinstance(first, dict) else {}


def _one(
    core: Core, me: Identity, table: Mapping[str, Callable[[], Collector]], each: str | Collector
) -> Collector:
    if isinstance(each, str):
        if each == TPM:
            return hardware.tpm_of(core).collector(hardware.ak_seed(me))
        if each not in table:
            raise Misuse(f"a collector is one of {', '.join(sorted(table))}")
        return table[each]()
    if each.name == TPM and hasattr(each, "seeded"):  # this device's own attestation key
        own: Collector = each.seeded(hardware.ak_seed(me))
        return own
    return each


def _found(
    core: Core, me: Identity, table: Mapping[str, Callable[[], Collector]], level: int
) -> list[Collector]:
    """The first processor that proves itself, with the GPUs where they are demanded; else a TPM."""
    found: list[Collector] = []
    for name in _CPUS:
        if name in table and (one := _here(table[name])) is not None:
            found.append(one)
            break
    if found and level >= _GPU_LEVEL and GPU in table:
        gpu = _here(table[GPU])
        found += [] if gpu is None else [gpu]
    if not found and level <= _TPM_LEVEL and hardware.present(core):
        found.append(_one(core, me, table, TPM))
    return found


def _here(make: Callable[[], Collector]) -> Collector | None:
    with contextlib.suppress(ModelsealError, OSError):
        made = make()
        return made if made.is_here() else None
    return None
