"""The client against the real license server over HTTPS: the daily path and the bad input.

One server for the module, one license per test. The clock is the real one, so that certificates
and the catalog are judged as in life; what needs time to pass is tested against the fake.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from tests.client.world import computer

from modelseal import errors
from modelseal.admin import IssueLicense, LicenseChange, PlanDraft
from modelseal.client import Client, Ports
from modelseal.desk import publishing, sealing, workspace
from modelseal.errors import (
    AnswerUnsigned,
    CertificateInvalid,
    DeviceReturned,
    EulaNotAccepted,
    Forked,
    LicenseExpired,
    LicenseRevoked,
    LicenseSuspended,
    NoFreeSeat,
    NotEntitled,
    ServerUnreachable,
    TrialUsed,
    UnknownLicenseKey,
)
from modelseal.license import license_key
from modelseal.license.claims import Eula
from modelseal.license.plans import Plan, PlanEntitlement
from modelseal.strict_json import unb64u
from modelseal.testing.server import RunningServer

PLAIN = b"weights of a face swapper " * 60_000
EULA = "e" * 43
PLANS = {
    "trial": Plan(entitlements=[PlanEntitlement(id="face.swap")]),
    "pro": Plan(entitlements=[PlanEntitlement(id="face.swap"), PlanEntitlement(id="face.restore")]),
    "three": Plan(entitlements=[PlanEntitlement(id="face.swap")], seats=3),
    "online": Plan(entitlements=[PlanEntitlement(id="face.swap")], enforcement="online"),
    "eula": Plan(entitlements=[PlanEntitlement(id="face.swap")], eula=Eula(digest=EULA, uri="https://example.com/eula")),
    "free": Plan(
        entitlements=[PlanEntitlement(id="face.swap")], trial_once_per_device=True,
        period_seconds=14 * 86400,
    ),
    "many": Plan(entitlements=[PlanEntitlement(id="many.models")]),
}  # fmt: skip


@dataclass
class Shop:
    """A publisher with a running server and two published models."""

    server: RunningServer
    folder: Path
    offset: list[timedelta]
    sealed: dict[str, Path] = field(default_factory=dict)

    def publish(self, name: str, entitlement: str, plain: bytes = PLAIN, **more) -> bytes:
        """The file id of a model sealed and published now."""
        place = self.folder / name
        place.write_bytes(plain)
        output = self.folder / f"{name}.{len(self.sealed)}.sealed"
        with workspace.open(self.server.home) as desk:
            made = sealing.seal_paths(
                desk, [place], output, entitlements=[entitlement], chunk_bytes=65536, **more
            )
            publishing.publish(desk, self.server.admin, output)
        self.sealed[name] = output
        place.unlink()
        return unb64u(made[0].file_id)

    def issue(self, plan: str = "trial", **more) -> tuple[str, str]:
        more.setdefault("expires_in_seconds", 30 * 86400)
        wish = IssueLicense(plan=plan, customer="li@example.com", **more)
        made = self.server.admin.issue_license(wish)
        return made.license_key, made.license_id


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    offset = [timedelta(0)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RunningServer(folder, now=lambda: datetime.now(UTC) + offset[0])
    with server:
        made = Shop(server, folder, offset)
        for name, terms in PLANS.items():
            server.admin.create_plan(PlanDraft(name=name, terms=terms))
        made.swap = made.publish("swap.onnx", "face.swap")
        made.restore = made.publish("restore.onnx", "face.restore", PLAIN[::-1])
        yield made


@pytest.fixture
def computers():
    """Every client of a test runs on the same computer unless it says otherwise."""
    return {"this": computer(os.urandom(4).hex())}


@pytest.fixture
def make(shop, tmp_path, computers):
    with contextlib.ExitStack() as stack:

        def client(state="laptop", on="this", **more):
            traits = computers.setdefault(on, computer(os.urandom(4).hex()))
            ports = more.pop("ports", Ports(traits=lambda: traits, environ={}))
            more.setdefault("server", shop.server.url)
            more.setdefault("trust", shop.server.trust)
            made = Client(state=tmp_path / state, background=False, ports=ports, **more)
            return stack.enter_context(made)

        yield client


def _opens(client, file_id):
    secrets = client.keys_for(file_id, [0, 1])
    for secret in secrets.values():
        secret.close()
    return sorted(secrets) == [0, 1]


# -- the daily path


def test_from_the_license_key_to_the_data_key(shop, make, tmp_path):
    key, license_id = shop.issue()
    client = make()
    told = []
    status = client.activate(key, label="studio", on_progress=lambda *step: told.append(step))
    assert (status.state, status.license_id, status.plan) == ("ACTIVE", license_id, "trial")
    assert (status.label, status.entitlements, status.binding) == ("studio", ["face.swap"], "bound")
    pulled = client.pull(tmp_path / "models")
    assert [m.name for m in pulled.models] == ["swap.onnx"]
    assert "restore.onnx" in pulled.not_granted
    fetched = (tmp_path / "models" / "swap.onnx").read_bytes()
    assert fetched == shop.sealed["swap.onnx"].read_bytes()
    assert _opens(client, shop.swap)
    with pytest.raises(NotEntitled) as caught:
        client.keys_for(shop.restore, [1])
    assert caught.value.params["entitlement"] == "face.restore"
    assert client.pull(tmp_path / "models").models[0].outcome == "present"
    assert told


def test_from_trial_to_pro_is_one_renewal(shop, make):
    key, license_id = shop.issue()
    client = make()
    client.activate(key)
    shop.server.admin.change_license(license_id, LicenseChange(plan="pro"))
    status = client.renew()
    assert (status.plan, status.entitlements) == ("pro", ["face.restore", "face.swap"])
    assert _opens(client, shop.restore)


def test_a_model_published_later_is_pulled_after_one_renewal_by_itself(shop, make, tmp_path):
    key, _ = shop.issue("many")
    client = make()
    client.activate(key)
    late = shop.publish("late.onnx", "many.models", b"late" * 9999)
    pulled = client.pull(tmp_path / "m")
    assert pulled.renewed
    assert [m.name for m in pulled.models] == ["late.onnx"]
    assert _opens(client, late)
    newer = shop.publish("late.onnx", "many.models", b"newer" * 9999)
    assert _opens(client, newer)
    assert client.pull(tmp_path / "m").models[0].release == 2


def test_keys_for_one_run_come_from_the_server_and_stay_in_memory(shop, make):
    """A revocation reaches the running client by its heartbeat and every new run at once."""
    key, license_id = shop.issue("online")
    client = make()
    assert client.activate(key).lease.enforcement == "online"
    assert _opens(client, shop.swap)
    assert _opens(client, shop.swap)
    client.renew()
    assert _opens(client, shop.swap)
    shop.server.admin.revoke_license(license_id, "chargeback")
    client._keeper._poll(client.standing())
    for one in (client, make()):
        with pytest.raises(LicenseRevoked):
            _opens(one, shop.swap)
        assert one.status().state == "REVOKED"


def test_a_new_run_of_a_revoked_online_license_opens_nothing(shop, make):
    key, license_id = shop.issue("online")
    with make() as first:
        first.activate(key)
        assert _opens(first, shop.swap)
    shop.server.admin.revoke_license(license_id, "chargeback")
    with pytest.raises(LicenseRevoked):
        _opens(make(), shop.swap)


def test_a_revoked_license_ends_at_the_next_renewal_with_a_reference(shop, make, tmp_path):
    key, license_id = shop.issue()
    client = make()
    client.activate(key)
    shop.server.admin.revoke_license(license_id, "chargeback")
    with pytest.raises(LicenseRevoked) as caught:
        client.renew()
    explained = shop.server.admin.explain(caught.value.reference)
    assert "license_revoked" in str(explained)
    assert client.status().state == "REVOKED"
    assert client.status().last_refusal.reference == caught.value.reference
    assert "chargeback" in client.status().last_refusal.reason
    assert not (tmp_path / "laptop" / "lease.jwt").exists()
    with pytest.raises(LicenseRevoked):
        _opens(client, shop.swap)


def test_a_running_client_hears_of_a_revocation_from_the_status_list(shop, make):
    key, license_id = shop.issue()
    events = []
    client = make(on_event=events.append)
    client.activate(key)
    client._keeper.beat()
    shop.server.admin.revoke_license(license_id, "chargeback")
    client._keeper._poll(client.standing())
    assert client.status().state == "REVOKED"
    assert client._events.drain(5)
    assert "refused" in [str(event.name) for event in events]


def test_suspended_and_resumed(shop, make):
    key, license_id = shop.issue()
    client = make()
    client.activate(key)
    shop.server.admin.suspend_license(license_id, "unpaid")
    with pytest.raises(LicenseSuspended):
        client.renew()
    with pytest.raises(LicenseSuspended):
        _opens(client, shop.swap)
    shop.server.admin.resume_license(license_id)
    assert client.renew().state == "ACTIVE"
    assert _opens(client, shop.swap)


def test_lookup_then_agreement_then_activation(shop, make):
    key, _ = shop.issue("eula")
    client = make()
    found = client.lookup(key)
    assert (found.plan, found.seats, found.eula.digest) == ("eula", 1, EULA)
    with pytest.raises(EulaNotAccepted):
        client.activate(key)
    client.activate(key, eula=EULA, label="desk")
    assert client.lookup(key).holders[0].label == "desk"


def test_a_trial_is_given_once_per_computer(shop, make):
    first = make("one")
    license_key.parse(first.start_trial("free"))
    assert _opens(first, shop.swap)
    with pytest.raises(TrialUsed):
        make("two").start_trial("free")
    assert make("three", on="another").start_trial("free")


# -- bad input


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
    assert _opens(second, shop.swap)
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
        _opens(first, shop.swap)
    assert second.activate(key).state == "ACTIVE"
    with pytest.raises(NoFreeSeat):
        first.activate(key)


def test_the_same_device_may_return_and_come_back(shop, make):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    client.deactivate()
    assert client.activate(key).state == "ACTIVE"
    assert _opens(client, shop.swap)


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
        assert _opens(client, shop.swap)
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
    assert _opens(client, shop.swap)


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
        assert _opens(client, shop.swap)
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
    assert _opens(client, shop.swap)


def test_a_captive_portal_is_told_and_harms_no_lease(shop, make):
    client = make()
    client.activate(shop.issue()[0])
    with _serving() as portal:
        url = f"http://127.0.0.1:{portal.server_address[1]}"
        with pytest.raises(AnswerUnsigned) as caught:
            make(server=url).renew()
    assert "Hotel WiFi" in caught.value.message
    assert _opens(client, shop.swap)


def test_a_state_folder_restored_from_a_backup_is_seen_and_heals_with_the_key(shop, make, tmp_path):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    shutil.copytree(tmp_path / "laptop", tmp_path / "backup")
    client.renew()
    client.renew()
    shutil.rmtree(tmp_path / "laptop")
    shutil.copytree(tmp_path / "backup", tmp_path / "laptop")
    restored = make()
    with pytest.raises(Forked):
        restored.renew()
    assert restored.status().state == "FORKED"
    restored.activate(key)
    assert _opens(restored, shop.swap)
    assert restored.renew().state == "ACTIVE"


def test_a_copy_of_the_folder_is_found_at_its_first_renewal(shop, make, tmp_path):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    shutil.copytree(tmp_path / "laptop", tmp_path / "copy")
    client.renew()
    with pytest.raises(Forked):
        make("copy").renew()


def test_an_edited_folder_is_named_and_heals_with_the_key(shop, make, tmp_path):
    key, _ = shop.issue()
    client = make()
    client.activate(key)
    place = tmp_path / "laptop" / "license.jwt"
    head, body, signature = place.read_text().split(".")
    place.write_text(f"{head}.{body[:-4]}AAAA.{signature}")
    with pytest.raises(errors.StateDamaged) as caught:
        _opens(make(), shop.swap)
    assert "license.jwt" in caught.value.params["path"]
    client.activate(key)
    assert _opens(client, shop.swap)


@pytest.mark.parametrize("plan", ["trial", "online"])
@pytest.mark.parametrize("act", ["renew", "activate", "return", "load"])
def test_a_number_written_into_the_note_by_hand_locks_nobody_out(shop, make, tmp_path, act, plan):
    """The server knows no such number; what is signed counts then."""
    key, _ = shop.issue(plan)
    client = make()
    client.activate(key)
    place = tmp_path / "laptop" / "state.json"
    place.write_bytes(place.read_bytes().replace(b'"seq":1', b'"seq":77'))
    assert b'"seq":77' in place.read_bytes()
    does = {
        "renew": client.renew,
        "activate": lambda: client.activate(key),
        "return": client.deactivate,
        "load": lambda: _opens(client, shop.swap),
    }
    does[act]()
    if act == "return":
        client.activate(key)
    assert client.renew().state == "ACTIVE"
    assert _opens(client, shop.swap)


def test_a_lost_reply_of_the_real_server_is_answered_again(shop, make):
    """The connection dies after the server did its work: same lease, no fork."""
    from modelseal.client.transport import HttpTransport

    class Losing(HttpTransport):
        lose = False

        def exchange(self, *args, **more):
            answer = super().exchange(*args, **more)
            if Losing.lose:
                Losing.lose = False
                raise ServerUnreachable("the reply was lost")
            return answer

    traits = computer("loser")
    ports = Ports(traits=lambda: traits, environ={}, transport=Losing)
    client = make(ports=ports)
    key, _ = shop.issue()
    Losing.lose = True
    with pytest.raises(ServerUnreachable):
        client.activate(key)
    assert client.activate(key).lease.seq == 1
    Losing.lose = True
    with pytest.raises(ServerUnreachable):
        client.renew()
    assert client.renew().lease.seq == 2
    assert client.renew().lease.seq == 3
    Losing.lose = True
    with pytest.raises(ServerUnreachable):
        client.deactivate()
    assert client.deactivate().seat_free_at is not None


def test_a_lost_denial_is_told_again(shop, make):
    from modelseal.client.transport import HttpTransport

    class Losing(HttpTransport):
        lose = False

        def exchange(self, *args, **more):
            answer = super().exchange(*args, **more)
            if Losing.lose:
                Losing.lose = False
                raise ServerUnreachable("the reply was lost")
            return answer

    traits = computer("loser")
    client = make(ports=Ports(traits=lambda: traits, environ={}, transport=Losing))
    key, license_id = shop.issue()
    client.activate(key)
    shop.server.admin.suspend_license(license_id, "unpaid")
    Losing.lose = True
    with pytest.raises(ServerUnreachable):
        client.renew()
    with pytest.raises(LicenseSuspended):
        client.renew()
    shop.server.admin.resume_license(license_id)
    assert client.renew().state == "ACTIVE"
    assert _opens(client, shop.swap)


PROGRAM = """
import json, sys
from tests.client.world import computer
from modelseal.client import Client, Ports
from modelseal.errors import ModelsealError
url, trust, state, what, key = sys.argv[1:]
traits = computer("shared")
client = Client(state=state, server=url, trust=trust, background=False,
                ports=Ports(traits=lambda: traits, environ={}))
