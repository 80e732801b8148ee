"""Where the prepared models lie by default."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def default_models_dir() -> Path:
    """`face-fusion/models` in the platform's cache folder of this user."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "face-fusion" / "models"
