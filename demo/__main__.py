"""``python -m demo``: tells the story in the terminal and writes ``demo-out/``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from face_fusion.errors import FaceFusionError
from face_fusion.prepare import prepare
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from demo import report, story
from demo.interrupts import interruptible
from demo.telling import StoryFailed, Telling
from demo.world import ROOT, World

MODELS = ROOT / ".cache" / "face-fusion" / "models"
OUTPUT = ROOT / "demo-out"
SHORT_SECONDS = 10


def main(arguments: list[str] | None = None) -> int:
    """0 when everything went as the story says, else 1; 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of prepared models")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the report")
    parser.add_argument(
        "--short-seconds", type=int, default=SHORT_SECONDS,
        help="length of the license that runs out in the story (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    interruptible()
    telling = Telling()
    try:
        prepare(options.models, lambda step: telling.console.print(f"{step} …", style="dim"))
        report.clear(options.output)
        telling.begin()
        played = story.tell(telling, options.models, options.output, options.short_seconds)
        page = report.write(played, options.output)
    except (FaceFusionError, StoryFailed) as error:
        report.clear(options.output)
        telling.console.print(f"\nNOT as it should be: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        report.clear(options.output)
        telling.console.print("\nInterrupted; nothing is left behind.")
        return 130
    _sum_up(telling, played, page)
    return 0


def _sum_up(telling: Telling, played: World, page: Path) -> None:
    seconds, show = telling.seconds, telling.console.print
    found = Table.grid(padding=(0, 2, 0, 0))
    for big, small in report.facts(played):
        found.add_row(Text(big, style="bold"), Text(small))
    show()
    show(Padding(found, (0, 0, 0, 3)))
    show(f"\n{seconds:.0f} s, and nothing is left behind but this report:", style="bold")
    show(str(page), style="bold magenta", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
