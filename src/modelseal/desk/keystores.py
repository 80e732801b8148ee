"""The key URIs of a workspace: what wraps the desk, and what wraps the server's half."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from modelseal import keys
from modelseal.admin import ServerKeys
from modelseal.desk.workspace import Workspace, read_settings
from modelseal.errors import KeyStoreUnavailable, ModelsealError, SecretNeeded

_PROBE = b"modelseal examines a key"
_CONTEXT = {"purpose": "examination"}


class KeyStoreRow(msgspec.Struct, frozen=True):
    """A key URI and its ``use``: ``desk``, ``kek``, or ``kek_old`` while another takes over."""

    use: str
    uri: str


class Examined(msgspec.Struct, frozen=True):
    """What became of trying a key: ``error``, or what it took. ``level`` is what it declares.

    ``tried`` is False where a secret would have to be typed and nobody can be asked.
    """

    use: str
    uri: str
    tried: bool = True
    level: int | None = None
    milliseconds: float | None = None
    error: ModelsealError | None = None


def named(workspace: Workspace, server: ServerKeys | None = None) -> list[KeyStoreRow]:
    """The key URIs that the halves here name; ``server`` tells those of a server elsewhere."""
    found = []
    if workspace.has_desk:
        settings = read_settings(workspace.desk / "desk.toml", ("key",))
        found.append(KeyStoreRow("desk", settings["key"]))
    if server is not None:
        found.append(KeyStoreRow("kek", server.kek))
        found += [KeyStoreRow("kek_old", uri) for uri in server.kek_old]
    elif workspace.has_server:
        found.append(KeyStoreRow("kek", workspace.kek_uri))
        found += [KeyStoreRow("kek_old", uri) for uri in workspace.kek_old]
    return found


def examine(workspace: Workspace, clock: Callable[[], float] = time.perf_counter) -> list[Examined]:
    """Each of them tried: something is wrapped, and opens again. Raises nothing for a bad one."""
    return [_examined(workspace, row, clock) for row in named(workspace)]


def _examined(workspace: Workspace, row: KeyStoreRow, clock: Callable[[], float]) -> Examined:
    base = workspace.desk if row.use == "desk" else workspace.server
    try:
        provider = keys.open_provider(row.uri, ask=workspace.ask, base=base)
        began = clock()
        if provider.unwrap(provider.wrap(_PROBE, _CONTEXT), _CONTEXT) != _PROBE:
            raise KeyStoreUnavailable("what it wrapped opens to something else", uri=row.uri)
        took = (clock() - began) * 1000
        return Examined(row.use, row.uri, level=int(provider.level), milliseconds=took)
    except SecretNeeded:
        return Examined(row.use, row.uri, tried=False)
    except ModelsealError as error:
        return Examined(row.use, row.uri, error=error)
