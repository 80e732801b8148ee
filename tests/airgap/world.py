"""A device with a real state folder and no network, beside a real server half.

A device fails the test when it asks anything over a network, until ``wired`` gives it a cable to
the very same services: from then on it may look for one, in vain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from tests.client.world import computer
from tests.server.world import Shop

import modelseal
from modelseal.client import Client, Ports
from modelseal.client.airgap import Imported, RequestFile
from modelseal.client.folder import Folder
from modelseal.client.transport import Answer, Stream
from modelseal.errors import ModelsealError, ServerUnreachable
from modelseal.server.http import problems
from modelseal.server.services.denials import refusal_of
from modelseal.trust import Trust


class NetworkUsed(BaseException):
    """Something was asked over a network; no handler of the client catches this."""


class NoNetwork:
    """No cable is plugged in. With ``strict`` whoever tries fails the test."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict

    def _refuse(self, what: str) -> ServerUnreachable:
        if self._strict:
            raise NetworkUsed(what)
        return ServerUnreachable("there is no network")

    def exchange(self, method: str, path: str, **_more: Any) -> Answer:
        raise self._refuse(f"{method} {path}")

    @contextlib.contextmanager
    def stream(self, url: str, **_more: Any) -> Iterator[Stream]:
        raise self._refuse(url)
        yield

    def close(self) -> None:
        pass


class Cable:
    """A transport to the services of a shop; ``lose`` drops the next reply."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.lose = False

    def exchange(self, method: str, path: str, *, body: bytes = b"", **_more: Any) -> Answer:
        try:
            answer = self._answer(path, body)
        except ModelsealError as error:
            refusal = refusal_of(error)
            problem: dict[str, Any] = {"code": error.code, "status": problems.status_of(error)}
            if refusal is not None:
                problem["denial"] = refusal.denial
            data = msgspec.json.encode(problem)
            kind = {"content-type": "application/problem+json"}
            answer = Answer(problems.status_of(error), kind, data)
        if self.lose:
            self.lose = False
            raise ServerUnreachable("the reply was lost")
        return answer

    def _answer(self, path: str, body: bytes) -> Answer:
        calls = self._shop.server.devices
        if path == "/v1/devices":
            found: Any = calls.activate(body)
        elif path.startswith("/v1/leases/"):
            found = calls.renew(path.rpartition("/")[2], body)
        elif path == "/v1/licenses:lookup":
            found = calls.lookup(body)
        elif path.endswith(":return"):
            found = calls.give_back(path.rpartition("/")[2].removesuffix(":return"), body)
        else:
            raise NetworkUsed(path)
        return Answer(200, {"content-type": "application/json"}, msgspec.json.encode(found))

    @contextlib.contextmanager
    def stream(self, url: str, **_more: Any) -> Iterator[Stream]:
        raise NetworkUsed(url)
        yield

    def close(self) -> None:
        pass


class Gap:
    """One computer and its state folder. ``model`` is a sealed file that came by USB."""

    def __init__(self, shop: Shop, state: Path, model: Path, **settings: Any) -> None:
        self.shop = shop
        self.state = state
        self.model = model
        self.cable: Cable | None = None
        self.strict = True
        self.folder: Callable[[Path], Folder] = Folder
        self.ticks = 1000.0
        self._settings = {"trust": shop.trust.raw, **settings}
        self.client = self._open()

    def now(self) -> datetime:
        """This computer's clock."""
        return self.shop.clock()

    def _open(self) -> Client:
        ports = Ports(
            now=lambda: self.now(),
            monotonic=lambda: self.ticks,
            sleep=lambda _seconds: None,
            traits=lambda: computer(self.state.name),
            transport=lambda _settings: self.cable or NoNetwork(strict=self.strict),
            environ={},
            folder=lambda path: self.folder(path),
        )
        return Client(state=self.state, ports=ports, background=False, **self._settings)

    def restart(self) -> None:
        """The program ended and began anew."""
        self.client.close()
        self.client = self._open()

    def close(self) -> None:
        self.client.close()

    @contextlib.contextmanager
    def wired(self) -> Iterator[Cable]:
        """Inside the block there is a network to the shop."""
        self._settings["server"] = "https://license.example.com"
        self.cable, self.strict = Cable(self.shop), False
        self.restart()
        try:
            yield self.cable
        finally:
            self.cable = None
            self.restart()

    @property
    def id(self) -> str:
        found = self.client.status().device_id
        assert found is not None
        return found

    @property
    def seq(self) -> int:
        lease = self.client.status().lease
        return 0 if lease is None else lease.seq

    def ask(self, key: str | None = None, **more: Any) -> RequestFile:
        return self.client.air_gap.request(key, **more)

    def answer(self, request: RequestFile) -> bytes:
        """What support carries back."""
        return self.shop.admin.respond(request.token).response

    def take(self, response: bytes) -> Imported:
        return self.client.air_gap.import_response(response)

    def round(self, key: str | None = None, **more: Any) -> Imported:
        """Request, response, import."""
        return self.take(self.answer(self.ask(key, **more)))

    def code(self, **more: Any) -> str:
        """What support reads out."""
        return self.shop.admin.lease_code(self.id, **more).code

    def type(self, code: str) -> Imported:
        return self.client.air_gap.import_code(code)

    def opens(self) -> bool:
        """Whether the sealed model on the stick opens by the real path of a program."""
        modelseal.use(self.client)
        try:
            with modelseal.open(self.model) as sealed:
                return bytes(sealed.read("swap.onnx")) == self.model.with_suffix("").read_bytes()
        except ModelsealError:
            return False
        finally:
            modelseal.use(None)

    def snapshot(self) -> dict[str, bytes]:
        """Every file of the state folder that decides anything; not the note of a refusal."""
        found = {
            path.name: path.read_bytes()
            for path in sorted(self.state.iterdir())
            if path.is_file() and path.name not in ("journal", "journal.1", "lock")
        }
        if "state.json" in found:
            record = msgspec.json.decode(found["state.json"])
            record.pop("last_refusal", None)
            found["state.json"] = msgspec.json.encode(record)
        return found

    @property
    def trust(self) -> Trust:
        return self.client.trust
