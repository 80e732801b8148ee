"""The identity that an operator gives to a container, where hardware gives none.

``MODELSEAL_DEVICE_ID`` says it, or ``MODELSEAL_DEVICE_ID_FILE`` names a file that does: a mounted
secret, or a service account's token as Kubernetes projects it. Such a token changes hourly, so of
it counts who it is for: issuer, namespace, service account and pod. Nothing here is a proof; it
says which instance asks, and the server gets 32 bits of it (``docs/how-to/containers.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelseal import strict_json
from modelseal.errors import ConfigInvalid
from modelseal.strict_json import JsonInvalid

VARIABLE = "MODELSEAL_DEVICE_ID"
FILE_VARIABLE = "MODELSEAL_DEVICE_ID_FILE"
MAX_CHARACTERS = 256
_MAX_FILE_BYTES = 16384


def given(environ: Mapping[str, str]) -> bytes | None:
    """The identity's bytes; None when none is given. ``ConfigInvalid`` for one that cannot be."""
    text = environ.get(VARIABLE)
    if text:
        return _checked(text, VARIABLE)
    place = environ.get(FILE_VARIABLE)
    if not place:
        return None
    said = _read(Path(place))
    token = _token(said)
    return _checked(said.strip() if token is None else token, FILE_VARIABLE)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ConfigInvalid("the device's identity is too long", path=str(path)[:200])
        return data.decode("utf-8")
    except (OSError, ValueError) as error:
        why = f"the device's identity cannot be read ({type(error).__name__})"
        raise ConfigInvalid(why, path=str(path)[:200]) from None


def _token(said: str) -> str | None:
    """Who a projected token is for, in one line; None for any other text. It is not verified."""
    parts = said.strip().split(".")
    if len(parts) != 3:
        return None
    try:
        claims = strict_json.decode(strict_json.unb64u(parts[1]), max_bytes=_MAX_FILE_BYTES)
        about: Any = claims["kubernetes.io"]
        pod = about.get("pod", {}).get("name", "")
        named = (claims["iss"], about["namespace"], about["serviceaccount"]["name"], pod)
    except (JsonInvalid, LookupError, TypeError, AttributeError):
        return None
    return "kubernetes:" + ":".join(map(str, named))


def _checked(text: str, name: str) -> bytes:
    if not 1 <= len(text) <= MAX_CHARACTERS or not text.isprintable():
        raise ConfigInvalid(f"{name} gives 1 to {MAX_CHARACTERS} printable characters")
    return text.encode("utf-8")
