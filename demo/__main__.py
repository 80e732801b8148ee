"""``python -m demo``: tells the story in the terminal and writes ``demo-out/``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from face_fusion.errors import FaceFusionError
from face_fusion.prepare import prepare

from demo import report, story
from demo.telling import StoryFailed, Telling
from demo.world import ROOT

MODELS = ROOT / ".cache" / "face-fusion" / "models"
OUTPUT = ROOT / "demo-out"


def main(arguments: list[str] | None = None) -> int:
    """0 when everything went as the story says, else 1."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of prepared models")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the report")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    telling = Telling()
    try:
        prepare(options.models, lambda step: telling.console.print(f"{step} …", style="dim"))
        report.clear(options.output)
        played = story.tell(telling, options.models, options.output)
    except FaceFusionError as error:
        telling.console.print(str(error), style="red", markup=False)
        return error.exit_code
    except StoryFailed as error:
        telling.console.print(f"\nNOT as it should be: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        telling.console.print("\nInterrupted; nothing is left behind.")
        return 130
    page = report.write(played, options.output)
    telling.console.print()
    telling.console.print(
        f"{telling.seconds:.0f} s. Nothing is left behind but {options.output.name}/: open"
        f" {page} in a browser.",
        style="bold",
        markup=False,
    )
    return 0


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
