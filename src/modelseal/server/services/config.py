"""``server.toml``: what the server half of a workspace says about itself."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec

from modelseal.errors import ConfigInvalid, WorkspaceMissing
from modelseal.keys import files

FILE = "server.toml"
_KEK_LINES = re.compile(r"^[ \t]*(?:kek|kek_old)[ \t]*=.*\n?", re.MULTILINE)


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of ``server.toml``; flags and ``MODELSEAL_*`` variables stand above it.

    ``kek`` is the key URI of the key-encryption key; those in ``kek_old`` still open while it takes
    over from them. ``database`` holds no password: ``database_password_file`` names where it is.
    """

    kek: str = "file:kek.key"
    kek_old: list[str] = []
    database: str = "sqlite:///modelseal.db"
    database_password_file: str | None = None
    public_url: str | None = None
    listen: str = "127.0.0.1:8443"
    behind_proxy: list[str] = []


def load(folder: Path) -> ServerConfig:
    """The configuration in ``folder`` (``SHOP/server``).

    Raises ``WorkspaceMissing`` without a file and ``ConfigInvalid`` for an odd one.
    """
    path = folder / FILE
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
        return msgspec.convert(raw, ServerConfig, strict=True)
    except FileNotFoundError:
        raise WorkspaceMissing("there is no server half here", path=str(folder)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigInvalid(f"{FILE}: {error}", path=str(path)) from None
    except OSError as error:
        raise ConfigInvalid(f"{FILE}: {type(error).__name__}", path=str(path)) from None


def kek_uris(folder: Path) -> list[str]:
    """The key URIs of the key-encryption keys, the one that wraps first."""
    config = load(folder)
    return [config.kek, *config.kek_old]


def set_kek(folder: Path, kek: str, kek_old: list[str]) -> None:
    """Afterwards ``server.toml`` names these key-encryption keys; its other lines are as before.

    Raises ``ConfigInvalid``, and changes nothing, where its form does not allow that.
    """
    path, before = folder / FILE, load(folder)
    lines = f"kek = {json.dumps(kek)}\n"
    if kek_old:
        lines += f"kek_old = {json.dumps(kek_old)}\n"
    text = lines + _KEK_LINES.sub("", path.read_text("utf-8"))
    wanted = msgspec.structs.replace(before, kek=kek, kek_old=kek_old)
    try:
        good = msgspec.convert(tomllib.loads(text), ServerConfig, strict=True) == wanted
    except (tomllib.TOMLDecodeError, msgspec.ValidationError):
        good = False
    if not good:
        raise ConfigInvalid(f"{FILE}: write kek and kek_old on one line each", path=str(path))
    files.replace(path, text.encode())
