"""Ours and other tools on one safetensors file into numpy, in the same shuffled rounds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from bench import cases, peers, turns


def measure(place: cases.Place, plain: Path, rounds: int, *, cold: bool) -> dict[str, Any]:
    """Medians of every tool, warm (and cold); what a tool costs when it protects; who cannot.

    ``load`` and ``cold`` are by title, ``plain`` the base of the ratios of both.
    """
    protected, about, cannot = _protect(plain)
    ours = partial(place.once, "safetensors sealed", place.sealed[plain.name])
    ours(depth="auto")  # the full verification that the record of depth tag needs
    contenders: dict[str, turns.Work] = {
        "plain": partial(place.once, "safetensors plain", plain),
        "modelseal, tag": partial(ours, depth="auto"),
        "modelseal, full": partial(ours, depth="full"),
        "modelseal, tag, 1 thread": partial(ours, depth="auto", threads=1),
    }
    theirs = {about[name]["title"]: partial(_child, name, path) for name, path in protected.items()}
    found: dict[str, Any] = {"tools": list(about.values()), "cannot": cannot, "rounds": rounds}
    found["plain_bytes"] = plain.stat().st_size
    found["load"] = turns.take(contenders | theirs, "plain", rounds)
    if cold:
        frozen = {name: partial(work, cold=True) for name, work in (contenders | theirs).items()}
        found["cold"] = turns.take(frozen, "plain", rounds, warm=0)
    for path in protected.values():
        path.unlink(missing_ok=True)
    return found


def _protect(plain: Path) -> tuple[dict[str, Path], dict[str, dict[str, Any]], dict[str, str]]:
    """Protected files and what is said of their tools; reasons of those that cannot, by title."""
    protected, about, cannot = {}, {}, {}
    for name in peers.NAMES:
        module, target = peers.load(name), plain.with_name(f"{plain.name}.by-{name}")
        try:
            told = {"title": module.TITLE, "remark": module.REMARK,
                    "version": module.released_as()}  # fmt: skip
            told["protect"] = _child(name, target, protect=str(plain))
            _child(name, target)
        except peers.Cannot as error:
            cannot[module.TITLE] = str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - told in the table
            last = (str(error).strip() or type(error).__name__).splitlines()[-1]
            cannot[module.TITLE] = last[:200]
        else:
            protected[name], about[name] = target, told
    return protected, about, cannot


def _child(name: str, path: Path, *, protect: str = "", cold: bool = False) -> turns.Took:
    job = {"peer": name, "path": str(path), "protect": protect, "cold": cold}
    return cases._child("bench.peer", job)
