"""Which addresses are called, and how little the other side can do to the caller."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme
from tests.server.receiver import Receiver

from modelseal.errors import Misuse
from modelseal.server.services import addresses, outgoing
from modelseal.server.services.webhooks import check_url

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
PRIVATE = (
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "168.63.129.16", "::", "::1", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::127.0.0.1", "::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
)  # fmt: skip
PUBLIC = (
    "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101",
    "2002:101:101::1",
)  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_in_every_form_are_not_called(text: str) -> None:
    address = addresses.parse(text)
    assert address is not None and not addresses.is_allowed(address)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_called(text: str) -> None:
    address = addresses.parse(text)
    assert address is not None and addresses.is_allowed(address)


def test_only_a_network_that_was_named_opens() -> None:
    named = (ipaddress.ip_network("10.20.0.0/16"),)
    for text, allowed in (
        ("10.20.3.4", True), ("::ffff:10.20.3.4", True), ("64:ff9b::a14:304", True),
        ("10.21.0.1", False), ("127.0.0.1", False), ("169.254.169.254", False),
    ):  # fmt: skip
        address = addresses.parse(text)
        assert address is not None and addresses.is_allowed(address, named) is allowed, text


@pytest.mark.parametrize("url", [
    "https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
    "https://127.1/", "https://017700000001/", "https://[::1]/", "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/", "https://169.254.169.254/latest/meta-data/", "https://[fe80::1]/",
    "https://0/", "https://10.0.0.1:8443/", "https://0xA9FEA9FE/",
    "http://hooks.example.com/", "ftp://hooks.example.com/", "file:///etc/passwd", "gopher://a/",
    "https://", "https:///path", "https://user@hooks.example.com/", "https://u:p@hooks.example.com",
    "https://hooks.example.com/#part", "https://hooks.example.com:0/", "https://a:99999/",
    "https://hooks.example.com/ x", "https://hooks.example.com/\r\nHost: b", "https://exämple.com/",
    "https://hooks.example.com\\@127.0.0.1/", "//hooks.example.com/", "hooks.example.com", "https://[",
    "https://localhost/", "https://localhost./", "https://a.localhost:8443/", "https://LOCALHOST/",
    "HTTPS://hooks.example.com/", "https://" + "a" * 64 + ".example/", "https://a..b/",
    "https://" + "a." * 130 + "example/",
])  # fmt: skip
def test_an_address_that_is_never_called_is_refused_when_it_is_named(url: str) -> None:
    with pytest.raises(Misuse):
        check_url(url, ())


def test_a_usual_address_is_taken() -> None:
    for url in (
        "https://hooks.example.com/a?b=c",
        "https://1.1.1.1:8443/",
        "https://[2606:4700::1]/",
    ):
        check_url(url, ())
    check_url("http://127.0.0.1:1/", LOOPBACK)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.mark.parametrize("host", [
    "127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]",
])  # fmt: skip
def test_no_form_of_the_loopback_reaches_it_unless_it_was_named(
    receiver: Receiver, host: str
) -> None:
    for scheme in ("http", "https"):
        done = outgoing.post(f"{scheme}://{host}:{receiver.port}/", b"{}", {})
        assert done == outgoing.Posted(failure="address_refused")
    assert receiver.got == []


def test_plain_http_goes_to_named_networks_only(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outgoing.post(receiver.url, b"{}", {}, named=LOOPBACK).status == 204
    _resolve(monkeypatch, "1.1.1.1")
    done = outgoing.post("http://hooks.example.com/", b"{}", {}, named=LOOPBACK)
    assert done.failure == "address_refused"


def _resolve(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """What names resolve to, one answer after the other; the names that were asked."""
    asked: list[str] = []
    left = list(answers)

    real = socket.getaddrinfo

    def answer(host: str, port: int, *more: Any, **named: Any) -> list[Any]:
        if addresses.parse(host) is not None:
            return list(real(host, port, *more, **named))
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found.split()]

    monkeypatch.setattr(outgoing.socket, "getaddrinfo", answer)
    return asked


def test_a_name_is_resolved_once_and_the_judged_address_is_the_one_called(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that changes its mind (rebinding) changes nothing."""
    asked = _resolve(monkeypatch, "127.0.0.1", "10.0.0.1")
    url = f"http://rebinding.example.com:{receiver.port}/"
    assert outgoing.post(url, b"{}", {}, named=LOOPBACK).status == 204
    assert asked == ["rebinding.example.com"]
    assert receiver.got[0][0]["host"].startswith("rebinding.example.com")


