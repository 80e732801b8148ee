"""The client against the real license server: wrong input, and what stands in between."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import ssl
import threading
from datetime import timedelta

import pytest
import trustme
from tests.client.real_shop import opens

from modelseal import errors
from modelseal.admin import LicenseChange
from modelseal.desk import workspace
from modelseal.errors import (
    AnswerUnsigned,
    CertificateInvalid,
    DeviceReturned,
    LicenseExpired,
    NoFreeSeat,
    ServerUnreachable,
    UnknownLicenseKey,
)
from modelseal.license import license_key


def test_a_mistyped_key_is_found_before_anything_is_sent(make):
    with pytest.raises(errors.LicenseKeyMistyped):
        make(server="https://127.0.0.1:1").activate("MS-AAAAA-AAAAA-AAAAA-AAAAA")


def test_a_wrong_key_is_refused_and_leaves_a_usable_state(shop, make):
    client = make()
    with pytest.raises(UnknownLicenseKey) as caught:
        client.activate(license_key.generate(os.urandom))
    assert caught.value.exit_code == 3
    assert len(caught.value.reference) == 8
    assert client.activate(shop.issue()[0]).state == "ACTIVE"


def test_a_second_state_folder_on_the_same_computer_has_to_replace(shop, make):
    key, _ = shop.issue()
    first, second = make("first"), make("second")
    first.activate(key, label="studio")
    with pytest.raises(NoFreeSeat) as caught:
        second.activate(key)
    assert "studio" in caught.value.message
    second.activate(key, replace=first.status().device_id)
    assert opens(second, shop.swap)
    with pytest.raises(DeviceReturned):
        first.renew()
    assert first.status().state == "RETURNED"


def test_a_returned_seat_goes_to_another_computer(shop, make):
    key, _ = shop.issue()
    first, second = make("first"), make("second", on="another")
    first.activate(key)
    assert first.deactivate().seat_free_at is not None
    assert first.status().state == "RETURNED"
    with pytest.raises(DeviceReturned):
        opens(first, shop.swap)
    assert second.activate(key).state == "ACTIVE"
    with pytest.raises(NoFreeSeat):
        first.activate(key)


def test_the_same_device_may_return_and_come_back(shop, make):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    client.deactivate()
    assert client.activate(key).state == "ACTIVE"
    assert opens(client, shop.swap)


def test_an_expired_license_is_refused(shop, make):
    key, license_id = shop.issue()
    client = make()
    client.activate(key)
    shop.server.admin.change_license(license_id, LicenseChange(expires_in_seconds=1))
    shop.offset[0] = timedelta(seconds=30)
    try:
        with pytest.raises(LicenseExpired):
            client.renew()
        with pytest.raises(LicenseExpired):
            make("other", on="another").activate(key)
    finally:
        shop.offset[0] = timedelta(0)
    assert client.status().state == "EXPIRED"


def test_another_products_trust_reaches_nothing(shop, make, tmp_path_factory):
    other = workspace.init(tmp_path_factory.mktemp("other") / "shop", "another")
    with pytest.raises(CertificateInvalid):
        make(trust=other.home / "trust.json").activate(shop.issue()[0])


def test_with_its_authority_allowed_another_product_is_still_refused(
    shop, make, tmp_path_factory, tmp_path
):
    other = workspace.init(tmp_path_factory.mktemp("other") / "shop", "another")
    (tmp_path / "ca.pem").write_text(workspace.open(shop.server.home).trust.tls_ca)
    client = make(trust=other.home / "trust.json", ca=tmp_path / "ca.pem")
    with pytest.raises(errors.ModelsealError) as caught:
        client.activate(shop.issue()[0])
    assert caught.value.exit_code in (3, 4)
    assert client.status().state == "NOT_ACTIVATED"


def test_a_server_that_is_down_harms_no_lease(shop, make, tmp_path):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    shop.server.stop()
    try:
        for act in (client.renew, client.deactivate, lambda: client.pull(tmp_path / "m")):
            with pytest.raises(ServerUnreachable) as caught:
                act()
            assert caught.value.exit_code == 5
        assert opens(client, shop.swap)
        with pytest.raises(ServerUnreachable):
            make("fresh").activate(key)
    finally:
        shop.server.start()
    assert client.renew().lease.seq == 2


def test_a_wrong_certificate_is_told_and_harms_no_lease(shop, make):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with _serving(context=context) as impostor, pytest.raises(CertificateInvalid):
        make(server=f"https://127.0.0.1:{impostor.server_address[1]}").renew()
    assert opens(client, shop.swap)


class _Portal(http.server.BaseHTTPRequestHandler):
    """Answers everything with a login page; tunnels nothing."""

    def do_GET(self):
        body = b"<html><title>Hotel WiFi</title></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *args):
        pass


class _Tunnel(_Portal):
    """A proxy that tunnels, and counts."""

    def do_CONNECT(self):
        host, _, port = self.path.rpartition(":")
        self.server.tunnels.append(self.path)
        with socket.create_connection((host, int(port)), 10) as far:
            self.send_response(200)
            self.end_headers()
            threads = [
                threading.Thread(target=_pump, args=pair, daemon=True)
                for pair in ((self.connection, far), (far, self.connection))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.close_connection = True


def _pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _serving(handler=_Portal, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.tunnels = []
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_through_a_proxy_everything_works(shop, make, monkeypatch, tmp_path):
    with _serving(_Tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        client = make()
        client.activate(shop.issue()[0])
        client.pull(tmp_path / "m")
        assert opens(client, shop.swap)
        assert set(proxy.tunnels) == {shop.server.url.removeprefix("https://")}
        client.close()


def test_a_proxy_that_refuses_is_told_and_harms_no_lease(shop, make, monkeypatch):
    client = make()
    client.activate(shop.issue()[0])
    with _serving() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        with pytest.raises(ServerUnreachable) as caught:
            make().renew()
    assert "proxy" in caught.value.detail
    assert opens(client, shop.swap)


def test_a_captive_portal_is_told_and_harms_no_lease(shop, make):
    client = make()
    client.activate(shop.issue()[0])
    with _serving() as portal:
        url = f"http://127.0.0.1:{portal.server_address[1]}"
        with pytest.raises(AnswerUnsigned) as caught:
            make(server=url).renew()
    assert "Hotel WiFi" in caught.value.message
    assert opens(client, shop.swap)
