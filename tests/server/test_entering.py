"""How activations are gathered in front of the framework, and answered as by it."""

from __future__ import annotations

import asyncio
import ssl
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import cast

import httpx
import pytest
from tests.server.world import Clock, Computer, Shop

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.errors import Misuse, ModelsealError
from modelseal.license import license_key
from modelseal.server.http.entering import Gate
from modelseal.server.http.gathering import ENOUGH
from modelseal.server.services.activation import Activated
from modelseal.server.services.calls import DeviceCalls, Entering
from modelseal.server.store.together import MOST
from modelseal.testing.server import RunningServer

JWT = {"Content-Type": "application/jwt"}


class _Calls:
    """Answers each with its token, and knows how many came together and in how many threads."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.guard, self.running, self.most = threading.Lock(), 0, 0

    def activate_many(self, asked: Sequence[Entering]) -> list[Activated | Exception]:
        with self.guard:
            self.sizes.append(len(asked))
            self.running += 1
            self.most = max(self.most, self.running)
        outcomes = [self._answer(item.token.decode()) for item in asked]
        with self.guard:
            self.running -= 1
        return outcomes

    @staticmethod
    def _answer(name: str) -> Activated | Exception:
        if name == "all":
            raise RuntimeError("for all of them")
        if name == "bad":
            return Misuse("for one")
        return Activated(device_id=name, license="", lease="", event_id="")


async def _ask(gate: Gate, name: str, times: int = 1) -> str:
    for _ in range(times):
        answer = await gate.activate(Entering(name.encode(), "local"))
        assert answer.device_id == name
    return name


def test_each_activation_is_answered_in_one_group_and_no_group_is_too_large() -> None:
    calls = _Calls()

    async def run() -> None:
        gate = Gate(cast(DeviceCalls, calls))
        await asyncio.gather(*(_ask(gate, f"d{n}", 5) for n in range(MOST + ENOUGH)))

    asyncio.run(run())
    assert sum(calls.sizes) == 5 * (MOST + ENOUGH) and calls.most <= 2
    assert 0 < min(calls.sizes) <= max(calls.sizes) <= MOST


def test_an_error_is_told_to_whom_it_is_about() -> None:
    async def run(*names: str) -> list[object]:
        gate = Gate(cast(DeviceCalls, _Calls()))
        return list(
            await asyncio.gather(*(_ask(gate, name) for name in names), return_exceptions=True)
        )

    one, other, third = asyncio.run(run("good", "bad", "fine"))
    assert (one, third) == ("good", "fine") and isinstance(other, Misuse)
    assert all(isinstance(error, RuntimeError) for error in asyncio.run(run("all", "all")))


def test_whoever_went_away_keeps_nobody_from_an_answer() -> None:
    async def run() -> str:
        gate = Gate(cast(DeviceCalls, _Calls()))
        gone = asyncio.create_task(_ask(gate, "gone"))
        stays = asyncio.create_task(_ask(gate, "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(run()) == "stays"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Shop]]:
    """A real server with a plan."""
    clock = Clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(tmp_path_factory.mktemp("entering"), now=clock)
    with server:
        shop = Shop(server.home, clock, server.services)
        shop.plan("basic", "face.swap")
        yield server, shop


@pytest.fixture
def shop(running: tuple[RunningServer, Shop]) -> Shop:  # type: ignore[override]
    """The shop behind it; every test a minute later than the one before."""
    running[1].clock.pass_(minutes=1)
    return running[1]


@pytest.fixture
def http(running: tuple[RunningServer, Shop]) -> Iterator[httpx.Client]:
    """A client that trusts the workspace's own authority."""
    context = ssl.create_default_context(cadata=running[1].trust.tls_ca)
    with httpx.Client(base_url=running[0].url, verify=context, timeout=300) as client:
        yield client


def _both(http: httpx.Client, token: bytes, **headers: str) -> tuple[httpx.Response, ...]:
    """The answers in front of the framework, and by it: a body in chunks is nothing plain."""
    told = {**JWT, **headers}
    plain = http.post("/v1/devices", content=token, headers=told)
    assert "transfer-encoding" not in plain.request.headers
    chunked = http.post("/v1/devices", content=iter([token[:7], token[7:]]), headers=told)
    assert chunked.request.headers["transfer-encoding"] == "chunked"
    return plain, chunked


def _alike(plain: httpx.Response, chunked: httpx.Response) -> None:
    volatile = ("date", "content-length")
    assert plain.status_code == chunked.status_code
    assert {k: v for k, v in plain.headers.items() if k not in volatile} == {
        k: v for k, v in chunked.headers.items() if k not in volatile
    }
    assert plain.json().keys() == chunked.json().keys()


def test_in_front_of_the_framework_an_activation_is_answered_as_by_it(
    http: httpx.Client, shop: Shop
) -> None:
    issued = shop.license(seats=1)
    token = Computer(shop).activation(issued.license_key, KemPrivateKey.generate())
    plain, chunked = _both(http, token)  # the second is the repetition of the first
    _alike(plain, chunked)
    assert plain.status_code == 201 and plain.headers["content-type"] == "application/json"
    assert plain.json()["device_id"] == chunked.json()["device_id"]


def test_a_refusal_and_what_is_no_request_are_answered_alike_too(
    http: httpx.Client, shop: Shop
) -> None:
    unknown = license_key.format_key(bytes(10))
    one, two = (Computer(shop, name).activation(unknown, KemPrivateKey.generate()) for name in "ab")
    plain = http.post("/v1/devices", content=one, headers=JWT)
    chunked = http.post("/v1/devices", content=iter([two]), headers=JWT)
    _alike(plain, chunked)
    assert plain.json()["code"] == chunked.json()["code"] == "unknown_license_key"
    for body in (b"", b"no token", b"a.b.c"):
        _alike(*_both(http, body))
    for name, value in (("Content-Type", "text/plain"), ("Content-Encoding", "gzip")):
        _alike(*_both(http, b"x", **{name: value}))


def test_a_failure_of_ours_says_nothing_and_has_a_reference(
    http: httpx.Client, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_asked: Sequence[Entering]) -> list[Activated | Exception]:
        raise RuntimeError("secret")

    monkeypatch.setattr(shop.server.devices, "activate_many", fails)
    answer = http.post("/v1/devices", content=b"x", headers=JWT)
    assert answer.status_code == 500 and answer.json()["code"] == "internal_error"
    assert answer.json()["reference"] and "secret" not in answer.text


def test_many_at_once_over_one_address_are_each_answered_with_their_own(shop: Shop) -> None:
    issued = shop.license(seats=9)
    asked: list[tuple[Computer, KemPrivateKey, bytes]] = []
    for number in range(12):
        computer, kem = Computer(shop, f"many {number}"), KemPrivateKey.generate()
        asked.append((computer, kem, computer.activation(issued.license_key, kem)))
    broken = [Entering(b"no token", "local"), Entering(asked[0][2][:-4] + b"AAAA", "local")]
    wanted = [Entering(token, "local") for _computer, _kem, token in asked]
    outcomes = shop.server.devices.activate_many([broken[0], *wanted, broken[1]])
    assert isinstance(outcomes[0], ModelsealError) and isinstance(outcomes[-1], ModelsealError)
    told = outcomes[1:-1]
    assert [getattr(one, "code", "allowed") for one in told] == (
        ["allowed"] * 9 + ["no_free_seat"] * 3
    )
    for (computer, kem, _token), one in zip(asked, told, strict=True):
        if isinstance(one, Activated):
            computer._accept(one.lease, one.license, kem)