def test_one_private_address_among_several_is_enough_to_refuse(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    _resolve(monkeypatch, "127.0.0.1 169.254.169.254")
    done = outgoing.post(f"http://a.example.com:{receiver.port}/", b"{}", {}, named=LOOPBACK)
    assert done.failure == "address_refused" and receiver.got == []


def test_a_redirect_is_an_answer_and_not_followed(receiver: Receiver) -> None:
    with Receiver() as other:
        receiver.statuses, receiver.headers = [307], {"Location": other.url}
        assert outgoing.post(receiver.url, b"{}", {}, named=LOOPBACK).status == 307
        assert other.got == [] and len(receiver.got) == 1


def test_no_proxy_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert outgoing.post(receiver.url, b"{}", {}, named=LOOPBACK).status == 204
        assert proxy.got == []


def test_tls_is_verified_for_the_name_in_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example.com").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    _resolve(monkeypatch, "127.0.0.1")
    with Receiver(tls=server) as receiver:
        for host, trusted, expected in (
            ("hooks.example.com", client, 204), ("other.example.com", client, None),
            ("hooks.example.com", None, None),
        ):  # fmt: skip
            url = f"https://{host}:{receiver.port}/"
            done = outgoing.post(url, b"{}", {}, named=LOOPBACK, tls=trusted)
            assert done.status == expected
            assert done.failure == (None if expected else "tls_failed")


@pytest.fixture
def odd() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Starts a listener that treats its one caller as told; answers its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def start(treat: Callable[[socket.socket], None]) -> str:
            def serve() -> None:
                with listener.accept()[0] as caller:
                    caller.recv(65536)
                    with contextlib.suppress(OSError):
                        treat(caller)

            threading.Thread(target=serve, daemon=True).start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}/"

        yield start


def test_a_body_is_not_read(odd: Callable[[Callable[[socket.socket], None]], str]) -> None:
    def endless(caller: socket.socket) -> None:
        caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            caller.sendall(b"x" * 65536)

    assert outgoing.post(odd(endless), b"{}", {}, named=LOOPBACK).status == 200


def test_endless_headers_are_cut(odd: Callable[[Callable[[socket.socket], None]], str]) -> None:
    def endless(caller: socket.socket) -> None:
        caller.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            caller.sendall(b"x: " + b"y" * 1000 + b"\r\n")

    assert outgoing.post(odd(endless), b"{}", {}, named=LOOPBACK).failure == "answer_invalid"


def test_an_answer_that_drips_ends_with_the_deadline(
    odd: Callable[[Callable[[socket.socket], None]], str],
) -> None:
    def drip(caller: socket.socket) -> None:
        """Until nobody listens: without a deadline the test would never end."""
        caller.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        while True:
            caller.sendall(b"y")
            time.sleep(0.05)

    done = outgoing.post(odd(drip), b"{}", {}, named=LOOPBACK, deadline_seconds=0.5)
    assert done.failure == "timed_out"


def test_what_no_server_says_is_no_answer(
    odd: Callable[[Callable[[socket.socket], None]], str],
) -> None:
    done = outgoing.post(odd(lambda caller: caller.sendall(b"SSH-2.0\r\n\r\n")), b"{}", {},
                         named=LOOPBACK)  # fmt: skip
    assert done.failure == "answer_invalid"
    done = outgoing.post("http://127.0.0.1:1/", b"{}", {}, named=LOOPBACK)
    assert done.failure == "no_connection"
    done = outgoing.post("http://name.invalid/", b"{}", {}, named=LOOPBACK)
    assert done.failure in ("name_unknown", "address_refused")


def test_the_systems_authorities_are_read_again_every_hour_and_not_for_every_call() -> None:
    first = outgoing.authorities(10.0)
    assert outgoing.authorities(3599.0) is first
    assert outgoing.authorities(3600.0) is not first
