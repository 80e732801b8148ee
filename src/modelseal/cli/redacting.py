"""What leaves for support: no secret, no person, no place on this computer or in its network."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
from pathlib import Path

from modelseal.server.logs import clean

_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]*(?::[0-9a-fA-F]*){2,7})(?![\w.])"
)
_LEAST = 3
"""Names shorter than this would take half of every text with them."""


def redacted(text: str) -> str:
    """``text`` without keys, tokens, passwords, e-mail and network addresses, this computer's name,
    its user's and their home folder.
    """
    text = clean(text)
    text = _MAIL.sub("(e-mail)", text)
    text = _ADDRESS.sub(_without_address, text)
    home = str(Path.home())
    if len(home) > _LEAST:
        text = text.replace(home, "~")
    for name, shown in ((platform.node(), "(host)"), (_user(), "(user)")):
        if len(name) >= _LEAST:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", shown, text)
    return text


def _without_address(found: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]
    return found[0] if address.is_loopback or address.is_unspecified else "(address)"


def _user() -> str:
    name = os.environ.get("USER") or os.environ.get("USERNAME") or ""
    return "" if name == "root" else name
