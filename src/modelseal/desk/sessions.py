"""Sessions of the person at this computer: one file a server, mode 0600, in their own folder.

``MODELSEAL_SESSIONS`` names another folder than the one of the system's convention.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path

import msgspec
import platformdirs

from modelseal.admin import Role, Session
from modelseal.desk.channel import check_url
from modelseal.errors import InputMissing, StateDamaged
from modelseal.keys import files

_MAX_BYTES = 16 * 1024


class Kept(msgspec.Struct, frozen=True):
    """A session with the server it is for; ``repr`` shows no token."""

    server: str
    token: str
    role: Role
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Kept({self.server}, {self.role.value})"


def keep(server: str, session: Session) -> Path:
    """Afterwards commands with ``--server`` find the session; where it lies."""
    kept = Kept(check_url(server), session.token, session.role, session.expires_at)
    path = _path(kept.server)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise files.not_written(error, path.parent) from None
    files.replace(path, msgspec.json.encode(kept))
    return path


def find(server: str) -> Kept | None:
    """The session for ``server``; None without one. It may be over: the server decides.

    Raises ``KeyStoreUnavailable`` for a file that others may read, ``StateDamaged``.
    """
    path = _path(check_url(server))
    try:
        kept = msgspec.json.decode(files.read_secret(path, max_bytes=_MAX_BYTES), type=Kept)
    except InputMissing:
        return None
    except msgspec.MsgspecError:
        raise StateDamaged("no session", path=str(path)) from None
    if kept.server != check_url(server):
        raise StateDamaged("the session is for another server", path=str(path))
    return kept


def forget(server: str) -> None:
    """Afterwards there is no session for ``server`` here."""
    files.erase(_path(check_url(server)))


def _path(server: str) -> Path:
    named = os.environ.get("MODELSEAL_SESSIONS")
    folder = Path(named) if named else platformdirs.user_config_path("modelseal") / "sessions"
    return folder / f"{hashlib.sha256(server.encode()).hexdigest()[:32]}.json"
