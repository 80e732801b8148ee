"""Writes the list of decisions into ``docs/adr/README.md``. Run by ``make docs``."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "adr"


def main() -> None:
    page = FOLDER / "README.md"
    lines = page.read_text("utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("- [")]
    records = sorted(FOLDER.glob("[0-9]*.md"))
    titles = [path.read_text("utf-8").splitlines()[0].removeprefix("# ") for path in records]
    listed = [f"- [{title}]({path.name})" for title, path in zip(titles, records, strict=True)]
    page.write_text("\n".join(kept).rstrip() + "\n\n" + "\n".join(listed) + "\n", "utf-8")


if __name__ == "__main__":
    main()
