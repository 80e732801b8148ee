"""What the license server does, without HTTP: ``open_server(home)`` opens all of it."""

from modelseal.server.services.admin import LocalAdmin
from modelseal.server.services.server import Server, migrate, open_server, restore

__all__ = ["LocalAdmin", "Server", "migrate", "open_server", "restore"]
