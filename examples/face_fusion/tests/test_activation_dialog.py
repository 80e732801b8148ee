"""The activation dialog: the page, the conversation, and who may talk to it."""

from __future__ import annotations

import http.client
import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from face_fusion import activation_dialog, activation_page
from face_fusion.activation_dialog import Conversation, DialogServer, facts_of, run_dialog
from face_fusion.activation_page import Activated, Asking, Cancelled, Eula, Refusal, Working
from face_fusion.errors import ModelMissing

EULA = Eula("Be <kind>.", "d1ge57")
KEY = "MS-ABCDE-FGHJK-MNPQR-STVWX"


class Refused(Exception):
    """Shaped as modelseal's errors are."""

    code = "license_expired"
    reason = "It ended on 1 May."
    next_step = "Renew it at the shop."
    reference = "7F3K29QX"


class Client:
    """Stands in for modelseal.Client: knows one key; can be held back."""

    def __init__(self):
        self.asked = []
        self.hold = threading.Event()
        self.hold.set()

    def activate(self, license_key, *, eula):
        self.asked.append((license_key, eula))
        assert self.hold.wait(60)
        if license_key == "MS-BUG":
            raise RuntimeError("/secret/path")
        if license_key != KEY:
            raise Refused("The license has <expired>.")

    def status(self):
        return {"plan": "pro", "label": None, "entitlements": ["face.swap", "face.restore"]}


@pytest.fixture
def client():
    return Client()


@contextmanager
def _serving(client):
    with DialogServer(Conversation(client, "Face & Fusion", EULA)) as server:
        worker = threading.Thread(target=server.serve_forever, args=(0.01,))
        worker.start()
        try:
            yield server
        finally:
            server.shutdown()
            worker.join()


@pytest.fixture
def server(client):
    with _serving(client) as running:
        yield running


