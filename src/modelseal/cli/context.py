"""Whom a command talks to: the workspace, its server half or another server, a device's client."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from modelseal.errors import Misuse, WorkspaceMissing

if TYPE_CHECKING:
    from modelseal.admin import AdminApi, Page
    from modelseal.client import Client
    from modelseal.desk.workspace import Workspace

T = TypeVar("T")


def is_workspace(folder: Path) -> bool:
    """Whether a workspace lies in ``folder``; where one may not look there is none."""
    return os.path.isfile(folder / "trust.json")  # noqa: PTH113 - Path.is_file raises


def home_of(home: Path | None) -> Path:
    """The named workspace folder, or the current folder when it is one."""
    if home is not None:
        return home
    here = Path.cwd()
    if is_workspace(here):
        return here
    raise WorkspaceMissing("no --home, no MODELSEAL_HOME and none here", path=str(here))


def home_option(home: Path | None) -> str:
    """What a suggested command needs behind it to mean the same workspace."""
    return "" if home is None else f" --home {shlex.quote(str(home))}"


def ask_passphrase(purpose: str) -> str:
    """The passphrase for ``purpose``, from the terminal or standard input."""
    from modelseal.cli import talk

    return talk.ask_secret(purpose)


@contextmanager
def workspace(home: Path | None) -> Iterator[Workspace]:
    """The workspace, closed afterwards."""
    from modelseal.desk import workspace as workspaces

    with workspaces.open(home_of(home), ask=ask_passphrase) as opened:
        yield opened


@contextmanager
def admin(home: Path | None, server: str | None, ca: Path | None = None) -> Iterator[AdminApi]:
    """The server half of the workspace in this process, or the server at ``server``."""
    if server is None:
        from modelseal.server import LocalAdmin, open_server

        with open_server(home_of(home), ask=ask_passphrase) as local:
            yield LocalAdmin(local)
        return
    from modelseal.desk.remote import RemoteAdmin

    token = os.environ.get("MODELSEAL_TOKEN", "") or _session(server)
    with RemoteAdmin(server, token, trust=pinned(home), ca=ca) as remote:
        yield remote


def _session(server: str) -> str:
    from modelseal.desk import sessions

    kept = sessions.find(server)
    if kept is None:
        raise Misuse("--server needs `modelseal login`, or an access token in MODELSEAL_TOKEN")
    return kept.token


def pinned(home: Path | None) -> bytes | None:
    """The trust.json of the named or present workspace; None leaves HTTPS to the system's store."""
    from modelseal.cli import files

    if home is None and not is_workspace(Path.cwd()):
        return None
    return files.read(home_of(home) / "trust.json")


def pages(
    fetch: Callable[[str | None], Page[T]], *, everything: bool
) -> tuple[list[T], str | None]:
    """The items of the first page, or of all, and the cursor of what follows."""
    page = fetch(None)
    items = list(page.items)
    while everything and page.next_cursor is not None:
        page = fetch(page.next_cursor)
        items.extend(page.items)
    return items, page.next_cursor


@contextmanager
def client(
    state: Path | None = None,
    app: Path | None = None,
    server: str | None = None,
    trust: Path | None = None,
    ca: Path | None = None,
    device_key: str | None = None,
    collectors: list[str] | None = None,
) -> Iterator[Client]:
    """The device's client, closed afterwards; it renews nothing in the background."""
    from modelseal.client import Client
    from modelseal.client.config import upwards

    if app is None and not os.environ.get("MODELSEAL_APP"):
        app = upwards(Path.cwd())
    with Client(
        app=app,
        state=state,
        server=server,
        trust=trust,
        ca=ca,
        device_key=device_key,
        background=False,
        collectors=collectors,
    ) as made:
        yield made


def stdin_is_terminal() -> bool:
    """True when a person can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()
