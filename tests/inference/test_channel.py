"""Who gets to see an input: the service that proved itself on that very connection, nobody else."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import socket
import ssl
import threading
from datetime import UTC, datetime

import numpy as np
import pytest
from tests.inference.serving import policy_for, serving, software

import modelseal
from modelseal import errors
from modelseal.attest.verify import strict
from modelseal.crypto.signing import SigningKey
from modelseal.inference import binding
from modelseal.inference.app import Bounds
from modelseal.inference.calling import Ports
from modelseal.inference.proving import ChannelKey
from modelseal.strict_json import b64u, unb64u

X = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=np.float32)
connect = modelseal.attest.connect


@pytest.fixture
def service(model, root):
    with serving([model], [software(root)]) as running:
        yield running


def asked(running) -> int:
    """How many inferences the service was asked for, refused ones included."""
    text = running._service.metrics.text()
    lines = [x for x in text.splitlines() if x.startswith("modelseal_inference_requests_total{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


def evidence_of(url: str, nonce: bytes) -> bytes:
    """What anybody gets who asks the service at ``url``."""
    host, _, port = url.removeprefix("https://").rpartition(":")
    made = http.client.HTTPSConnection(host, int(port), context=ssl._create_unverified_context())
    with contextlib.closing(made):
        made.request("GET", f"/v1/evidence?nonce={b64u(nonce)}")
        return made.getresponse().read()


@contextlib.contextmanager
def impostor(answer, key: ChannelKey | None = None):
    """A TLS server that answers by ``answer(path) -> body``, and what it was sent."""
    context = (key or ChannelKey.generate(datetime.now(UTC))).context()
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as tls:
                tls.settimeout(60)
                data = b""
                while part := tls.recv(65536):
                    data += part
                    seen.append(part)
                    if data.endswith(b"\r\n\r\n"):
                        path = data.split(b" ")[1].decode()
                        body = answer(path)
                        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                        tls.sendall(head.encode() + body)
                        data = b""

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def nonce_in(path: str) -> bytes:
    return unb64u(path.partition("nonce=")[2])


def test_a_proved_service_answers_as_the_model_does_here(service, model, root):
    with connect(service.url, policy_for(root)) as proved:
        assert proved.result.affirming
        assert proved.models == {"rows": model.file_id}
        answer = proved.infer("rows", {"x": X})
    (here,) = model.session.run(["y"], {"x": X})
    assert np.array_equal(answer["y"], here) and answer["y"].dtype == np.float32


def test_evidence_of_another_key_sends_no_input(service):
    with pytest.raises(errors.EvidenceInvalid) as caught:
        connect(service.url, policy_for(SigningKey.generate("Ed25519")))
    assert caught.value.params["verdict"] == "chain_not_anchored"
    assert asked(service) == 0


def test_no_shipped_policy_takes_the_word_of_software(service):
    with pytest.raises(errors.EvidenceInvalid):
        connect(service.url, strict())


def test_software_is_refused_where_the_policy_does_not_name_it(service, root):
    with pytest.raises(errors.EvidenceRefused) as caught:
        connect(service.url, policy_for(root, accepts=False))
    assert caught.value.params["verdict"] == "software_only"
    assert asked(service) == 0


@pytest.mark.parametrize("policy", [None, "", b"", b"{}", 7])
def test_without_a_policy_nobody_is_asked(service, policy):
    with pytest.raises(errors.Misuse):
        connect(service.url, policy)
    assert "outcome" not in service._service.metrics.text().partition("evidence_total{")[2]


def test_a_relay_with_its_own_tls_key_is_refused(service, root):
    """The cuckoo: genuine evidence for this very nonce, on another endpoint's connection."""
    with impostor(lambda path: evidence_of(service.url, nonce_in(path))) as (url, seen):
        with pytest.raises(errors.EvidenceRefused) as caught:
            connect(url, policy_for(root))
        assert caught.value.params["verdict"] == "binding_mismatch"
        assert b"infer" not in b"".join(seen)


def test_recorded_evidence_is_refused_even_by_who_holds_the_key(service, root):
    old = evidence_of(service.url, bytes(binding.NONCE_BYTES))
    with impostor(lambda _path: old, service.key) as (url, _):
        with pytest.raises(errors.EvidenceRefused) as caught:
            connect(url, policy_for(root))
        assert caught.value.params["verdict"] == "binding_mismatch"


def test_evidence_that_names_other_models_is_refused(service, root):
    def renamed(path: str) -> bytes:
        told = json.loads(evidence_of(service.url, nonce_in(path)))
        told["models"] = {"other": "00" * 32}
        return json.dumps(told).encode()

    with impostor(renamed, service.key) as (url, _), pytest.raises(errors.EvidenceRefused):
        connect(url, policy_for(root))


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"\xff" * 40, b'{"typ":"modelseal-inference-evidence"}', b"[" * 90000],
)
def test_an_answer_that_is_no_evidence_sends_no_input(root, body):
    with impostor(lambda _path: body) as (url, seen), pytest.raises(errors.AnswerInvalid):
        connect(url, policy_for(root))
    assert b"infer" not in b"".join(seen)


