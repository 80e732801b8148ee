"""Renewals over TLS: those read without h11 and those read by it have the same answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from tests.hostile.conftest import Raw
from tests.server.world import Computer, Shop

from modelseal.crypto.hpke import KemPrivateKey
from modelseal.license import tokens
from modelseal.license.claims import LeaseClaims
from modelseal.server.http.protocol import Protocol

Connect = Callable[[], Raw]
JWT = b"application/jwt"


def renewal(device_id: str, token: bytes, *more: bytes) -> bytes:
    lines = [
        f"PUT /v1/leases/{device_id} HTTP/1.1".encode(), b"Host: licenses.example.com",
        b"Content-Type: " + JWT, b"Content-Length: %d" % len(token), *more,
    ]  # fmt: skip
    return b"\r\n".join([*lines, b"", token])


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies of renewals that were read without h11."""
    found: list[bytes] = []
    usual = Protocol._renew

    def renew(self: Protocol, asked: object, data: bytes) -> None:
        found.append(asked.body)  # type: ignore[attr-defined]
        usual(self, asked, data)  # type: ignore[arg-type]

    monkeypatch.setattr(Protocol, "_renew", renew)
    return found


@pytest.fixture
def device(shop: Shop) -> tuple[Computer, KemPrivateKey]:
    """One that is activated."""
    computer, kem = Computer(shop), KemPrivateKey.generate()
    computer.activate(shop.license().license_key)
    return computer, kem


def both(connect: Connect, ask: Callable[..., bytes]) -> tuple[bytes, bytes]:
    """The answers to a request and to the next, which a tab leaves to h11."""
    raw = connect()
    answers = []
    for more in ((), (b"X: a\tb",)):
        raw.say(ask(*more))
        answers.append(raw.answer())
    return answers[0], answers[1]


def counted(connect: Connect) -> dict[bytes, int]:
    """Renewals by their status, as the metrics tell."""
    raw = connect()
    raw.say(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    line = rb'(?m)^\w*\{[^}]*route="/v1/leases/\{device_id\}"[^}]*status="(\d+)"\} (\d+)$'
    return {status: int(number) for status, number in re.findall(line, raw.heard())}


def undated(answer: bytes) -> bytes:
    return re.sub(rb"(?m)^date: .*\r\n", b"", answer)


def test_a_renewal_is_the_same_both_ways(
    connect: Connect, device: tuple[Computer, KemPrivateKey], shop: Shop, plainly: list[bytes]
) -> None:
    """The head to the byte, but for the length and the date; and both are counted."""
    computer, kem = device
    before, heads, raw = counted(connect), [], connect()
    for more in ((), (b"X: a\tb",)):
        token = computer.sign(computer.request("renew", kem=computer.kem(kem)))
        raw.say(renewal(str(computer.device_id), token, *more))
        head, _, body = raw.answer().partition(b"\r\n\r\n")
        heads.append(re.sub(rb"(?m)^(content-length|date): .*\r\n", b"", head + b"\r\n"))
        lease = tokens.read(json.loads(body)["lease"], LeaseClaims, shop.trust)
        assert lease.seq == computer.seq + 1
        computer.seq, computer.prev = lease.seq, lease.jti
    assert heads[0] == heads[1] and heads[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-content-type-options: nosniff\r\n" in heads[0]
    assert len(plainly) == 1
    assert counted(connect).get(b"200", 0) == before.get(b"200", 0) + 2


@pytest.mark.parametrize("token", [b"a", b"a.b.c", b"\xff\x00", b"{}", b"e30.e30.e30"])
def test_a_refusal_is_the_same_both_ways(
    connect: Connect, token: bytes, plainly: list[bytes]
) -> None:
    """To the byte, but for the date."""
    whole, parts = both(connect, lambda *more: renewal("dev_x", token, *more))
    assert undated(whole) == undated(parts) and plainly == [token]
    assert re.match(rb"HTTP/1\.1 4\d\d ", whole)


@pytest.mark.parametrize(
    "more",
    [
        (b"Transfer-Encoding: chunked",),
        (b"Content-Length: 1",),
        (b"Content-Type: application/jwt",),
        (b"Content-Encoding: gzip",),
        (b"Expect: 100-continue",),
        (b"Connection: close",),
        (b"X : a",),
        (b"X: a\x00",),
        (b" X: a",),
    ],
)
def test_an_odd_renewal_is_h11s_in_one_piece_too(
    connect: Connect, more: tuple[bytes, ...], plainly: list[bytes]
) -> None:
    """With the answer it always had."""
    answers = []
    for cut in (None, 10):
        raw, data = connect(), renewal("dev_x", b"token", *more)
        for piece in (data[:cut], data[len(data[:cut]) :]):
            raw.say(piece) if piece else None
        answers.append(undated(raw.answer()))
    assert answers[0] == answers[1] and plainly == []


def test_renewals_one_after_another_in_one_write_are_answered_in_order(connect: Connect) -> None:
    """However many of them came too early to be plain."""
    raw, ids = connect(), [f"dev_{number}" for number in range(5)]
    for one in ids[:1], ids[1:]:
        raw.say(b"".join(renewal(each, b"a.b.c") for each in one))
    raw.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", raw.heard())
    assert len(statuses) == 6 and statuses[-1] == b"200" and len(set(statuses[:-1])) == 1
