"""The measurements as the table of ``docs/performance.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BEGIN = "<!-- measured: begin -->"
END = "<!-- measured: end -->"


def text(found: Mapping[str, Any]) -> str:
    """Everything that was found, as Markdown."""
    return (
        "\n".join(
            [*_machine(found), *_loads(found), *_small(found), *_law(found), *_sealing(found)]
        )
        + "\n"
    )


def write(page: Path, measured: str) -> None:
    """The part of ``page`` between its two marks is ``measured``."""
    old = page.read_text()
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{measured}\n{END}{after}")


def _machine(found: Mapping[str, Any]) -> Iterator[str]:
    on = found["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in on["packages"].items())
    yield (
        f"Measured {on['at']} on {on['system']}, {on['processors']} processors, load average "
        f"before {on['load_before']}, Python {on['python']}, {packages}; medians of "
        f"{found['rounds']} rounds."
    )
    yield ""


def _loads(found: Mapping[str, Any]) -> Iterator[str]:
    for title, each in found["loads"].items():
        yield f"### {title}"
        yield ""
        yield "| | ms | of plain | CPU ms | of plain | memory MB |"
        yield "|---|--:|--:|--:|--:|--:|"
        for name, took in each.items():
            yield (
                f"| {name} | {took['seconds'] * 1e3:.0f} | {took['seconds_ratio']:.2f} "
                f"| {took['cpu_seconds'] * 1e3:.0f} | {took['cpu_seconds_ratio']:.2f} "
                f"| {took['peak_bytes'] / 1e6:.0f} |"
            )
        yield ""


def _small(found: Mapping[str, Any]) -> Iterator[str]:
    small = found["small"]
    once = small["once_per_process"]
    yield "### Small models, one process, in turns"
    yield ""
    yield (
        f"Once per process: client {once['client_seconds'] * 1e3:.0f} ms, unlocking the device "
        f"key {once['unlock_seconds'] * 1e3:.0f} ms."
    )
    yield ""
    yield "| load | plain ms | sealed ms | ratio | CPU ratio | inference CPU ratio | same outputs |"
    yield "|---|--:|--:|--:|--:|--:|---|"
    for name, each in small["load"].items():
        run = small["inference"].get(name)
        inference = "" if run is None else f"{run['cpu_seconds_ratio']:.3f}"
        same = "" if run is None else ("yes" if run["identical"] else "NO")
        plain, sealed = each["plain"], each["sealed"]
        yield (
            f"| {name} | {plain['seconds'] * 1e3:.1f} | {sealed['seconds'] * 1e3:.1f} "
            f"| {sealed['seconds_ratio']:.2f} | {sealed['cpu_seconds_ratio']:.2f} | {inference} "
            f"| {same} |"
        )
    yield ""


def _law(found: Mapping[str, Any]) -> Iterator[str]:
    yield "### The license law"
    yield ""
    yield "| | ms (median) |"
    yield "|---|--:|"
    for name, took in found.get("law", {}).items():
        heavy = took.get("heavy_modules")
        told = f", with {', '.join(heavy)}" if heavy else ""
        yield f"| {name}{told} | {took['seconds'] * 1e3:.2f} |"
    yield ""


def _sealing(found: Mapping[str, Any]) -> Iterator[str]:
    yield "### Sealing and checking"
    yield ""
    yield "| | ms | GB/s | CPU ms | GB per CPU second |"
    yield "|---|--:|--:|--:|--:|"
    for name, took in found["sealing"].items():
        yield (
            f"| {name} | {took['seconds'] * 1e3:.0f} | {took['gigabytes_per_second']:.2f} "
            f"| {took['cpu_seconds'] * 1e3:.0f} | {took['gigabytes_per_cpu_second']:.2f} |"
        )
