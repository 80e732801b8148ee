"""The license server: ``services`` decide and write, ``store`` keeps, ``http`` speaks.

``open_server(home)`` gives the services in process, without any HTTP; ``serve`` runs them behind
HTTPS. All of it needs the extra ``server`` and is imported at first use: without the extra, whoever
asks gets ``ExtraMissing``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from modelseal.errors import ExtraMissing

if TYPE_CHECKING:
    from modelseal.server.run import serve
    from modelseal.server.services import LocalAdmin, Server, migrate, open_server

__all__ = ["LocalAdmin", "Server", "migrate", "open_server", "serve"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(name)
    try:
        room = import_module(f"modelseal.server.{'run' if name == 'serve' else 'services'}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "modelseal":
            raise
        raise ExtraMissing("the license server needs an extra", extra="server") from None
    value: object = getattr(room, name)
    return value
