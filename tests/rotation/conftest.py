"""A publisher's workspace, its running server over HTTPS, and customers' real clients.

The server's and the clients' clock can be set forward together; certificates and python-tuf go by
the real one, so it only ever goes forward.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.client.world import computer

from modelseal.admin import AdminApi, IssueLicense, PlanDraft, Role
from modelseal.client import Client, Ports
from modelseal.desk import publishing, sealing
from modelseal.desk import workspace as workspaces
from modelseal.desk.remote import RemoteAdmin
from modelseal.desk.workspace import Workspace
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.server.services import LocalAdmin, open_server
from modelseal.strict_json import unb64u
from modelseal.testing.server import RunningServer

PLAIN = b"weights of a face swapper " * 9_000
LEASE = timedelta(days=7)


@dataclass
class Drill:
    """Everything a drill needs. ``offset`` is how far the clock was set forward."""

    folder: Path
    server: RunningServer
    desk: Workspace
    stack: contextlib.ExitStack
    offset: list[timedelta]
    file_id: bytes = b""
    license_key: str = ""
    sealed: Path = field(default_factory=Path)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset[0]

    def forward(self, by: timedelta) -> None:
        self.offset[0] += by

    def another_process(self) -> AdminApi:
        """The workspace's server half as ``modelseal ... --home`` opens it beside the server."""
        server = self.stack.enter_context(open_server(self.server.home, now=lambda: self.now))
        return LocalAdmin(server)

    def remote(self) -> AdminApi:
        """The same calls over HTTPS, as ``--server`` makes them."""
        token = self.server.admin.create_token(Role.OWNER).token
        trust = self.server.trust.read_bytes()
        return self.stack.enter_context(RemoteAdmin(self.server.url, token, trust=trust))

    def client(self, name: str, trust: Path | None = None) -> Client:
        """The client of the computer ``name``; its app pins the trust of the first day."""
        traits = computer(name)
        ports = Ports(now=lambda: self.now, traits=lambda: traits, environ={})
        made = Client(
            state=self.folder / name, server=self.server.url, background=False, ports=ports,
            trust=trust or self.folder / "shipped.json",
        )  # fmt: skip
        return self.stack.enter_context(made)

    def activated(self, name: str) -> Client:
        client = self.client(name)
        client.activate(self.license_key)
        return client

    def publish(self, name: str = "swap.onnx") -> bytes:
        place = self.folder / name
        place.write_bytes(PLAIN)
        self.sealed = self.folder / f"{os.urandom(4).hex()}.sealed"
        with workspaces.open(self.server.home) as desk:
            (made,) = sealing.seal_paths(
                desk, [place], self.sealed, entitlements=["face.swap"], chunk_bytes=65536
            )
            publishing.publish(desk, self.server.admin, self.sealed)
        return unb64u(made.file_id)

    def opens(self, client: Client, file_id: bytes | None = None) -> bool:
        """True when the client has the data keys of a model, without asking anybody."""
        secrets = client.keys_for(file_id or self.file_id, [0, 1])
        for secret in secrets.values():
            secret.close()
        return sorted(secrets) == [0, 1]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that is made once and never used."""
    return workspaces.init(tmp_path_factory.mktemp("t") / "shop", "facefusion").home


@pytest.fixture
def drill(tmp_path: Path, template: Path) -> Iterator[Drill]:
    """A published model, a plan with ten seats, and a license key."""
    shutil.copytree(template, tmp_path / "shop")
    offset = [timedelta(0)]
    with contextlib.ExitStack() as stack:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            server = RunningServer(tmp_path, now=lambda: datetime.now(UTC) + offset[0])
        stack.enter_context(server)
        shutil.copy(server.trust, tmp_path / "shipped.json")
        desk = stack.enter_context(workspaces.open(server.home))
        made = Drill(tmp_path, server, desk, stack, offset)
        plan = Plan(entitlements=[PlanEntitlement(id="face.swap")], seats=10)
        server.admin.create_plan(PlanDraft(name="pro", terms=plan))
        wish = IssueLicense(plan="pro", customer="li@example.com", expires_in_seconds=90 * 86400)
        made.license_key = server.admin.issue_license(wish).license_key
        made.file_id = made.publish()
        yield made


@pytest.fixture(params=["beside the server", "over HTTPS"])
def api(request: Any, drill: Drill) -> AdminApi:
    """The publisher's calls, from another process on the host and from another computer."""
    made: dict[str, Callable[[], AdminApi]] = {
        "beside the server": drill.another_process, "over HTTPS": drill.remote,
    }  # fmt: skip
    return made[request.param]()
