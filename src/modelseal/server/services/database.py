"""Which database: the flag, then ``MODELSEAL_DATABASE_URL``, then ``server.toml``.

A password never stands in an argument (others see the list of processes) nor in ``server.toml``:
it comes from the environment or from a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import URL

from modelseal.errors import ConfigInvalid, Misuse
from modelseal.server.services.config import FILE, ServerConfig
from modelseal.server.store import dialect, postgres

URL_VARIABLE = "MODELSEAL_DATABASE_URL"
PASSWORD_FILE_VARIABLE = "MODELSEAL_DATABASE_PASSWORD_FILE"


def address(
    config: ServerConfig,
    folder: Path,
    flag: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> URL:
    """The database in force, with its password where one is named.

    The file in ``MODELSEAL_DATABASE_PASSWORD_FILE`` or ``database_password_file`` (relative to
    ``folder``) holds it in its first line; libpq's own ``PGPASSWORD`` and ``PGPASSFILE`` work too.
    Raises ``ConfigInvalid``, and ``Misuse`` for a password in the flag.
    """
    named = environ.get(URL_VARIABLE) or None
    parsed = dialect.parse(flag or named or config.database)
    if flag is not None and _has_password(parsed):
        raise Misuse(f"a password does not belong into an argument; {_INSTEAD}")
    if flag is None and named is None and _has_password(parsed):
        raise ConfigInvalid(f"{FILE} holds no password; {_INSTEAD}", setting="database")
    file = environ.get(PASSWORD_FILE_VARIABLE) or config.database_password_file
    if file and parsed.get_backend_name() == "postgresql" and not _has_password(parsed):
        parsed = parsed.set(password=postgres.password_in(folder / Path(file).expanduser()))
    return parsed


_INSTEAD = f"name a file in {PASSWORD_FILE_VARIABLE} or database_password_file"


def _has_password(url: URL) -> bool:
    return bool(url.password) or "password" in url.query
