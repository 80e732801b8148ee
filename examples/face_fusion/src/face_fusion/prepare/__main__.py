"""`python -m face_fusion.prepare --cache DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from face_fusion.errors import FaceFusionError
from face_fusion.models import find_models_dir
from face_fusion.prepare import prepare


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 if the models are there afterwards."""
    parser = argparse.ArgumentParser(prog="python -m face_fusion.prepare", description=__doc__)
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where the models go")
    folder = find_models_dir(parser.parse_args(arguments).cache)
    try:
        made = prepare(folder, lambda step: print(f"{step} ...", file=sys.stderr, flush=True))
    except FaceFusionError as error:
        print(f"face-fusion: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    print("Models made:" if made else "Models were there already:", folder, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
