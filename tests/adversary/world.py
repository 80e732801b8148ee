"""Real clients, the real server in this process, and a network that an adversary owns."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from litestar.testing import TestClient
from tests.client.world import computer
from tests.server.world import Shop

from modelseal.client import Client, Ports
from modelseal.client.transport import Answer, Stream
from modelseal.errors import ModelsealError, ServerUnreachable
from modelseal.runtime.licensee import ClientLicensee
from modelseal.runtime.view import open_view
from modelseal.server.app import create_app

PLAIN_BYTES = 5000


class Network:
    """A ``Transport`` to the application, and everything that can happen on the way.

    Every exchange takes a second.

    ``down`` is how many exchanges from now on reach nobody. ``lost`` loses the next request
    (``request``) or the next answer (``answer``); ``replayed`` is what is given instead of the
    next answer, which the server has made all the same. ``recorded`` are the requests that
    reached the server and ``seen`` its answers; ``send_again`` delivers one of them anew.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._http = TestClient(create_app(shop.server, ticking=False))
        self._http.__enter__()
        self.down = 0
        self.lost: str | None = None
        self.replayed: Answer | None = None
        self.seen: list[Answer] = []
        self.recorded: list[tuple[str, str, bytes, dict[str, str]]] = []

    def exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = 0,
        max_bytes: int = 0,
    ) -> Answer:
        lost, self.lost = self.lost, None
        self._shop.clock.pass_(seconds=1)
        self.down -= 1
        if self.down >= 0 or lost == "request":
            raise ServerUnreachable("the network is gone")
        found = self._http.request(method, path, content=body, headers=dict(headers or {}))
        answer = Answer(found.status_code, dict(found.headers), found.content)
        if method != "GET":
            self.seen.append(answer)
            self.recorded.append((method, path, body or b"", dict(headers or {})))
        if lost == "answer":
            raise ServerUnreachable("the answer was lost")
        if self.replayed is not None and method != "GET":
            answer, self.replayed = self.replayed, None
        return answer

    def send_again(self, number: int) -> str | None:
        """The very bytes of a recorded request once more; the code of the problem, if one."""
        method, path, body, headers = self.recorded[number]
        found = self._http.request(method, path, content=body, headers=headers)
        return None if found.is_success else found.json()["code"]

    @contextlib.contextmanager
    def stream(self, url: str, *, headers: Mapping[str, str] | None = None) -> Iterator[Stream]:
        answer = self.exchange("GET", url, headers=headers)
        yield Stream(answer.status, answer.headers, iter([answer.body]))

    def close(self) -> None:
        """One network for all; ``end`` ends it."""

    def end(self) -> None:
        self._http.__exit__(None, None, None)


@dataclass
class Folder:
    """A state folder on a computer whose clock may be wrong. ``branch`` tells copies apart."""

    shop: Shop
    network: Network
    path: Path
    hardware: str
    license_id: str = ""
    off: timedelta = timedelta(0)
    snapshots: list[Path] = field(default_factory=list)

    def now(self) -> datetime:
        return self.shop.clock() + self.off

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        traits = computer(self.hardware)
        ports = Ports(
            now=self.now,
            traits=lambda: traits,
            transport=lambda _settings: self.network,
            environ={},
        )
        with Client(
            state=self.path,
            server="https://license.example.com",
            trust=self.shop.home / "trust.json",
            background=False,
            ports=ports,
        ) as client:
            yield client

    def activate(self, key: str, *, replace: str | None = None) -> str:
        """The code of what happened, ``ok`` when a lease came."""
        return self._told(lambda client: client.activate(key, replace=replace))

    def renew(self) -> str:
        return self._told(lambda client: client.renew())

    def give_back(self) -> str:
        return self._told(lambda client: client.deactivate())

    def read(self, sealed: Path) -> str | bytes:
        """The plaintext, or the code of the refusal."""
        with self.client() as client:
            try:
                view = open_view(str(sealed), ClientLicensee(client))
                return bytes(view.private(view.names()[0]))
            except ModelsealError as error:
                return error.code

    def copy(self, path: Path, hardware: str | None = None) -> Folder:
        """The folder copied, perhaps to another computer."""
        shutil.copytree(self.path, path)
        return Folder(
            self.shop, self.network, path, hardware or self.hardware, self.license_id, self.off
        )

    def snapshot(self) -> None:
        place = self.path.with_name(f"{self.path.name}-{len(self.snapshots)}")
        shutil.copytree(self.path, place)
        self.snapshots.append(place)

    def restore(self, number: int) -> None:
        shutil.rmtree(self.path)
        shutil.copytree(self.snapshots[number], self.path)

    def holds(self) -> tuple[str | None, int, int]:
        """Device id, number and end of the lease on the disk; no number when there is none."""
        with self.client() as client:
            status = client.status()
        lease = status.lease
        if lease is None:
            return status.device_id, -1, 0
        return status.device_id, lease.seq, int(lease.expires_at.timestamp())

    def _told(self, act) -> str:
        with self.client() as client:
            try:
                act(client)
            except ModelsealError as error:
                return error.code
        return "ok"
