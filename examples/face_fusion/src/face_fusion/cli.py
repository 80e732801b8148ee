"""The command line: `python -m face_fusion`. Data on stdout, talk on stderr."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from face_fusion import __version__
from face_fusion.errors import FaceFusionError

if TYPE_CHECKING:
    from face_fusion.pipeline import FaceFusion

INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The arguments of the program."""
    made = argparse.ArgumentParser(
        prog="python -m face_fusion",
        description="Puts the face of one photograph into another photograph or a video. "
        "Every output is labelled SYNTHETIC.",
    )
    made.add_argument("--source", type=Path, required=True, help="photograph with the new face")
    made.add_argument("--target", type=Path, required=True, help="photograph or video to change")
    made.add_argument("--output", type=Path, required=True, help="PNG, JPEG or MP4 file to write")
    made.add_argument("--restore", action="store_true", help="enlarge the result four times")
    made.add_argument(
        "--restore-model", choices=("fast", "best"), default="fast",
        help="fast: seconds per picture; best: minutes",
    )  # fmt: skip
    made.add_argument(
        "--models", type=Path, metavar="DIR",
        help="folder of the models (default: FACE_FUSION_MODELS, or the cache folder)",
    )  # fmt: skip
    made.add_argument(
        "--protected", action="store_true",
        help="open the models with modelseal, as modelseal.toml says",
    )  # fmt: skip
    made.add_argument("--threads", type=int, default=0, help="threads per inference (0: per core)")
    made.add_argument("--json", action="store_true", help="print one JSON object with the timings")
    made.add_argument("--debug", action="store_true", help="show where an unexpected error arose")
    made.add_argument("--version", action="version", version=__version__)
    return made


class Progress:
    """One line on stderr that is rewritten on a terminal; every tenth part elsewhere."""

    def __init__(self) -> None:
        self._tenth = -1

    def __call__(self, what: str, part: float) -> None:
        if sys.stderr is None:
            return
        if sys.stderr.isatty():
            end = "\n" if part >= 1 else ""
            print(f"\r{what}: {part:4.0%}", end=end, file=sys.stderr, flush=True)
        elif int(part * 10) > self._tenth:
            self._tenth = int(part * 10)
            print(f"{what}: {part:.0%}", file=sys.stderr, flush=True)


def _say(text: str) -> None:
    if sys.stderr is not None:  # a windowed program has none
        print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; the exit code is that of the error, 0 if there is an output."""
    options = parser().parse_args(arguments)
    if options.threads < 0:
        parser().error("--threads must be 0 or more")
    # Before OpenCV is loaded: it talks to stderr by itself, and decodes pictures of any size.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(100_000_000))
    try:
        report = _run(options)
    except FaceFusionError as error:
        _fail(error, options.json)
        return error.exit_code
    except KeyboardInterrupt:
        _say("face-fusion: interrupted, nothing was written.")
        return INTERRUPTED
    except Exception as error:
        if options.debug:
            raise
        wrapped = FaceFusionError(
            f"Something unexpected went wrong: {type(error).__name__}: {error}",
            "This is a mistake in the program. Run it again with --debug and report what it says.",
        )
        _fail(wrapped, options.json)
        return wrapped.exit_code
    if options.json:
        print(json.dumps(report, indent=2))
    return 0


def _fail(error: FaceFusionError, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"code": error.code, "message": error.message,
                          "next_step": error.next_step}, indent=2))  # fmt: skip
    _say(f"face-fusion: {error}")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from face_fusion import files
    from face_fusion.models import Models, find_models_dir
    from face_fusion.pipeline import FaceFusion

    is_video = options.target.suffix.lower() in files.VIDEO_INPUTS
    suffixes = files.VIDEOS if is_video else files.PICTURES
    files.check_output(options.output, [options.source, options.target], suffixes)
    source = files.read_picture(options.source)
    folder = find_models_dir(options.models)
    fusion = FaceFusion(Models(folder, protected=options.protected, threads=options.threads))
    loaded = fusion.open_models(options.restore_model if options.restore else None)
    start = time.perf_counter()
    work = _video if is_video else _picture
    report = work(fusion, source, options)
    seconds = round(time.perf_counter() - start, 3)
    _say(f"Written: {options.output} ({seconds:.1f} s)")
    return {
        "output": str(options.output),
        "load_seconds": {name: round(value, 4) for name, value in loaded.items()},
        **report,
        "total_seconds": seconds,
    }


def _picture(fusion: FaceFusion, source: Any, options: argparse.Namespace) -> dict[str, Any]:
    from face_fusion import files
    from face_fusion.labelling import label

    target = files.read_picture(options.target)
    face = fusion.find_face(source, str(options.source))
    result = fusion.swap(face, target, str(options.target))
    timings = dict(result.timings)
    image = result.image
    if options.restore:
        progress = Progress()
        restored = fusion.restore(
            image, options.restore_model, lambda part: progress("Restoring", part)
        )
        image = restored.image
        timings |= restored.timings
    files.write_picture(label(image), options.output)
    height, width = image.shape[:2]
    steps = {name: round(value, 4) for name, value in timings.items()}
    return {"width": width, "height": height, "step_seconds": steps}


def _video(fusion: FaceFusion, source: Any, options: argparse.Namespace) -> dict[str, Any]:
    from face_fusion.video import swap_video

    face = fusion.find_face(source, str(options.source))
    done = swap_video(
        fusion,
        face,
        options.target,
        options.output,
        options.restore_model if options.restore else None,
        _frame_progress(),
    )
    if done.swapped < done.frames:
        _say(
            f"{done.frames - done.swapped} of {done.frames} frames show no face; left as they are."
        )
    return {"frames": done.frames, "frames_swapped": done.swapped}


def _frame_progress() -> Callable[[int, int], None]:
    progress = Progress()
    return lambda done, total: progress("Frames", min(1.0, done / total) if total else 0.0)
