"""Chapters 2 and 3: the trial customer, and what becomes of a trial."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from demo import pictures
from demo.telling import Step
from demo.world import SOURCE, TARGET, World, program, protected

DETAIL = (slice(110, 300), slice(90, 280))


def trial(world: World) -> None:
    """The trial customer has swapped, and was refused what the trial does not include."""
    telling, li = world.telling, world.li
    telling.chapter(
        "The trial customer",
        f"Li types one command with the license key, and has the program as it is."
        f" Li's laptop: {li.computer.how}.",
    )
    done = li.types("Activate", ["modelseal", "activate", world.license_key], lines=0)
    binding = _value(done.stdout, "binding")
    entitled = _value(done.stdout, "entitlements")
    telling.chapters[-1].steps[-1].said = [
        f"plan {_value(done.stdout, 'plan')}: {entitled};"
        f" lease of {_value(done.stdout, 'days_left')} days; device key: {binding}"
    ]
    world.found["binding"] = binding
    li.types("Fetch what is granted, sealed", ["modelseal", "pull", "--to", "models"], lines=1)
    li.types("Swap: the program runs unchanged", protected(output="swap.png"), lines=1)
    _show(world, "swap.png", "The swap, from sealed models")
    li.types(
        "Restoration is refused, with reason and next step",
        protected("--restore", output="restored.png"), code=3, lines=3,
    )  # fmt: skip
    telling.must(not (world.app / "restored.png").exists(), "a refused run left a picture")
    _held(world, {"face.swap": True, "face.restore": False},
          "The lease, opened with the device's own keys: none for face.restore")  # fmt: skip


def upgrade(world: World) -> None:
    """The license is pro, one renewal has brought the keys, outputs equal those of plain models."""
    telling, li = world.telling, world.li
    telling.chapter(
        "The upgrade", "One change at the publisher, one renewal at the customer, no download."
    )
    change = ["modelseal", "license", "change", world.license_id, "--plan", "pro"]
    world.publisher.types("The license becomes pro", [*change, "--home", "shop"], lines=1)
    before = _fingerprints(world.app / "models")
    li.types("One renewal", ["modelseal", "lease", "renew"], lines=0)
    _held(world, {"face.swap": True, "face.restore": True},
          "The new lease holds the keys of all four models")  # fmt: skip
    li.types("Restoration works", protected("--restore", output="restored.png"), lines=0)
    same = before == _fingerprints(world.app / "models")
    telling.must(same, "a model file changed although nothing had to be downloaded")
    telling.add(Step("No download: every model file is the same, byte and time stamp"))
    _show(world, "restored.png", "Restored: four times the size")
    _compare(world)
    _measure(world)


def _value(status: str, name: str) -> str:
    found = [line for line in status.splitlines() if line.split(maxsplit=1)[:1] == [name]]
    return found[0].split(maxsplit=1)[1] if found else "-"


def _show(world: World, name: str, caption: str) -> None:
    kept = world.keep(world.app / name, name)
    world.telling.add(Step(f"{caption}", pictures=[(kept, caption)]))


def _held(world: World, wanted: dict[str, bool], title: str) -> None:
    """A table of the keys that are on the device, which must be as ``wanted`` says."""
    with world.telling.doing(title) as step:
        found = world.li.asks("held", "--app", ".", "--models", "models")
        step.table = [["sealed model", "needs", "sections", "keys here"]]
        for model in found["models"]:
            granted = wanted[model["entitlement"]]
            right = model["keys_held"] == (model["sections"] if granted else 0)
            world.telling.must(right, f"{model['file']}: {model['keys_held']} keys on the device")
            step.table.append([
                model["file"], model["entitlement"], str(model["sections"]),
                str(model["keys_held"]),
            ])  # fmt: skip


def _fingerprints(folder: Path) -> dict[str, tuple[str, int, int]]:
    return {
        path.name: (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            path.stat().st_ino,
        )
        for path in folder.iterdir()
    }


def _compare(world: World) -> None:
    """The same pictures from plain models, under ``run`` and through the public API."""
    li, plain = world.li, str(world.prepared)
    env = {"MODELSEAL_APP": "."}
    with world.telling.doing(
        "The same from plain models, and through modelseal's public API: bit-identical"
    ) as step:
        runs = [
            (program(output="plain.png", models=plain), {}),
            (program("--restore", output="plain-restored.png", models=plain), {}),
            (program("--protected", output="api.png"), env),
        ]
        for words, more in runs:
            done = li.runs(words, env=more)
            world.telling.must(done.code == 0, f"{' '.join(words)}\n{done.stderr}")
        digests = {path.name: pictures.pixels_digest(path) for path in world.app.glob("*.png")}
        swaps = {digests[name] for name in ("swap.png", "plain.png", "api.png")}
        large = {digests[name] for name in ("restored.png", "plain-restored.png")}
        world.telling.must(len(swaps) == 1, "the swap differs from that of plain models")
        world.telling.must(
            len(large) == 1, "the restored picture differs from that of plain models"
        )
        step.said = [
            f"swap      {swaps.pop()[:16]}  plain = modelseal run = public API",
            f"restored  {large.pop()[:16]}  plain = modelseal run",
        ]
    _details(world)


def _details(world: World) -> None:
    """Two more pictures: the two photographs, and a piece enlarged plainly and restored."""
    for name in (SOURCE, TARGET):
        pictures.save_png(pictures.read(world.app / name), world.output / f"{Path(name).stem}.png")
    swap, restored = (pictures.read(world.app / f"{name}.png") for name in ("swap", "restored"))
    height, width = swap.shape[:2]
    world.telling.must(
        restored.shape[:2] == (4 * height, 4 * width), "the restored picture is not four times"
    )
    for name, piece in zip(
        ("detail-enlarged.png", "detail-restored.png"),
        pictures.detail(swap, restored, *DETAIL),
        strict=True,
    ):
        pictures.save_png(piece, world.output / name)


def _measure(world: World) -> None:
    with world.telling.doing("Loading and inference, plain and protected in turns") as step:
        done = world.li.runs(
            [
                sys.executable, "-m", "demo.measuring", "--plain", str(world.prepared),
                "--sealed", "models", "--source", SOURCE, "--target", TARGET, "--app", ".",
            ],
            env={"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        )  # fmt: skip
        world.telling.must(done.code == 0, f"measuring: {done.stderr}")
        world.numbers = done.json
        step.table = table_of(world.numbers)
        unlock = world.numbers["once_per_process"]["unlock_seconds"]
        step.said = [f"Medians. Once per process besides: unlocking the device key, {unlock:.3f} s"]


def table_of(numbers: dict[str, dict[str, dict[str, float]]]) -> list[list[str]]:
    """The measured medians as rows of text."""
    rows = [["", "plain", "protected", "ratio"]]
    for part in ("load", "inference"):
        for name, times in numbers[part].items():
            title = f"load {name}" if part == "load" else name
            plain, ours = (f"{times[f'{k}_seconds'] * 1000:.1f} ms" for k in ("plain", "protected"))
            rows.append([title, plain, ours, f"{times['ratio']:.3f}"])
    return rows
