"""A site without a line: a relay on a measured machine with a real TPM emulator, and devices."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tests.attested.boots as boots
from tests.client.publisher import computer
from tests.client.real_shop import Shop, running
from tests.leases.conftest import chip, factory, new_tpm, tpm, trust_roots
from tests.leases.test_client import Device
from tests.tpm import SwTpm

from modelseal import listening
from modelseal.admin import PlanDraft
from modelseal.client import Client, Ports
from modelseal.client.delegating import Wish
from modelseal.client.transport import HttpTransport, TransportSettings
from modelseal.errors import KeyStoreUnavailable
from modelseal.license.claims import DelegationClaims
from modelseal.license.plans import LeaseTerms, Plan, PlanEntitlement, RelayTerms
from modelseal.server.http.serving import configuration
from modelseal.server.relay import box as boxes
from modelseal.server.relay import keeping, syncing
from modelseal.server.relay.app import create_app
from modelseal.server.relay.box import Box
from modelseal.server.relay.budget import Budget
from modelseal.server.relay.giving import Giving
from modelseal.server.services.delegating import Delegated
from modelseal.server.services.limits import Limiter

__all__ = ["chip", "factory", "new_tpm", "tpm"]

DAY = 86400
TERMS = Plan(
    entitlements=[PlanEntitlement(id="face.swap")],
    seats=6,
    lease=LeaseTerms(max_seconds=7 * DAY),
    relay=RelayTerms(seats=2, renewals=3, max_seconds=20 * DAY),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, factory) -> Iterator[Shop]:
    """A running license server that believes the TPMs' maker."""
    with running(tmp_path_factory.mktemp("shop")) as made:
        trust_roots(made.server.home, factory)
        made.server.admin.create_plan(PlanDraft(name="site", terms=TERMS))
        made.server.admin.create_plan(
            PlanDraft(name="none", terms=msgspec.structs.replace(TERMS, relay=None))
        )
        yield made
        made.offset[0] = timedelta(0)


@dataclass
class Site:
    """A closed network: its relay in ``folder`` on the machine of ``keeper``, and its devices."""

    shop: Shop
    folder: Path
    tpm: SwTpm
    keeper: Any
    key: str
    license_id: str
    offset: timedelta = timedelta(0)
    url: str = ""
    clients: list[Client] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def passes(self, **span: float) -> None:
        """Time passes for everybody."""
        self.offset += timedelta(**span)
        self.shop.offset[0] = self.keeper.offset = self.offset

    @property
    def kek(self) -> str:
        return f"tpm2://{self.tpm.address}?pcrs=sha256:4,7,8"

    @contextlib.contextmanager
    def box(self) -> Iterator[Box]:
        with Box(self.folder) as found:
            yield found

    def ask(self, level: int = 3, key: str | None = None) -> DelegationClaims:
        """The relay proves itself and has a budget."""
        trust = (self.shop.server.home / "trust.json").read_bytes()
        with self.box() as box:
            mine = keeping.prepare(box, trust, kek=self.kek, now=self.now())
            found = self.keeper.client.delegate(
                Wish(box.about.relay, mine.signing.jwk, mine.kem, level)
            )
            answer = msgspec.convert(found.answer, Delegated)
            keeping.take(
                box, mine, answer, found.transcript, found.result, key or self.key,
                random=os.urandom,
            )  # fmt: skip
        return found.claims

    @contextlib.contextmanager
    def giving(self, folder: Path | None = None) -> Iterator[tuple[Box, Giving]]:
        """The relay's box and what gives by its budget."""
        with Box(folder or self.folder) as box:
            held = Budget(box, now=self.now, random=os.urandom)
            try:
                yield box, Giving(held)
            finally:
                held.close()

    @contextlib.contextmanager
    def open(self, folder: Path | None = None) -> Iterator[str]:
        """The relay listens; ``device`` asks it."""
        with self.giving(folder) as (box, giving):
            bound = listening.bind("127.0.0.1", 0)
            ready = threading.Event()
            config = configuration(
                create_app(box, self.now, giving), None, proxy_headers=False, loop="asyncio"
            )
            server = listening.Uvicorn(config, ready.set)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
            thread.start()
            try:
                assert ready.wait(120)
                self.url = listening.url(bound, "127.0.0.1", "http")
                yield self.url
            finally:
                server.should_exit = True
                thread.join(120)
                bound.close()

    def device(self, name: str, server: str | None = None) -> Client:
        """A client on a computer of its own."""
        ports = Ports(now=self.now, traits=lambda: computer(name), tpm=lambda _a: NoTpm())
        made = Client(
            state=self.folder.with_name(name), server=server or self.url, ports=ports,
            background=False, trust=self.shop.server.home / "trust.json",
        )  # fmt: skip
        self.clients.append(made)
        return made

    def sync(self, folder: Path | None = None) -> syncing.Synced:
        """Over a line, as the command does."""
        server = self.shop.server
        pinned = self.keeper.client._core.trust.tls_ca
        line = HttpTransport(TransportSettings(server.url, pinned, None))
        server.services.devices.limiter = Limiter()
        try:
            with self.giving(folder) as (box, giving):
                return syncing.over_line(
                    box, line, server.admin, models=False, now=self.now(),
                    random=os.urandom, giving=giving,
                )  # fmt: skip
        finally:
            line.close()

    def events(self, *kinds: str) -> list[Any]:
        """What stands in the server's log about the license, of these kinds."""
        found, cursor = [], None
        while True:
            page = self.shop.server.admin.list_events(cursor, self.license_id)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return [event for event in found if event.kind in kinds]

    def record(self) -> Any:
        """What the publisher sees of the relay."""
        with self.box() as box:
            return self.shop.server.admin.show_budget(box.about.relay)


class NoTpm:
    """A computer without one."""

    def clock(self):
        raise KeyStoreUnavailable("no TPM here")


class Keeper:
    """The relay's machine as a device of the license."""

    def __init__(self, shop, folder, tpm):
        self.device = Device(shop, folder, tpm.address)
        self.client = self.device.client(collectors=[boots.collector(tpm, boots.boot(tpm))])

    @property
    def offset(self):
        return self.device.offset

    @offset.setter
    def offset(self, value):
        self.device.offset = value


@pytest.fixture
def site(shop, tmp_path, tpm) -> Iterator[Site]:
    """A relay without a budget yet, its machine activated under the plan ``site``."""
    yield from _site(shop, tmp_path, tpm, "site")


@pytest.fixture
def uncounted(monkeypatch) -> None:
    """The TPM has no room for a chain: counts are bound to nothing."""

    def full(*_args):
        raise KeyStoreUnavailable("no room")

    monkeypatch.setattr(keeping.chain, "make", full)


@pytest.fixture
def other_site(shop, tmp_path, tpm) -> Iterator[Site]:
    """As ``site``, under a plan that lets no relay give leases."""
    yield from _site(shop, tmp_path, tpm, "none")


def _site(shop, tmp_path, tpm, plan):
    boots.policy(shop.server.home)
    shop.server.services.devices.limiter = Limiter()
    trust = shop.server.services.context.trusted.pinned
    folder = tmp_path / "relay"
    boxes.make(
        folder, server=trust.server_id, product=trust.product, now=datetime.now(UTC),
        random=os.urandom,
    )  # fmt: skip
    key, license_id = shop.issue(plan)
    keeper = Keeper(shop, tmp_path / "keeper", tpm)
    keeper.client.activate(key)
    made = Site(shop, folder, tpm, keeper, key, license_id)
    yield made
    for client in (*made.clients, keeper.client):
        client.close()
    shop.offset[0] = timedelta(0)
