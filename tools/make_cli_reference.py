"""Write docs/reference/command-line.md from the commands' own --help texts.

`python tools/make_cli_reference.py` writes it; `--check` exits 1 when it is out of date.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "reference" / "command-line.md"
HEAD = """# Command line

Made by `make docs` from the commands' own `--help`. Exit codes: 0 ok · 1 a bug of ours · 2 usage ·
3 refused by the license · 4 invalid bytes · 5 unavailable now · 6 assurance level not reached.
`run` ends with the program's own code once it has started.
"""


def help_of(*words: str) -> str:
    """The help text of one command at 88 columns."""
    from modelseal.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([*words, "--help"])
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def commands(text: str) -> list[str]:
    """The command names listed in a help text."""
    lines = text.splitlines()
    start = lines.index("Commands:") + 1 if "Commands:" in lines else len(lines)
    return [line.split()[0] for line in lines[start:] if line.startswith("  ") and line[2] != " "]


def render() -> str:
    """The whole page."""
    parts = [HEAD]

    def walk(words: list[str]) -> None:
        text = help_of(*words)
        title = " ".join(["modelseal", *words])
        parts.append(f"{'#' * (len(words) + 2 if words else 2)} {title}\n\n```\n{text}\n```\n")
        for name in commands(text):
            walk([*words, name])

    walk([])
    return "\n".join(parts)


def main() -> int:
    """Write or check."""
    os.environ.update(COLUMNS="88", TERM="dumb", NO_COLOR="1")
    text = render()
    if "--check" in sys.argv:
        same = TARGET.is_file() and TARGET.read_text("utf-8") == text
        if not same:
            sys.stderr.write("docs/reference/command-line.md is out of date: run make docs\n")
        return 0 if same else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
