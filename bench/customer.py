"""The customer's client, in whichever process measures; nothing of the server is imported."""

from __future__ import annotations

import json
from pathlib import Path

from modelseal.client import Client

APP = "app.json"


def customer(folder: Path) -> Client:
    """The client of the shop in ``folder``; nothing is unlocked yet."""
    app = json.loads((folder / APP).read_text())
    return Client(**app, background=False)