print("ready", flush=True)
sys.stdin.readline()
try:
    status = client.activate(key) if what == "activate" else client.renew()
    print(json.dumps([str(status.state), status.lease.seq, status.device_id]))
except ModelsealError as error:
    print(json.dumps([error.code, 0, ""]))
"""


def _at_once(shop, state, what, key, count=3):
    arguments = [shop.server.url, str(shop.server.trust), str(state), what, key]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(count)
    ]  # fmt: skip
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    return [json.loads(child.communicate(timeout=60)[0]) for child in children]


@pytest.mark.parametrize(
    ("plan", "acts"),
    [("trial", ["renew"]), ("online", ["release"]), ("online", ["renew", "release"]),
     ("online", ["release", "renew"]), ("trial", ["return"])],
)  # fmt: skip
def test_a_denial_that_was_lost_and_is_no_longer_true_makes_no_fork(shop, make, plan, acts):
    """Suspended, the refusal lost on the way, resumed: the same question brings the lease."""
    from modelseal.client.transport import HttpTransport

    class Losing(HttpTransport):
        lose = False

        def exchange(self, method, path, **more):
            answer = super().exchange(method, path, **more)
            if Losing.lose and method in ("PUT", "POST"):
                raise ServerUnreachable("the reply was lost")
            return answer

    key, license_id = shop.issue(plan)
    traits = computer("loser")
    client = make(ports=Ports(traits=lambda: traits, environ={}, transport=Losing))
    client.activate(key)
    does = {
        "renew": client.renew,
        "release": lambda: client.keys_for(shop.swap, [0]),
        "return": client.deactivate,
    }
    shop.server.admin.suspend_license(license_id, "unpaid")
    Losing.lose = True
    for act in acts:
        with pytest.raises(ServerUnreachable):
            does[act]()
    Losing.lose = False
    shop.server.admin.resume_license(license_id)
    if acts == ["return"]:
        client.activate(key)
    assert client.renew().state == "ACTIVE"
    assert _opens(client, shop.swap)


def test_processes_that_activate_and_renew_at_once_take_turns(shop, make, tmp_path):
    key, license_id = shop.issue()
    activated = _at_once(shop, tmp_path / "shared", "activate", key)
    assert {state for state, _, _ in activated} == {"ACTIVE"}
    assert len({device for _, _, device in activated}) == 1
    renewed = _at_once(shop, tmp_path / "shared", "renew", key)
    assert {state for state, _, _ in renewed} == {"ACTIVE"}
    traits = computer("shared")
    client = make("shared", ports=Ports(traits=lambda: traits, environ={}))
    assert client.renew().state == "ACTIVE"
    assert _opens(client, shop.swap)
    devices = shop.server.admin.list_devices(license_id).items
    assert len(devices) == 1


def test_a_truncated_download_resumes_and_ends_right(shop, make, tmp_path):
    from modelseal.client.transport import HttpTransport, Stream

    class Cutting(HttpTransport):
        cut = True
        ranges = []

        @contextlib.contextmanager
        def stream(self, url, *, headers=None):
            with super().stream(url, headers=headers) as whole:
                if "/blobs/" not in url:
                    yield whole
                    return
                Cutting.ranges.append((headers or {}).get("Range"))
                yield Stream(whole.status, whole.headers, self._cut(whole.chunks))

        def _cut(self, chunks):
            left = 300_000
            for chunk in chunks:
                if Cutting.cut and left <= 0:
                    raise ServerUnreachable("cut")
                left -= len(chunk)
                yield chunk

    traits = computer("cutter")
    client = make(ports=Ports(traits=lambda: traits, environ={}, transport=Cutting))
    client.activate(shop.issue()[0])
    client.pull(tmp_path / "m")
    assert (tmp_path / "m" / "swap.onnx").read_bytes() == shop.sealed["swap.onnx"].read_bytes()
    assert Cutting.ranges[0] is None
    assert len(Cutting.ranges) > 2
    assert all(r.startswith("bytes=") for r in Cutting.ranges[1:])


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 512 KiB, where this user may mount one."""
    place = tmp_path / "tiny"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(place)], capture_output=True
    )
    if made.returncode != 0:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_under_the_models_keeps_what_was_verified(shop, make, tiny_disk, tmp_path):
    client = make()
    client.activate(shop.issue()[0])
    with pytest.raises(errors.DiskFull) as caught:
        client.pull(tiny_disk / "m")
    assert caught.value.exit_code == 5
    assert not (tiny_disk / "m" / "swap.onnx").exists()
    assert _opens(client, shop.swap)
    assert client.pull(tmp_path / "roomy").models[0].outcome == "downloaded"


