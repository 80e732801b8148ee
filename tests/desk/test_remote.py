"""Admin calls over real HTTPS on the loopback: what is sent, and what every answer means.

That the real server answers these calls is proved by the contract suite over both ``AdminApi``.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelseal.admin import AdminApi, IssueLicense, LicenseState, PublishModel, Role
from modelseal.desk import sealing
from modelseal.desk import workspace as workspaces
from modelseal.desk.channel import check_url
from modelseal.desk.remote import RemoteAdmin
from modelseal.desk.workspace import Workspace
from modelseal.errors import (
    AccessDenied,
    AnswerInvalid,
    AnswerUnsigned,
    CertificateInvalid,
    ConfigInvalid,
    CredentialInvalid,
    Misuse,
    ModelsealError,
    NotFound,
    NotSealed,
    RateLimited,
    ServerFailed,
    ServerUnreachable,
)
from modelseal.license.claims import SealedText

TOKEN = "ms_token"
CHECKPOINT = {"size": 3, "root_hash": "ab", "note": "n"}
Answer = tuple[int, str, bytes]


class Script:
    """A server that answers with what it was told, and remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls" / "server.pem", folder / "tls" / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def says(self, value: Any, status: int = 200, media: str = "application/json") -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.answers.append((status, media, body))

    def _handler(script) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                script.asked.append((self.command, self.path, headers, self.rfile.read(size)))
                status, media, body = script.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Type", media)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Retry-After", "7")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

        return Handler


@pytest.fixture
def script(shop: Workspace) -> Iterator[Script]:
    """A scripted server with the workspace's certificate."""
    made = Script(shop.server)
    yield made
    made.close()


@pytest.fixture
def remote(shop: Workspace, script: Script) -> Iterator[RemoteAdmin]:
    """A client of it that trusts ``trust.json``."""
    with RemoteAdmin(script.url, TOKEN, trust=shop.trust.raw) as made:
        yield made


def test_it_is_an_admin_api(remote: RemoteAdmin) -> None:
    api: AdminApi = remote
    assert api is remote


def test_the_token_goes_along_and_the_answer_is_the_struct(
    remote: RemoteAdmin, script: Script
) -> None:
    script.says({**CHECKPOINT, "of_a_later_release": True})
    assert remote.checkpoint().size == 3
    ((method, path, headers, body),) = script.asked
    assert (method, path, body) == ("GET", "/v1/admin/checkpoint", b"")
    assert headers["authorization"] == f"Bearer {TOKEN}"


def test_queries_bodies_and_odd_names_reach_the_server_as_they_are(
    remote: RemoteAdmin, script: Script
) -> None:
    page = {"items": [], "next_cursor": None}
    script.says(page)
    remote.list_licenses(customer="li@example.com", state=LicenseState.ACTIVE)
    assert script.asked[-1][1] == "/v1/admin/licenses?customer=li%40example.com&state=active"
    script.says({"code": "not_found"}, 404, "application/problem+json")
    with pytest.raises(NotFound):
        remote.show_model("a;..%b ü", 3)
    assert script.asked[-1][1] == "/v1/admin/models/a%3B..%25b%20%C3%BC?release=3"
    script.says({"code": "conflict"}, 409, "application/problem+json")
    with pytest.raises(ModelsealError):
        remote.issue_license(IssueLicense(plan="trial", customer="li"))
    assert json.loads(script.asked[-1][3]) == {"plan": "trial", "customer": "li"}
    script.says({"code": "conflict"}, 409, "application/problem+json")
    sealed = SealedText(recipient="r" * 43, suite="s", ct="c")
    with pytest.raises(ModelsealError):
        remote.publish_model(
            PublishModel(blob_digest="0" * 64, sealed_keys=sealed, targets=b"\x00")
        )
    assert json.loads(script.asked[-1][3])["targets"] == "AA=="


PROBLEMS: list[tuple[int, str, type[ModelsealError]]] = [
    (403, "access_denied", AccessDenied),
    (401, "credential_invalid", CredentialInvalid),
    (404, "not_found", NotFound),
    (429, "rate_limited", RateLimited),
    (429, "of_a_later_release", RateLimited),
    (418, "of_a_later_release", ServerFailed),
    (500, "error", ServerFailed),
]


@pytest.mark.parametrize(("status", "code", "expected"), PROBLEMS)
def test_a_problem_is_the_error_it_names(
    remote: RemoteAdmin, script: Script, status: int, code: str, expected: type[ModelsealError]
) -> None:
    body = {"code": code, "detail": "no", "params": {"limit": 7}, "reference": "ABCD1234"}
    script.says(body, status, "application/problem+json")
    with pytest.raises(expected) as caught:
        remote.checkpoint()
    assert type(caught.value) is expected and caught.value.reference == "ABCD1234"
    if expected is RateLimited:
        assert caught.value.params["retry_after_seconds"] == 7
    if expected is AccessDenied:
        assert caught.value.params["limit"] == 7 and caught.value.detail == "no"


NO_ANSWERS: list[tuple[Answer, type[ModelsealError]]] = [
    ((200, "text/html", b"<html>Sign in to the hotel</html>"), AnswerUnsigned),
    ((302, "text/html", b""), AnswerUnsigned),
    ((404, "text/plain", b"nope"), AnswerUnsigned),
    ((502, "text/html", b"bad gateway"), ServerFailed),
    ((403, "application/problem+json", b"{"), AnswerUnsigned),
    ((200, "application/json", b"{"), AnswerInvalid),
    ((200, "application/json", b"[]"), AnswerInvalid),
    ((200, "application/json", b'{"size":"3","root_hash":"","note":""}'), AnswerInvalid),
]


