"""The license server: ``services`` decide and write, ``store`` keeps, ``http`` speaks.

``open_server(home)`` gives the services in process, without any HTTP; ``server.run.serve`` runs
them behind HTTPS. Needs the extra ``server``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelseal.errors import ExtraMissing

if TYPE_CHECKING:
    from modelseal.server.services import Server, open_server

__all__ = ["Server", "open_server"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(name)
    try:
        from modelseal.server import services
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "modelseal":
            raise
        raise ExtraMissing("the license server needs an extra", extra="server") from None
    value: object = getattr(services, name)
    return value
