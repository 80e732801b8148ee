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
    ("hopper.png", "The photograph: Grace Hopper (US Navy, public domain)"),
    ("swap.png", "The swap, with the face of Eileen Collins, computed from sealed models"),
    ("restored.png", "Restored to four times the size, after the upgrade to pro"),
    ("detail-enlarged.png", "A piece of the swap, enlarged four times"),
    ("detail-restored.png", "The same piece, restored"),
    ("collins.png", "The source: Eileen Collins (NASA, public domain)"),
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
        "numbers": world.numbers,
        "found": world.found,
        "chapters": [asdict(chapter) for chapter in world.telling.chapters],
        "pictures": [name for name, _caption in PICTURES],
    }


def _whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        shutil.move(part, path)
    finally:
        part.unlink(missing_ok=True)
