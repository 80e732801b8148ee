"""safetensors into torch, against PyTorch's own file of the same tensors."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench import cases, turns
from modelseal import processors

BASE = "plain .pt, mmap=False"


def to_torch(place: cases.Place, plain: Path, rounds: int) -> cases.Found:
    """One file into torch tensors, warm, a fresh process each that has imported torch."""
    load = partial(place.once, "torch sealed", place.sealed[plain.name])
    saved = saved_by_torch(plain)
    tag: dict[str, turns.Work] = {
        BASE: partial(place.once, "torch plain", saved),
        "sealed, tag, 1 thread": partial(load, depth="auto", threads=1),
    }
    both = tag | {
        "sealed, full, 1 thread": partial(load, depth="full", threads=1),
        cases.ARENA: partial(place.once, "bytes into an arena", plain, threads=1, needs="torch"),
    }
    contenders = both | {
        "an arena alone": partial(place.once, "an arena alone", plain, threads=1, needs="torch"),
        "plain .pt, mmap=True": partial(place.once, "torch mapped", saved),
        "plain .pt, mmap=True, every page touched": partial(
            place.once, "torch mapped, every page touched", saved
        ),
    }
    contenders |= cases.again(both, cases.AT_HAND, at_hand=True)
    contenders |= cases.again(tag, cases.USED, before=2)
    if processors.count() > 1:
        contenders["sealed, tag, all threads"] = partial(load, depth="auto")
    sealed = place.sealed.get(saved.name)
    if sealed is not None:
        pickled = partial(place.once, "torch sealed pickle", sealed, depth="auto")
        contenders["sealed .pt, tag, all threads"] = pickled
        pickled()
    load(depth="auto")  # the full verification that the record needs
    return cases.of_arena(cases.take(contenders, BASE, rounds))


def saved_by_torch(plain: Path) -> Path:
    """The same tensors as a ``.pt`` file."""
    target = plain.with_suffix(".pt")
    if not target.exists():
        import safetensors.torch
        import torch

        torch.save(safetensors.torch.load_file(plain), target)
    return target
