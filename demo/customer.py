"""Chapters 2 and 3: the trial customer, and what becomes of a trial."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from face_fusion import samples

from demo import pictures
from demo.acting import Done
from demo.telling import Step
from demo.world import ROOT, SOURCE, TARGET, World, program, protected

DETAIL = (slice(110, 300), slice(90, 280))


def trial(world: World) -> None:
    """The trial customer has swapped, and was refused what the trial does not include."""
    telling, li = world.telling, world.li
    telling.chapter(
        "The trial customer",
        "Li types one command with the license key. The program itself is unchanged.",
    )
    li.types(
        "Activate", ["modelseal", "activate", world.license_key], lines=0,
        then=partial(_activated, world),
    )  # fmt: skip
    li.types("Fetch what is granted, sealed", ["modelseal", "pull", "--to", "models"], lines=1)
    li.types(
        "Swap: sealed on the disk, opened in memory", protected(output="swap.png"), lines=0,
        then=partial(_show, world, "swap.png"),
    )  # fmt: skip
    li.types(
        "Restoration is refused, with reason and next step",
        protected("--restore", output="restored.png"), code=3, lines=3,
    )  # fmt: skip
    telling.must(not (world.app / "restored.png").exists(), "a refused run left a picture")
    _held(
        world,
        "A look into the lease: no key for face.restore is on this device",
        {"face.swap": True, "face.restore": False},
    )


def upgrade(world: World) -> None:
    """The license is pro, one renewal has brought the keys, outputs equal those of plain models."""
    telling, li = world.telling, world.li
    telling.chapter("The upgrade", "One change at the publisher, one renewal, no download.")
    change = ["modelseal", "license", "change", world.license_id, "--plan", "pro"]
    world.publisher.types("The license becomes pro", [*change, "--home", "shop"], lines=1)
    before = _fingerprints(world.app / "models")
    li.types("One renewal", ["modelseal", "lease", "renew"], lines=0)
    _held(
        world,
        "The new lease holds the keys of all four models",
        {"face.swap": True, "face.restore": True},
    )
    li.types(
        "Restoration works: four times the size", protected("--restore", output="restored.png"),
        lines=0, then=partial(_restored, world),
    )  # fmt: skip
    with telling.doing("Nothing was downloaded: no model file has changed") as step:
        after = _fingerprints(world.app / "models")
        telling.must(after == before, "a model file changed although nothing had to be downloaded")
        step.said = [f"{len(after)} files with the bytes and time stamps they had"]
    _compare(world)
    _measure(world)


def _activated(world: World, _done: Done, step: Step) -> None:
    status = world.li.runs(["modelseal", "status", "--json"]).json
    step.said = [
        f"plan {status['plan']}: {', '.join(status['entitlements'])}; {status['days_left']} days"
        f" without contact; device key: {status['binding']}",
        f"Li's laptop: {world.li.computer.how}",
    ]
    world.found["binding"] = status["binding"]


def _show(world: World, name: str, _done: Done, step: Step) -> None:
    step.pictures = [(world.keep(world.app / name, name), "")]


def _held(world: World, title: str, wanted: Mapping[str, bool]) -> None:
    """A table of the keys that are on the device, which must be as ``wanted`` says."""
    with world.telling.doing(title) as step:
        found = world.li.asks("held", "--app", ".", "--models", "models")
        step.table = [["sealed model", "needs", "keys here"]]
        for model in found["models"]:
            granted = wanted[model["entitlement"]]
            right = model["keys_held"] == (model["sections"] if granted else 0)
            world.telling.must(right, f"{model['file']}: {model['keys_held']} keys on the device")
            keys = f"{model['keys_held']} of {model['sections']}"
            step.table.append([model["file"], model["entitlement"], keys])


def _fingerprints(folder: Path) -> dict[str, tuple[str, int, int]]:
    return {
        path.name: (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            path.stat().st_ino,
        )
        for path in folder.iterdir()
    }


def _restored(world: World, _done: Done, step: Step) -> None:
    """Kept with both photographs and a piece of it, enlarged plainly and restored."""
    world.keep(world.app / "restored.png", "restored.png")
    for name in (SOURCE, TARGET):
        world.keep(world.app / name, name)
    swap, restored = (pictures.read(world.app / f"{name}.png") for name in ("swap", "restored"))
    height, width = swap.shape[:2]
    four_times = restored.shape[:2] == (4 * height, 4 * width)
    world.telling.must(four_times, "the restored picture is not four times as large")
    pieces = pictures.detail(swap, restored, *DETAIL)
    for name, piece in zip(("enlarged", "restored"), pieces, strict=True):
        pictures.save_png(piece, world.output / f"detail-{name}.png")
    step.pictures = [
        ("restored.png", ""),
        ("detail-enlarged.png", "A piece of the swap, only enlarged"),
        ("detail-restored.png", "The same piece, restored"),
    ]


def _compare(world: World) -> None:
    """The same pictures from plain models, under ``run`` and through the public API."""
    with world.telling.doing(
        "Plain models, `modelseal run`, the public API: the same pictures, bit for bit"
    ) as step:
        for restore in ([], ["--restore"]):
            name = "restored.png" if restore else "swap.png"
            plain = program(*restore, output=f"plain-{name}", models=str(world.prepared))
            for words in (plain, program("--protected", *restore, output=f"api-{name}")):
                done = world.li.runs(words)
                world.telling.must(done.code == 0, f"{' '.join(words)}\n{done.stderr}")
            kinds = (name, f"plain-{name}", f"api-{name}")
            digests = {pictures.pixels_digest(world.app / kind) for kind in kinds}
            world.telling.must(len(digests) == 1, f"{name} differs from that of plain models")
            step.said.append(f"{name}: {digests.pop()[:16]} in all three")


def _measure(world: World) -> None:
    words = [
        sys.executable, "-m", "demo.measuring", "--plain", str(world.prepared),
        "--sealed", "models", "--source", str(samples.astronaut()),
        "--target", str(samples.grace_hopper()), "--app", ".",
    ]  # fmt: skip
    with world.telling.doing("What it costs: plain and protected, in turns") as step:
        done = world.li.runs(words, env={"PYTHONPATH": str(ROOT)})
        world.telling.must(done.code == 0, f"measuring: {done.stderr}")
        world.numbers = done.json
        step.table = table_of(world.numbers)
        unlock = world.numbers["once_per_process"]["unlock_seconds"]
        step.said = [f"Medians. Besides, once per process: {unlock * 1000:.0f} ms to unlock."]


def table_of(numbers: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[str]]:
    """The measured medians as rows of text."""
    rows = [["", "plain", "protected", "ratio"]]
    for part in ("load", "inference"):
        for name, times in numbers[part].items():
            title = f"load {name.removesuffix('.onnx')}" if part == "load" else name
            plain, ours = (f"{times[f'{k}_seconds'] * 1000:.1f} ms" for k in ("plain", "protected"))
            rows.append([title, plain, ours, f"{times['ratio']:.2f}"])
    return rows
