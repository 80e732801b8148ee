"""HTTP over real sockets on loopback: certificates, proxies, portals, slow and huge answers."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading

import pytest
import trustme

from modelseal.client.transport import HttpTransport, TransportSettings, user_agent
from modelseal.errors import (
    AnswerInvalid,
    CertificateInvalid,
    ConfigInvalid,
    ServerUnreachable,
)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as its server's ``say`` tells."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        status, headers, body = self.server.say(self)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    do_POST = do_PUT = do_CONNECT = do_GET  # noqa: N815

    def log_message(self, *args) -> None:
        pass


@contextlib.contextmanager
def serving(say=None, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.say = say or (lambda handler: (200, {"Content-Type": "application/json"}, b"{}"))
    server.seen = []
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


def _tls(authority, host="127.0.0.1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def _url(server, scheme="http"):
    return f"{scheme}://127.0.0.1:{server.server_address[1]}"


@contextlib.contextmanager
def _transport(url, pem=None, extra=None):
    made = HttpTransport(TransportSettings(url, pem, extra))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def _pem(authority):
    return authority.cert_pem.bytes().decode()


def test_the_pinned_authority_is_enough_and_the_agent_is_named(authority):
    with serving(context=_tls(authority)) as server:
        with _transport(_url(server, "https"), _pem(authority)) as transport:
            answer = transport.exchange("PUT", "/v1/x", body=b"token", headers={"A": "b"})
        assert (answer.status, answer.media_type, answer.body) == (200, "application/json", b"{}")
        method, path, headers = server.seen[0]
        assert (method, path) == ("PUT", "/v1/x")
        assert headers["User-Agent"] == user_agent()


def test_an_authority_given_as_a_file_is_enough(authority, tmp_path):
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    with (
        serving(context=_tls(authority)) as server,
        _transport(_url(server, "https"), extra=tmp_path / "ca.pem") as transport,
    ):
        assert transport.exchange("GET", "/").status == 200


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_an_authority_that_is_none_is_a_wrong_setting(tmp_path, content):
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(ConfigInvalid) as caught:
        HttpTransport(TransportSettings("https://127.0.0.1:1", None, tmp_path / "ca.pem"))
    assert caught.value.params["path"] == str(tmp_path / "ca.pem")


def test_an_unknown_authority_is_a_certificate_error(authority):
    with (
        serving(context=_tls(trustme.CA())) as server,
        _transport(_url(server, "https"), _pem(authority)) as transport,
        pytest.raises(CertificateInvalid) as caught,
    ):
        transport.exchange("GET", "/")
    assert caught.value.params["server"] == _url(server, "https")
    assert "self-signed" in caught.value.detail or "unable to get" in caught.value.detail


def test_a_certificate_for_another_name_is_a_certificate_error(authority):
    with (
        serving(context=_tls(authority, "another.example.com")) as server,
        _transport(_url(server, "https"), _pem(authority)) as transport,
        pytest.raises(CertificateInvalid),
    ):
        transport.exchange("GET", "/")


def test_plain_http_where_tls_is_expected_is_unreachable(authority):
    with (
        serving() as server,
        _transport(_url(server, "https"), _pem(authority)) as transport,
        pytest.raises(ServerUnreachable) as caught,
    ):
        transport.exchange("GET", "/")
    assert "TLS" in caught.value.detail


def test_nobody_there_is_unreachable():
    with (
        serving() as server,
        _transport(_url(server)) as transport,
    ):
        server.shutdown()
        server.server_close()
        with pytest.raises(ServerUnreachable) as caught:
            transport.exchange("GET", "/")
    assert caught.value.params["server"] == _url(server)


def test_a_redirect_is_not_followed():
    with serving() as other:

        def say(handler):
            return 302, {"Location": _url(other) + "/"}, b""

        with serving(say) as server, _transport(_url(server)) as transport:
            assert transport.exchange("GET", "/").status == 302
        assert other.seen == []


def test_an_endless_answer_is_cut_off():
    def say(handler):
        return 200, {}, b"x" * 100_000

    with (
        serving(say) as server,
        _transport(_url(server)) as transport,
        pytest.raises(AnswerInvalid),
    ):
        transport.exchange("GET", "/", max_bytes=1000)


def test_a_compressed_bomb_is_not_inflated():
    def say(handler):
        return 200, {"Content-Encoding": "gzip", "Content-Type": "application/json"}, b"\x1f\x8b"

    with serving(say) as server, _transport(_url(server)) as transport:
        assert transport.exchange("GET", "/").body == b"\x1f\x8b"
        assert server.seen[0][2]["Accept-Encoding"] == "identity"


def test_a_connection_cut_in_the_middle_is_unreachable():
    def say(handler):
        return 200, {"Content-Length": "1000"}, b"short"

    def cut(handler):
        answer = say(handler)
        handler.close_connection = True
        return answer

    with (
        serving(cut) as server,
        _transport(_url(server)) as transport,
        pytest.raises(ServerUnreachable),
    ):
        transport.exchange("GET", "/", seconds=60)


def test_an_answer_that_never_comes_ends_in_time():
    release = threading.Event()

    def say(handler):
        release.wait(60)
        return 200, {}, b""

    with serving(say) as server, _transport(_url(server)) as transport:
        with pytest.raises(ServerUnreachable) as caught:
            transport.exchange("GET", "/", seconds=0.2)
        release.set()
    assert "in time" in caught.value.detail


def test_an_answer_that_trickles_ends_in_time():
    """Bytes keep coming, one by one, and no single wait is too long: the whole is."""
    release, ticks = threading.Event(), iter(range(0, 10_000, 100))

    def say(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"{")
        release.wait(60)
        return 200, {}, b""

    with serving(say) as server:
        settings = TransportSettings(_url(server))
        transport = HttpTransport(settings, monotonic=lambda: float(next(ticks)))
        with contextlib.closing(transport), pytest.raises(ServerUnreachable) as caught:
            transport.exchange("GET", "/", seconds=60)
        release.set()
    assert caught.value.detail == "the answer took too long"


def test_the_proxy_of_the_environment_is_used(monkeypatch):
    """A plain request goes through it; what it answers is an answer like any other."""
    with serving(lambda handler: (407, {}, b"who are you")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", _url(proxy))
        with _transport("http://127.0.0.1:9") as transport:
            assert transport.exchange("GET", "/v1/x").status == 407
        assert proxy.seen[0][1] == "http://127.0.0.1:9/v1/x"


def test_a_proxy_that_refuses_the_tunnel_is_named(monkeypatch, authority):
    with serving(lambda handler: (403, {}, b"")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", _url(proxy))
        with (
            _transport("https://127.0.0.1:9", _pem(authority)) as transport,
            pytest.raises(ServerUnreachable) as caught,
        ):
            transport.exchange("GET", "/")
    assert "proxy" in caught.value.detail
    assert caught.value.params["server"] == "https://127.0.0.1:9"


def test_an_inspecting_proxy_is_a_certificate_error(monkeypatch, authority):
    """A proxy that ends TLS itself shows a certificate nobody pinned."""
    with serving(context=_tls(trustme.CA())) as inspector:
        with (
            _transport(_url(inspector, "https"), _pem(authority)) as transport,
            pytest.raises(CertificateInvalid) as caught,
        ):
            transport.exchange("GET", "/")
        assert caught.value.exit_code == 5


def test_a_proxy_variable_that_is_none_is_a_wrong_setting(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "gopher://x")
    with pytest.raises(ConfigInvalid):
        HttpTransport(TransportSettings("https://127.0.0.1:1"))


def test_a_stream_gives_pieces_and_status():
    def say(handler):
        return 206, {"ETag": '"x"'}, b"y" * 600_000

    with (
        serving(say) as server,
        _transport(_url(server)) as transport,
        transport.stream("/v1/blobs/x", headers={"Range": "bytes=5-"}) as stream,
    ):
        assert stream.status == 206
        assert stream.headers["etag"] == '"x"'
        assert b"".join(stream.chunks) == b"y" * 600_000
        assert server.seen[0][2]["Range"] == "bytes=5-"


def test_importing_the_client_pulls_in_nothing_heavy():
    import subprocess
    import sys

    heavy = ["httpx", "ssl", "tuf", "urllib3", "sqlite3", "platformdirs", "litestar"]
    code = f"import modelseal.client, sys; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
