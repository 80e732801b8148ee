"""The measurements as the table of ``docs/performance.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def texts(found: Mapping[str, Any]) -> dict[str, str]:
    """What was found as Markdown, by the name of its part."""
    parts = {
        "safetensors": _loads(found.get("safetensors", {})),
        "onnx": _loads(found.get("onnx", {})),
        "lazy": _loads(found.get("lazy", {})),
        "peers": _peers(found.get("peers", {})),
        "small": _small(found.get("small", {})),
        "hook": _hook(found.get("hook", {})),
        "law": _law(found.get("law", {})),
        "sealing": _sealing(found.get("sealing", {})),
        "tpm": _tpm(found.get("tpm", {})),
    }
    return {
        name: "\n".join([*lines, *_machine(found)])
        for name, lines in parts.items()
        if name in found
    }


def write(page: Path, measured: Mapping[str, str]) -> None:
    """Between the marks of each part that was measured ``page`` says what came out."""
    said = page.read_text()
    for name, text in measured.items():
        begin, end = (f"<!-- measured {name}: {mark} -->" for mark in ("begin", "end"))
        before, _, rest = said.partition(begin)
        _, _, after = rest.partition(end)
        said = f"{before}{begin}\n\n{text}\n{end}{after}"
    page.write_text(said)


def _machine(found: Mapping[str, Any]) -> Iterator[str]:
    on = found["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in on["packages"].items())
    speeds = on["speeds"]
    yield (
        f"Measured {on['at']} on {on['system']}, {on['processors']} processors, load average "
        f"before {on['load_before']}, Python {on['python']}, {packages}; medians of "
        f"{found['rounds']} rounds. One thread of this machine does AES-256-GCM at "
        f"{speeds['aes_gcm']:.1f} GB/s, BLAKE3 at {speeds['blake3']:.1f}, a copy in the cache at "
        f"{speeds['copy']:.1f}, the first touch of memory at {speeds['memory']:.1f}, and "
        f"{speeds['python']:.0f} million turns of an empty loop in Python a second."
    )
    yield ""


def _loads(found: Mapping[str, Any]) -> Iterator[str]:
    for title, each in found.items():
        arena = any("of_arena" in took for took in each.values())
        yield f"### {title}"
        yield ""
        yield "| | ms | of plain | CPU ms | of plain | memory MB |" + (
            " CPU of plain bytes into an arena |" if arena else ""
        )
        yield "|---|--:|--:|--:|--:|--:|" + ("--:|" if arena else "")
        for name, took in each.items():
            line = (
                f"| {name} | {took['seconds'] * 1e3:.{_places(took)}f} "
                f"| {took['seconds_ratio']:.2f} "
                f"| {took['cpu_seconds'] * 1e3:.{_places(took)}f} "
                f"| {took['cpu_seconds_ratio']:.2f} | {took['peak_bytes'] / 1e6:.0f} |"
            )
            if arena:
                line += f" {took['of_arena']:.2f} |" if "of_arena" in took else " |"
            yield line
        yield ""


def _places(took: Mapping[str, float]) -> int:
    """Decimals of milliseconds: one below 50 ms."""
    return 1 if took["seconds"] < 0.05 else 0


def _peers(found: Mapping[str, Any]) -> Iterator[str]:
    for size, told in found.items():
        yield f"### Other tools, {size} of safetensors to numpy"
        yield ""
        cold = told.get("cold", {})
        yield (
            "| | ms | of plain | CPU ms | of plain | memory MB |"
            + (" cold ms | of plain |" if cold else "")
        )
        yield "|---|--:|--:|--:|--:|--:|" + ("--:|--:|" if cold else "")
        for name, took in told["load"].items():
            line = (
                f"| {name} | {took['seconds'] * 1e3:.0f} | {took['seconds_ratio']:.2f} "
                f"| {took['cpu_seconds'] * 1e3:.0f} | {took['cpu_seconds_ratio']:.2f} "
                f"| {took['peak_bytes'] / 1e6:.0f} |"
            )
            if cold:
                line += f" {cold[name]['seconds'] * 1e3:.0f} | {cold[name]['seconds_ratio']:.2f} |"
            yield line
        yield ""
        yield from _faster(told)
        yield "| | version | protect, GB per CPU second | size of plain | remark |"
        yield "|---|---|--:|--:|---|"
        for tool in told["tools"]:
            took = tool["protect"]
            yield (
                f"| {tool['title']} | {tool['version']} "
                f"| {told['plain_bytes'] / took['cpu_seconds'] / 1e9:.2f} "
                f"| {took['bytes'] / told['plain_bytes']:.2f} | {tool['remark']} |"
            )
        for title, reason in told["cannot"].items():
            yield f"| {title} | not measured | | | {reason} |"
        yield ""


def _faster(told: Mapping[str, Any]) -> Iterator[str]:
    """Where another tool beats ours, in words."""
    ours = {name: each for name, each in told["load"].items() if name.startswith("modelseal")}
    for tool in told["tools"]:
        took = told["load"][tool["title"]]
        beaten = [
            f"{name} in {what}"
            for name, own in ours.items()
            for what, unit in (("time", "seconds"), ("CPU", "cpu_seconds"))
            if took[unit] < own[unit]
        ]
        if beaten:
            yield f"{tool['title']} is faster than {', '.join(beaten)}."
            yield ""


def _tpm(found: Mapping[str, Any]) -> Iterator[str]:
    if not found:
        return
    yield "| on an emulated TPM (swtpm) | ms |"
    yield "|---|--:|"
    for title, name in (
        ("unseal in an encrypted session, loading included", "unseal"),
        ("quote", "quote"),
        ("device signature, connection included", "device_signature"),
        ("open a sealed key-encryption key", "open_kek"),
        ("open a small model, device key in the file", "open_by_file"),
        ("open a small model, device key in the TPM", "open_by_tpm"),
    ):
        yield f"| {title} | {found[f'{name}_seconds'] * 1e3:.1f} |"
    yield ""
    yield f"500 operations left {found['handles_left']} handles."
    yield ""


def _small(found: Mapping[str, Any]) -> Iterator[str]:
    if not found:
        return
    once = found["once_per_process"]
    yield "### Small models, one process, in turns"
    yield ""
    yield (
        f"Once per process: client {once['client_seconds'] * 1e3:.0f} ms, unlocking the device "
        f"key {once['unlock_seconds'] * 1e3:.0f} ms."
    )
    yield ""
    yield (
        "| load | plain ms | sealed ms | of plain | of its CPU | inference, CPU | same outputs |"
    )
    yield "|---|--:|--:|--:|--:|--:|---|"
    for kind in ("sealed", "optimised"):
        for name, each in found["load"].items():
            run = found["inference"][kind].get(name)
            inference = "" if run is None else f"{run['cpu_seconds_ratio']:.3f}"
            same = "" if run is None else ("yes" if run["identical"] else "NO")
            title = name if kind == "sealed" else f"{name}, {kind}"
            plain, sealed = each["plain"], each[kind]
            yield (
                f"| {title} | {plain['seconds'] * 1e3:.1f} | {sealed['seconds'] * 1e3:.1f} "
                f"| {sealed['seconds_ratio']:.2f} | {sealed['cpu_seconds_ratio']:.2f} "
                f"| {inference} | {same} |"
            )
    yield ""


def _hook(found: Mapping[str, Any]) -> Iterator[str]:
    if not found:
        return
    yield "### Under the hook"
    yield ""
    yield "| | plain | protected | |"
    yield "|---|--:|--:|--:|"
    took = found["start"]["turns"]
    yield (
        f"| start of a Python that opens nothing | {_ms(took['plain'])} | {_ms(took['hook'])} "
        f"| {found['start']['added_seconds'] * 1e3:+.1f} ms, "
        f"CPU {found['start']['added_cpu_seconds'] * 1e3:+.1f} ms |"
    )
    took = found["pool"]
    for kind, how in (("sealed", ""), ("optimised", ", sealed with `--optimise`")):
        title = f"12 models in a pool of 8 threads{how}"
        yield _row(title, took["plain"], took[kind], "seconds")
    for size, more in found["more"].items():
        took, over = more["turns"], (more["added_seconds"], more["added_cpu_seconds"])
        yield (
            f"| one more session of a model of {size} "
            f"| {_ms(took['plain'])} | {_ms(took['sealed'])} "
            f"| {over[0] * 1e3:+.1f} ms, CPU {over[1] * 1e3:+.1f} ms |"
        )
    for size, took in found["large"].items():
        yield _row(f"{size} of ONNX", took["plain"], took["sealed"], "seconds")
        for what in ("peak", "steady"):
            plain, sealed = (took[kind][f"{what}_bytes"] for kind in ("plain", "sealed"))
            yield (
                f"| its {what} memory | {plain / 1e6:.0f} MB | {sealed / 1e6:.0f} MB "
                f"| {sealed / plain:.2f} |"
            )
    yield ""


def _row(title: str, plain: Mapping[str, float], sealed: Mapping[str, float], what: str) -> str:
    return (
        f"| {title} | {_ms(plain)} | {_ms(sealed)} | {sealed[f'{what}_ratio']:.2f}, CPU "
        f"{sealed['cpu_seconds_ratio']:.2f} |"
    )


def _ms(took: Mapping[str, float]) -> str:
    return f"{took['seconds'] * 1e3:.1f} ms"


def _law(found: Mapping[str, Any]) -> Iterator[str]:
    yield "### The license law"
    yield ""
    yield "| | ms (median) |"
    yield "|---|--:|"
    for name, took in found.items():
        heavy = took.get("heavy_modules")
        told = f", with {', '.join(heavy)}" if heavy else ""
        yield f"| {name}{told} | {took['seconds'] * 1e3:.2f} |"
    yield ""


def _sealing(found: Mapping[str, Any]) -> Iterator[str]:
    yield "### Sealing and checking"
    yield ""
    yield "| | ms | GB/s | CPU ms | GB per CPU second |"
    yield "|---|--:|--:|--:|--:|"
    for name, took in found.items():
        yield (
            f"| {name} | {took['seconds'] * 1e3:.0f} | {took['gigabytes_per_second']:.2f} "
            f"| {took['cpu_seconds'] * 1e3:.0f} | {took['gigabytes_per_cpu_second']:.2f} |"
        )