def test_a_full_disk_under_the_state_leaves_the_old_lease_in_force(shop, make, tiny_disk):
    client = make(tiny_disk / "state")
    client.activate(shop.issue()[0])
    filler = tiny_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 1024)
    with pytest.raises(errors.DiskFull):
        client.renew()
    assert _opens(client, shop.swap)
    filler.unlink()
    assert client.renew().state == "ACTIVE"


def test_a_full_disk_in_the_middle_of_a_pull_is_told_wherever_it_happens(shop, make, tiny_disk):
    """State, catalog and models on one small disk: each level of filling ends in our error."""
    client = make(tiny_disk / "state")
    client.activate(shop.issue()[0])
    filler = tiny_disk / "filler"
    codes = set()
    for kilobytes in range(0, 480, 24):
        with contextlib.suppress(OSError):
            filler.write_bytes(b"x" * kilobytes * 1024)
        with pytest.raises(errors.Unavailable) as caught:
            client.pull()
        codes.add(caught.value.code)
        assert client.status().state == "ACTIVE"
        assert _opens(client, shop.swap)
    filler.unlink()
    assert codes == {"disk_full"}
    assert client.renew().state == "ACTIVE"


def test_a_state_folder_that_is_read_only_opens_models_and_says_so_where_it_must_write(
    shop, make, tiny_disk
):
    for plan in ("trial", "online"):
        client = make(tiny_disk / plan)
        client.activate(shop.issue(plan)[0])
        subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
        try:
            with make(tiny_disk / plan) as reader:
                assert reader.status().state == "ACTIVE"
                assert _opens(reader, shop.swap)
                for act in (reader.renew, reader.deactivate, reader.pull):
                    with pytest.raises(errors.StateNotWritable) as caught:
                        act()
                    assert caught.value.next_step
                assert _opens(reader, shop.swap)
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(tiny_disk)], check=True)
        assert client.renew().state == "ACTIVE"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root to drop from")
