"""Where else a sealed model lies: addresses that the server's own store gives for a while.

They are mirrors like those of ``modelseal.toml``: what comes from them is believed by its leaves.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from modelseal.client.core import Core
from modelseal.errors import ModelsealError

_MOST = 4
_MAX_CHARACTERS = 8192
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def of(core: Core, digest: str) -> list[str]:
    """HTTPS addresses of the blob; none where the server has none or cannot tell."""
    path = f"/v1/blobs/{digest}/urls"
    try:
        answer = core.transport.exchange("GET", path)
        told = json.loads(answer.body) if answer.status == 200 else {}
    except (ModelsealError, ValueError):
        return []  # the server itself is asked next, and says what is wrong
    urls = told.get("urls") if isinstance(told, dict) else None
    found = [url for url in urls if _is_good(url)] if isinstance(urls, list) else []
    return found[:_MOST]


def _is_good(url: object) -> bool:
    if not isinstance(url, str) or len(url) > _MAX_CHARACTERS or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    plain = parts.scheme == "http" and host in _LOOPBACK
    return bool(host) and (parts.scheme == "https" or plain) and "@" not in parts.netloc
