"""What PyInstaller is told about modelseal: its hook beside this file, found by entry point.

Nuitka needs `--include-package=modelseal --include-package-data=modelseal`.
"""

from __future__ import annotations

from pathlib import Path


def folders() -> list[str]:
    """Where PyInstaller finds ``hook-modelseal.py``."""
    return [str(Path(__file__).resolve().parent)]