def test_activated_as_root_and_used_as_somebody_else_says_whose_it_is(shop, make, tmp_path):
    client = make()
    client.activate(shop.issue()[0])
    for place in (tmp_path, *tmp_path.parents[:2]):
        place.chmod(0o755)
    code = (
        "import os, sys\n"
        "from tests.client.world import computer\n"
        "from modelseal.client import Client, Ports\n"
        "from modelseal.errors import ModelsealError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: Client(state=sys.argv[1], background=False, ports=Ports(environ={})).status()\n"
        "except ModelsealError as e: print(e.code, e.exit_code, e.params['owner'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "laptop")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "state_not_readable 5 root"


def test_the_licensed_file_really_opens(shop, make, tmp_path):
    """With the keys the client hands out, and with no others."""
    from modelseal import container

    client = make()
    client.activate(shop.issue()[0])
    place = Path(client.pull(tmp_path / "m").models[0].path)
    model = container.parse(container.BytesSource(place.read_bytes())).verify_signatures(
        client.trust.publisher_keys(), product="facefusion"
    )
    secrets = client.keys_for(model.file_id, [0, 1])
    index = model.open_index(secrets[0].view)
    target = bytearray(len(PLAIN))
    model.read_entry(index.entries[0], {1: secrets[1].view}, memoryview(target))
    assert bytes(target) == PLAIN


def test_nothing_of_the_model_or_its_keys_lies_in_clear_in_the_state(shop, make, tmp_path):
    client = make()
    client.activate(shop.issue()[0])
    client.pull()
    secrets = [s.reveal() for s in client.keys_for(shop.swap, [0, 1]).values()]
    content = b"".join(p.read_bytes() for p in (tmp_path / "laptop").rglob("*") if p.is_file())
    assert len(secrets) == 2
    for secret in (*secrets, PLAIN[:64]):
        assert secret not in content


PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "embed-in-an-app.md"


def test_the_page_on_embedding_works_as_it_is_written(shop, tmp_path, monkeypatch):
    """Its two files, its code: a mistyped key, a taken seat, then activated and pulled."""
    blocks = PAGE.read_text("utf-8").split("```")
    toml = next(b for b in blocks if b.startswith("toml\n")).removeprefix("toml\n")
    code = next(b for b in blocks if "ms.activate(" in b).removeprefix("python\n")
    for example, real in (
        ("https://license.example.com", shop.server.url), ("cdn.example.com", "127.0.0.1:9"),
    ):  # fmt: skip
        toml = toml.replace(example, real)
    (tmp_path / "modelseal.toml").write_text(toml)
    (tmp_path / "trust.json").write_bytes(Path(shop.server.trust).read_bytes())
    (tmp_path / "EULA.txt").write_text("the agreement")
    monkeypatch.setenv("MODELSEAL_APP", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    key, _ = shop.issue()
    monkeypatch.setenv("MODELSEAL_STATE", str(tmp_path / "other"))
    with Client(background=False) as other:
        other.activate(key, label="the old laptop")
    monkeypatch.setenv("MODELSEAL_STATE", str(tmp_path / "state"))
    typed, told, chosen, bars = [key[:-1] + ("0" if key[-1] != "0" else "1"), key], [], [], []

    def choose(devices):
        chosen.append(devices[0]["label"])
        return devices[0]["device_id"]

    names = {
        "show": print, "tell": lambda *words: told.append(words), "choose": choose,
        "ask": lambda what: typed.pop(0) if what == "License key" else "desk",
        "bar": lambda name, done, total: bars.append((name, done == total)),
    }  # fmt: skip
    exec(compile(code, str(PAGE), "exec"), names)
    with names["ms"] as ms:
        assert (told, chosen) == ([("Look again at group 4",)], ["the old laptop"])
        assert ms.status().label == "desk"
        assert ("swap.onnx", True) in bars
        assert (tmp_path / "models" / "swap.onnx").exists()
        assert _opens(ms, shop.swap)


def test_an_app_finds_everything_in_its_modelseal_toml(shop, tmp_path, monkeypatch):
    folder = tmp_path / "app"
    folder.mkdir()
    shutil.copy(shop.server.trust, folder / "trust.json")
    (folder / "modelseal.toml").write_text(
        f'product = "facefusion"\nserver = "{shop.server.url}"\ntrust = "trust.json"\n'
    )
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    traits = computer("app")
    ports = Ports(traits=lambda: traits, environ={})
    with Client(folder, background=False, ports=ports) as client:
        client.activate(shop.issue()[0])
        assert _opens(client, shop.swap)
    assert (tmp_path / "data" / "facefusion" / "lease.jwt").exists()