@pytest.mark.parametrize(("answer", "expected"), NO_ANSWERS)
def test_what_no_license_server_says_decides_nothing(
    remote: RemoteAdmin, script: Script, answer: Answer, expected: type[ModelsealError]
) -> None:
    script.answers.append(answer)
    with pytest.raises(expected) as caught:
        remote.checkpoint()
    assert type(caught.value) is expected
    assert TOKEN not in str(caught.value) + repr(caught.value.params)


def test_a_flood_is_cut_off(remote: RemoteAdmin, script: Script) -> None:
    script.says(b" " * (17 << 20))
    with pytest.raises(AnswerInvalid):
        remote.checkpoint()


def test_a_certificate_nobody_pinned_is_refused(
    script: Script, shop: Workspace, tmp_path: Path
) -> None:
    other = workspaces.init(tmp_path / "other", "facefusion")
    for trust in (None, other.trust.raw):
        with (
            RemoteAdmin(script.url, TOKEN, trust=trust) as remote,
            pytest.raises(CertificateInvalid),
        ):
            remote.checkpoint()
    assert script.asked == []


def test_an_authority_may_be_given_as_a_file(
    script: Script, shop: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(shop.trust.tls_ca or "")
    script.says(CHECKPOINT)
    with RemoteAdmin(script.url + "/", TOKEN, ca=path) as remote:
        assert remote.checkpoint().note == "n"
    for bad in (tmp_path / "none.pem", shop.home / "trust.json"):
        with pytest.raises(ConfigInvalid):
            RemoteAdmin(script.url, TOKEN, ca=bad)


def test_nobody_listening_is_unreachable(shop: Workspace, script: Script) -> None:
    script.close()
    with (
        RemoteAdmin(script.url, TOKEN, trust=shop.trust.raw) as remote,
        pytest.raises(ServerUnreachable),
    ):
        remote.checkpoint()


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "http://example.com", "ftp://example.com", "https://", "https://a:b@c",
        "https://a?x=1", "https://a#x", "https://[", "https://a:99999", "http://127.0.0.1.evil.com",
    ],
)  # fmt: skip
def test_the_token_goes_to_no_odd_address(url: str) -> None:
    with pytest.raises(Misuse):
        RemoteAdmin(url, TOKEN)


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.2", "http://[::1]:8443/"])
def test_plain_http_is_for_this_computer_only(url: str) -> None:
    assert check_url(url) == url.rstrip("/")


@pytest.mark.parametrize("token", ["", "a b", "a\n", "ü"])
def test_an_odd_token_is_misuse(token: str) -> None:
    with pytest.raises(Misuse):
        RemoteAdmin("https://localhost", token)


@pytest.fixture
def sealed(shop: Workspace, model_file: Callable[..., Path]) -> Path:
    """A sealed model."""
    sealing.seal_paths(shop, [model_file(size=3_000_000)], None, entitlements=["x"])
    return shop.home.parent / "swap.sealed"


def test_a_blob_is_sent_under_its_digest_without_its_crc_trailer(
    remote: RemoteAdmin, script: Script, sealed: Path
) -> None:
    data = sealed.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    sealed.write_bytes(data + b"\x01\x02\x03\x04")
    seen: list[tuple[int, int]] = []
    script.says({"digest": digest})
    assert remote.put_blob(sealed, lambda *p: seen.append(p)) == digest
    method, path, headers, body = script.asked[-1]
    assert (method, path) == ("PUT", f"/v1/admin/blobs/{digest}")
    assert body == data and headers["content-length"] == str(len(data))
    assert seen[-1] == (len(data), len(data)) and len(seen) == 3


def test_a_server_that_stored_something_else_is_found_out(
    remote: RemoteAdmin, script: Script, sealed: Path
) -> None:
    script.says({"digest": "0" * 64})
    with pytest.raises(AnswerInvalid):
        remote.put_blob(sealed)


def test_only_sealed_models_are_sent(
    remote: RemoteAdmin, script: Script, model_file: Callable[..., Path]
) -> None:
    with pytest.raises(NotSealed):
        remote.put_blob(model_file("plain.onnx"))
    assert script.asked == []


def test_the_log_comes_line_by_line(remote: RemoteAdmin, script: Script) -> None:
    script.says(b'{"a":1}\n{"a":2}\n\n{"a":3}', media="application/jsonl")
    assert [json.loads(line)["a"] for line in remote.export_events()] == [1, 2, 3]
    script.says({"code": "access_denied"}, 403, "application/problem+json")
    with pytest.raises(AccessDenied):
        list(remote.export_events())


def test_tokens_are_made_with_their_role(remote: RemoteAdmin, script: Script) -> None:
    script.says({"code": "access_denied"}, 403, "application/problem+json")
    with pytest.raises(AccessDenied):
        remote.create_token(Role.AUDITOR, 60, "ci")
    assert json.loads(script.asked[-1][3]) == {
        "role": "auditor", "expires_in_seconds": 60, "label": "ci",
    }  # fmt: skip