def ask(server, method="GET", path=None, form=None, **headers):
    """One request; status, headers, text."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    body = None
    if form is not None:
        body = form if isinstance(form, bytes) else urlencode(form)
        headers.setdefault("Content_Type", "application/x-www-form-urlencoded")
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, server.path if path is None else path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def form_of(server, **changed):
    usual = {"csrf": server.csrf, "license_key": KEY, "eula": EULA.digest, "do": "activate"}
    return usual | changed


def settled(server):
    """The state once no activation is on its way."""
    for _ in range(6000):
        if not isinstance(server.conversation.state, Working):
            break
        threading.Event().wait(0.01)
    return server.conversation.state


def test_a_good_key_activates_and_ends_the_dialog(server, client):
    """The client is told key and agreement; the page shows what was bought."""
    status, headers, _ = ask(server, "POST", form=form_of(server, license_key=f" {KEY.lower()} "))
    assert (status, headers["Location"]) == (303, server.path)
    assert isinstance(settled(server), Activated)
    assert client.asked == [(KEY, EULA.digest)]
    page = ask(server)[2]
    assert "is activated" in page
    assert "face.restore, face.swap" in page
    assert server.conversation.over.wait(60)


def test_a_refusal_is_shown_with_its_next_step_and_asks_again(server, client):
    """Reason, next step and reference; the key as typed; another try works."""
    ask(server, "POST", form=form_of(server, license_key="MS-OTHER"))
    state = settled(server)
    refusal = Refusal(
        "The license has <expired>. It ended on 1 May.", "Renew it at the shop.", "7F3K29QX"
    )
    assert state == Asking(refusal, "MS-OTHER")
    page = ask(server)[2]
    assert "The license has &lt;expired&gt;." in page
    assert "Renew it at the shop." in page
    assert 'value="MS-OTHER"' in page
    assert not server.conversation.over.is_set()
    ask(server, "POST", form=form_of(server))
    assert isinstance(settled(server), Activated)


def test_an_unexpected_error_hides_its_inside(server):
    """The person learns that something went wrong, and a word for support."""
    ask(server, "POST", form=form_of(server, license_key="MS-BUG"))
    settled(server)
    page = ask(server)[2]
    assert "RuntimeError" in page
    assert "/secret/path" not in page


def test_the_agreement_must_be_accepted(server, client):
    """Without the tick, or with one for another text, nothing is sent."""
    for eula in ("", "other"):
        ask(server, "POST", form=form_of(server, eula=eula))
        assert "not accepted" in ask(server)[2]
    assert client.asked == []


def test_an_empty_or_endless_key_is_not_sent(server, client):
    """The page asks again."""
    for key in ("", "   ", "x" * 65):
        ask(server, "POST", form=form_of(server, license_key=key))
        assert "No license key" in ask(server)[2]
    assert client.asked == []


def test_one_activation_at_a_time(server, client):
    """A second click while the first is on its way does nothing; the page waits by itself."""
    client.hold.clear()
    for _ in range(3):
        ask(server, "POST", form=form_of(server))
    assert server.conversation.state == Working()
    assert 'http-equiv="refresh"' in ask(server)[2]
    client.hold.set()
    assert isinstance(settled(server), Activated)
    assert len(client.asked) == 1


def test_not_now_ends_the_dialog_without_asking(server, client):
    """Whatever stands in the fields."""
    ask(server, "POST", form=form_of(server, do="cancel", eula=""))
    assert server.conversation.state == Cancelled()
    assert "not activated" in ask(server)[2]
    assert server.conversation.over.wait(60)
    assert client.asked == []


@pytest.mark.parametrize("path", ["/", "/x/", "/favicon.ico", "//", "/../"])
def test_without_the_token_there_is_nothing(server, path):
    """Neither page nor name of the product."""
    status, _, text = ask(server, path=path)
    assert status == 404
    assert "Fusion" not in text
    assert ask(server, "POST", path=path, form=form_of(server))[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", ""])
def test_another_host_name_is_refused(server, client, host):
    """A name that a foreign site points to this computer does not reach the page."""
    port = server.server_address[1]
    for name in (host, f"{host}:{port}" if host != "127.0.0.1" else "127.0.0.1:1"):
        assert ask(server, Host=name)[0] == 421
        assert ask(server, "POST", form=form_of(server), Host=name)[0] == 421
    assert client.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_forms_of_other_sites_are_refused(server, client, headers):
    """Even with both tokens."""
    assert ask(server, "POST", form=form_of(server), **headers)[0] == 403
    assert client.asked == []


@pytest.mark.parametrize("csrf", ["", "wrong", "\u00e4"])
def test_a_form_without_its_token_is_refused(server, client, csrf):
    """The address alone is not enough."""
    assert ask(server, "POST", form=form_of(server, csrf=csrf))[0] == 403
    assert client.asked == []


@pytest.mark.parametrize(
    ("form", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b"a=1", "text/plain", 400),
        (b"x" * 9000, "application/x-www-form-urlencoded", 413),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=1" for _ in range(99)), "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 403),
    ],
)
def test_what_is_no_form_is_refused(server, client, form, kind, status):
    """Of another kind, too large, not text, or with too many fields."""
    assert ask(server, "POST", form=form, Content_Type=kind)[0] == status
    assert client.asked == []


@pytest.mark.parametrize("length", ["-1", "1e3", "999999999999", "\u00b2"])
def test_an_absurd_length_is_refused(server, length):
    """Before anything is read."""
    kind = "application/x-www-form-urlencoded"
    value = length.encode("latin-1")
    assert ask(server, "POST", Content_Length=value, Content_Type=kind)[0] in (400, 413)


def test_the_page_may_load_nothing_and_is_kept_nowhere(server):
    """No script, no frame, no cache; styles only by a nonce that changes."""
    _, first, page = ask(server)
    _, second, _ = ask(server)
    policy = first["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert policy != second["Content-Security-Policy"]
    assert re.search("nonce-([^']+)", policy).group(1) in page
    assert first["Cache-Control"] == "no-store"
    assert "<script" not in page
    assert "Face &amp; Fusion" in page
    assert "Be &lt;kind&gt;." in page


def test_nothing_is_logged(server, capfd):
    """Neither the address nor the key reaches a terminal."""
    ask(server, "POST", form=form_of(server))
    ask(server, path="/nothing")
    settled(server)
    assert capfd.readouterr() == ("", "")


def test_the_dialog_listens_on_this_computer_only(server):
    """And its address cannot be guessed."""
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 43
    assert server.token != server.csrf


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_said_stays_text(message, key, product):
    """No text, however it looks, becomes a tag or leaves its attribute."""
    state = Asking(Refusal(message, message, message), key)
    eula = Eula(message, key)
    page = activation_page.render(
        state, product=product, eula=eula, action="/", csrf="c", nonce="n"
    )
    plain = activation_page.render(
        Asking(Refusal("m", "m", "m"), "k"),
        product="p", eula=Eula("m", "k"), action="/", csrf="c", nonce="n",
    )  # fmt: skip
    if message:
        assert page.count("<") == plain.count("<")
        assert page.count('"') == plain.count('"')


def _browser(form_changes):
    """Acts as the person would: reads the page, sends its form, looks at the end."""

    def show(url):
        parts = urlsplit(url)
        port = parts.port
        near = SimpleNamespace(server_address=("127.0.0.1", port), path=parts.path)
        page = ask(near)[2]
        near.csrf = re.search('name="csrf" value="([^"]+)"', page).group(1)
        ask(near, "POST", form=form_of(near, **form_changes))
        for _ in range(1000):
            if "refresh" not in ask(near)[2]:
                break

    return show


@pytest.mark.parametrize(("changes", "result"), [({}, True), ({"do": "cancel"}, False)])
def test_the_whole_dialog(client, changes, result):
    """From the address that is shown to the answer of the function."""
    assert run_dialog(client, "p", EULA, show=_browser(changes), timeout_seconds=120) is result


def test_a_dialog_nobody_answers_ends(client):
    """After its time, not activated."""
    assert run_dialog(client, "p", EULA, show=lambda _: None, timeout_seconds=0.05) is False


def test_status_may_be_an_object_or_a_mapping():
    """The same lines either way, nothing for what is missing."""
    as_object = SimpleNamespace(plan="pro", entitlements=(SimpleNamespace(id="face.swap"),))
    assert facts_of(as_object) == (("Plan", "pro"), ("Includes", "face.swap"))
    assert facts_of({"plan": "pro", "entitlements": ["face.swap"]}) == facts_of(as_object)
    assert facts_of(None) == ()
    when = datetime(2027, 11, 22, tzinfo=UTC)
    assert facts_of({"license_expires_at": when}) == (("Valid until", "2027-11-22"),)


def test_the_shipped_app_is_described_by_its_toml(tmp_path):
    """Product and agreement come from modelseal.toml; what is wrong with it is said."""
    with pytest.raises(ModelMissing):
        activation_dialog.read_app(tmp_path)
    (tmp_path / "modelseal.toml").write_text('product = "facefusion"\n[eula]\npath = "EULA.txt"\n')
    with pytest.raises(ModelMissing, match=r"EULA\.txt"):
        activation_dialog.read_app(tmp_path)
    (tmp_path / "EULA.txt").write_text("Be kind.")
    product, eula = activation_dialog.read_app(tmp_path)
    assert (product, eula.text) == ("facefusion", "Be kind.")
    assert eula.digest == "VJm--zjb8_zAgQcUHLKp5_Qqaq5AM2HcNgG4KW15Z-o"
