"""``server.toml``: what the server half of a workspace says about itself."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from modelseal.errors import ConfigInvalid, WorkspaceMissing

FILE = "server.toml"


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of ``server.toml``; flags and ``MODELSEAL_*`` variables stand above it."""

    kek: str = "file:kek.key"
    database: str = "sqlite:///modelseal.db"
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