def test_evidence_of_an_unknown_kind_is_refused(service, root):
    def unknown(path: str) -> bytes:
        told = json.loads(evidence_of(service.url, nonce_in(path)))
        told["evidence"][0]["kind"] = "moonbeam"
        return json.dumps(told).encode()

    with impostor(unknown, service.key) as (url, _), pytest.raises(errors.EvidenceInvalid):
        connect(url, policy_for(root))


def test_an_unproved_server_cannot_speak_for_the_license(root):
    """What it says is no verdict: the error is that of a server that failed."""
    made = ChannelKey.generate(datetime.now(UTC)).context()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        plain, _ = listener.accept()
        with made.wrap_socket(plain, server_side=True) as tls:
            tls.recv(65536)
            body = b'{"error":"x","code":"license_revoked"}'
            head = b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n" % len(body)
            tls.sendall(head + body)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with contextlib.closing(listener), pytest.raises(errors.ServerFailed):
        connect(f"https://127.0.0.1:{listener.getsockname()[1]}", policy_for(root))
    thread.join(10)


def test_a_connection_that_broke_is_proved_anew(service, root):
    with connect(service.url, policy_for(root)) as proved:
        first = proved.infer("rows", {"x": X})
        proved._http.sock.shutdown(socket.SHUT_RDWR)
        again = proved.infer("rows", {"x": X})
        assert np.array_equal(first["y"], again["y"])
    text = service._service.metrics.text()
    assert 'modelseal_evidence_total{outcome="ok"} 2' in text


def test_who_takes_over_the_address_gets_no_input(model, root):
    with serving([model], [software(root)]) as service:
        proved = connect(service.url, policy_for(root))
        proved.infer("rows", {"x": X})
    with impostor(lambda _path: b"{}") as (url, seen):
        proved._place = type(proved._place).of(url)  # the address leads elsewhere now
        with pytest.raises((errors.AnswerInvalid, errors.EvidenceInvalid)):
            proved.infer("rows", {"x": X})
        assert b"infer" not in b"".join(seen)
        assert X.tobytes() not in b"".join(seen)
    proved.close()


def test_a_proof_that_grew_old_is_made_anew(service, root):
    clock = [0.0]
    ports = Ports(monotonic=lambda: clock[0])
    with connect(service.url, policy_for(root), ports=ports) as proved:
        proved.infer("rows", {"x": X})
        clock[0] = 3601.0
        proved.infer("rows", {"x": X})
    assert 'modelseal_evidence_total{outcome="ok"} 2' in service._service.metrics.text()


def test_a_closed_connection_stays_closed(service, root):
    proved = connect(service.url, policy_for(root))
    proved.close()
    with pytest.raises(errors.ClientClosed):
        proved.infer("rows", {"x": X})


def test_tls_below_1_3_is_not_spoken(service):
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    host, _, port = service.url.removeprefix("https://").rpartition(":")
    with socket.create_connection((host, int(port))) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "127.0.0.1:1", "https://", "https://u@h:1", "https://h:x", "h"]
)
def test_only_https_is_called(url, root):
    with pytest.raises(errors.ConfigInvalid):
        connect(url, policy_for(root))


def test_two_services_have_two_keys(model, root):
    with serving([model], [software(root)]) as one, serving([model], [software(root)]) as two:
        assert one.key.spki != two.key.spki
        nonce = bytes(range(32))
        values = {
            binding.bound("software", binding.transcript(nonce, s.key.spki, {"rows": "ab"}))
            for s in (one, two)
        }
        assert len(values) == 2


def test_a_token_is_shown_only_after_the_proof(model, root):
    tokens = frozenset({hashlib.sha256(b"let-me-in-please").digest()})
    with serving([model], [software(root)], bounds=Bounds(tokens=tokens)) as service:
        proved = connect(service.url, policy_for(root))
        with proved, pytest.raises(errors.CredentialInvalid):
            proved.infer("rows", {"x": X})
        with connect(service.url, policy_for(root), token="let-me-in-please") as proved:
            assert proved.infer("rows", {"x": X})["y"].shape == (2, 3)
    with impostor(lambda _path: b"{}") as (url, seen):
        with pytest.raises(errors.AnswerInvalid):
            connect(url, policy_for(root), token="let-me-in-please")
        assert b"let-me-in" not in b"".join(seen)


def test_keys_of_the_channel_are_not_shown(service):
    assert "PRIVATE" not in repr(service.key)
