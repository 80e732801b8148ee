"""``modelseal app observe``: a program runs once, and what it does with its models is
written down.

``recording`` is in the program's processes and appends events to one file; ``summary`` makes a
recipe of them. Observing hands out nothing and changes nothing.
"""

from __future__ import annotations

MIN_BYTES = 512
"""Smaller files are no models."""
MAX_LOG_BYTES = 32 << 20
