"""``demo-out/``: the story as one self-contained page, as data, and its pictures."""

from __future__ import annotations

import json
import os
import platform
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo import page, pictures
from demo.world import World

PICTURES = (
    ("collins.png", "The source: Eileen Collins (NASA, public domain)"),
    ("hopper.png", "The target: Grace Hopper (US Navy, public domain)"),
    ("swap.png", "The swap, from sealed models, under the trial plan"),
    ("restored.png", "Restored to four times the size, under the plan pro"),
    ("detail-enlarged.png", ""),
    ("detail-restored.png", ""),
)


def clear(output: Path) -> None:
    """``output`` is there and holds nothing of an older run; other files stay."""
    output.mkdir(parents=True, exist_ok=True)
    for name in ("report.html", "report.json", *(name for name, _caption in PICTURES)):
        (output / name).unlink(missing_ok=True)


def write(world: World, output: Path) -> Path:
    """``report.html`` and ``report.json`` lie in ``output``; the page's path."""
    now = datetime.now(UTC).replace(microsecond=0)
    data = collected(world, now)
    shown = [
        (name, caption, pictures.inside_page(output / name))
        for name, caption in PICTURES
        if (output / name).is_file()
    ]
    html = page.render(data, shown)
    _whole(output / "report.json", json.dumps(data, indent=2) + "\n")
    _whole(output / "report.html", html)
    return output / "report.html"


def collected(world: World, now: datetime) -> dict[str, Any]:
    """Everything that was found, as JSON knows it."""
    return {
        "created_at": now.isoformat().replace("+00:00", "Z"),
        "seconds": round(world.telling.seconds, 1),
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
        },
        "laptop": world.li.computer.how,
        "facts": facts(world),
        "numbers": world.numbers,
        "found": world.found,
        "chapters": [asdict(chapter) for chapter in world.telling.chapters],
        "pictures": [name for name, _caption in PICTURES],
    }


def facts(world: World) -> list[tuple[str, str]]:
    """The story in four figures, each with what it means."""
    frame = world.numbers["inference"]["swap of one frame"]
    load = world.numbers["load"]["all models"]
    plain, ours = (f"{load[f'{kind}_seconds'] * 1000:.0f} ms" for kind in ("plain", "protected"))
    steps = [step for chapter in world.telling.chapters for step in chapter.steps]
    return [
        ("Bit-identical", "pictures from plain models, under modelseal run, by the public API"),
        (f"{frame['ratio']:.2f} times", "the time of a frame, protected against plain"),
        (f"{load['ratio']:.2f} times", f"the load of all models: {plain} plain, {ours} protected"),
        (f"{sum(s.refused for s in steps)} refusals", "each with its reason and the next step"),
    ]


def _whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        shutil.move(part, path)
    finally:
        part.unlink(missing_ok=True)
