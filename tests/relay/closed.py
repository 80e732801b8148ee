"""A closed network in one process, under one clock: devices, relays, and far away the server.

Every part is real: the client with its state folder, the relay's application over its file, the
server's application over its store. Only the sockets are left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient
from tests.airgap.world import Cable, Gap
from tests.server.world import Shop

from modelseal import admin
from modelseal.client.transport import Answer, Stream
from modelseal.errors import RelayWaiting
from modelseal.server.app import create_app as server_app
from modelseal.server.relay import app, files, syncing
from modelseal.server.relay import box as boxes
from modelseal.server.relay.box import Box
from modelseal.server.services import LocalAdmin
from modelseal.server.services.actors import Actor


class Wire:
    """A transport to an application in this process."""

    def __init__(self, served: Litestar) -> None:
        self._http = TestClient(served)
        self._http.__enter__()

    def exchange(
        self, method: str, path: str, *, body: bytes | None = None, headers: Any = None,
        **_more: Any,
    ) -> Answer:  # fmt: skip
        found = self._http.request(method, path, content=body, headers=dict(headers or {}))
        return Answer(found.status_code, dict(found.headers), found.content)

    @contextlib.contextmanager
    def stream(self, url: str, **_more: Any) -> Iterator[Stream]:
        found = self._http.get(url)
        yield Stream(found.status_code, dict(found.headers), iter([found.content]))

    def close(self) -> None:
        pass

    def end(self) -> None:
        self._http.__exit__(None, None, None)


class Site:
    """A relay in ``folder``, whose clock may be ``fast`` by some days."""

    def __init__(self, shop: Shop, folder: Path, *, make: bool = True) -> None:
        self.shop, self.folder = shop, folder
        self.fast = 0.0
        if make:
            known = shop.trust
            boxes.make(
                folder, server=known.server_id, product=known.product, now=shop.clock(),
                random=os.urandom,
            )  # fmt: skip
        self.box = Box(folder)
        self.wire = Wire(app.create_app(self.box, self.now))
        self.line = Wire(server_app(shop.server, ticking=False))
        self.office = LocalAdmin(shop.server, Actor("token:site", admin.Role.RELAY))

    def now(self) -> datetime:
        return self.shop.clock() + timedelta(days=self.fast)

    def sync(self) -> syncing.Synced:
        """Over a line; it takes a second."""
        self.shop.clock.pass_(seconds=1)
        return syncing.over_line(
            self.box, self.line, self.office, models=False, now=self.now(), random=os.urandom
        )

    def write(self) -> bytes:
        """The file that the courier takes along."""
        return files.write(syncing.question(self.box, self.now(), os.urandom))

    def carry(self, question: bytes) -> bytes:
        """What the courier does where there is a line; it takes a second."""
        self.shop.clock.pass_(seconds=1)
        asked = files.read(question, files.QuestionFile)
        return files.write(syncing.answer(asked, self.line, self.office, None))

    def read(self, answer: bytes) -> syncing.Synced:
        found = files.read(answer, files.AnswerFile)
        return syncing.take_in(self.box, found, self.folder, self.now())

    @property
    def codes(self) -> int:
        """How many leases ahead lie here."""
        return self.box.counts()["ahead"]

    def copy(self, folder: Path) -> Site:
        """Another relay with the same state, as whoever copies or puts back the folder has it."""
        shutil.copytree(self.folder, folder)
        return Site(self.shop, folder, make=False)

    def forge(self, statement: str, *values: object) -> None:
        """The relay's operator changes its file."""
        with contextlib.closing(sqlite3.connect(self.folder / boxes.FILE)) as db, db:
            db.execute(statement, values)

    def close(self) -> None:
        self.wire.end()
        self.line.end()
        self.box.close()


class Inside(Gap):
    """A device that reaches nothing but the relay at ``site``; its clock may be ``fast``."""

    def __init__(self, shop: Shop, state: Path, model: Path, site: Site) -> None:
        self._wire: Wire | Cable = site.wire
        self.fast = 0.0
        super().__init__(shop, state, model, server="https://relay.site:8445")

    def now(self) -> datetime:
        return self.shop.clock() + timedelta(days=self.fast)

    def reaches(self, wire: Wire | Cable) -> None:
        """From now on it asks there."""
        self._wire = wire
        self.restart()

    @property
    def cable(self) -> Any:
        return self._wire

    @cable.setter
    def cable(self, _none: None) -> None:
        """A device in a closed network has one place to ask."""

    def renew(self) -> bool:
        """Whether a newer lease was stored; False when the question waits."""
        before = self.seq
        try:
            self.client.renew()
        except RelayWaiting:
            return False
        return self.seq > before

    def activate(self, key: str) -> bool:
        """Whether there was an answer; False when the question waits."""
        try:
            self.client.activate(key)
        except RelayWaiting:
            return False
        return True
