"""The activation dialog: one page on this computer, asked once for the license key.

What a program with windows would do, with nothing but the standard library: a server that
listens on 127.0.0.1 only, on a port of the system's choice, for as long as the dialog is open.

Who may talk to it: only a page that came from it. Its address holds a random token, which
other users and programs cannot guess; the Host header must name this address (no DNS
rebinding); a form must carry a second token and, where the browser sends them, an Origin and a
Sec-Fetch-Site of our own (no cross-site requests). The license key never stands in an address
or a log.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import secrets
import sys
import threading
import tomllib
import webbrowser
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

from face_fusion.activation_page import (
    Activated,
    Asking,
    Cancelled,
    Eula,
    Refusal,
    State,
    Working,
    render,
)
from face_fusion.errors import FaceFusionError, ModelMissing
from face_fusion.models import make_client
from face_fusion.refusals import told

MAX_FORM_BYTES = 8192
SOCKET_SECONDS = 10.0
GOODBYE_SECONDS = 5.0  # how long an activated dialog waits for a browser that may be closed


class Client(Protocol):
    """What the dialog uses of `modelseal.Client`."""

    def activate(self, license_key: str, *, eula: str) -> Any: ...

    def status(self) -> Any: ...


class Conversation:
    """What the dialog knows, and the one activation it may have on its way."""

    def __init__(self, client: Client, product: str, eula: Eula) -> None:
        self.product, self.eula = product, eula
        self.over = threading.Event()
        self._client = client
        self._lock = threading.Lock()
        self._state: State = Asking()

    @property
    def state(self) -> State:
        with self._lock:
            return self._state

    def submit(self, form: Mapping[str, str]) -> None:
        """Takes a form: starts an activation, or ends the dialog, or asks again."""
        key = form.get("license_key", "").strip().upper()
        with self._lock:
            if not isinstance(self._state, Asking):
                return
            if form.get("do") == "cancel":
                self._state = Cancelled()
            elif not key or len(key) > 64:
                self._state = Asking(
                    Refusal("No license key was entered.", "Enter the key you received."), ""
                )
            elif form.get("eula") != self.eula.digest:
                refusal = Refusal(
                    "The license agreement is not accepted.", "Read it and tick the box below it."
                )
                self._state = Asking(refusal, key)
            else:
                self._state = Working()
                threading.Thread(target=self._activate, args=(key,), daemon=True).start()

    def _activate(self, key: str) -> None:
        try:
            self._client.activate(key, eula=self.eula.digest)
            after: State = Activated(facts_of(self._client.status()))
        except Exception as error:
            after = Asking(refusal_of(error), key)
        with self._lock:
            self._state = after
        if isinstance(after, Activated):
            self.over.wait(GOODBYE_SECONDS)
            self.over.set()


def refusal_of(error: Exception) -> Refusal:
    """modelseal's own words where it has some, else one sentence that hides the inside."""
    said = told(error)
    if said is None:
        return Refusal(
            "Something unexpected went wrong.",
            f"Try again; if it stays, tell support this word: {type(error).__name__}.",
        )
    return Refusal(said.message, said.next_step, said.reference)


def facts_of(status: Any) -> tuple[tuple[str, str], ...]:
    """The lines worth showing of `Client.status()`, whether object or mapping."""
    wanted = (
        ("Plan", "plan"),
        ("This computer", "label"),
        ("Includes", "entitlements"),
        ("Valid until", "license_expires_at"),
    )
    facts = []
    for title, name in wanted:
        value = status.get(name) if isinstance(status, Mapping) else getattr(status, name, None)
        if isinstance(value, list | tuple | set | frozenset):
            value = ", ".join(sorted(str(getattr(item, "id", item)) for item in value))
        if isinstance(value, datetime):
            value = value.date().isoformat()
        if value:
            facts.append((title, str(value)))
    return tuple(facts)


class DialogServer(ThreadingHTTPServer):
    """Serves one conversation at a secret address of this computer."""

    daemon_threads = True

    def __init__(self, conversation: Conversation) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.conversation = conversation
        self.token = secrets.token_urlsafe(32)
        self.csrf = secrets.token_urlsafe(32)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def path(self) -> str:
        return f"/{self.token}/"

    @property
    def url(self) -> str:
        return self.origin + self.path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no event."""


class _Handler(BaseHTTPRequestHandler):
    server: DialogServer
    timeout = SOCKET_SECONDS
    server_version = "activation"
    sys_version = ""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the address is a secret."""

    def do_GET(self) -> None:
        if self._refused():
            return
        state = self.server.conversation.state
        nonce = secrets.token_urlsafe(16)
        page = render(
            state,
            product=self.server.conversation.product,
            eula=self.server.conversation.eula,
            action=self.server.path,
            csrf=self.server.csrf,
            nonce=nonce,
        )
        self._answer(HTTPStatus.OK, page, nonce)
        if isinstance(state, Activated | Cancelled):
            self.server.conversation.over.set()

    def do_POST(self) -> None:
        if self._refused() or self._foreign():
            return
        form = self._form()
        if form is None:
            return
        if not hmac.compare_digest(form.get("csrf", "").encode(), self.server.csrf.encode()):
            self._answer(HTTPStatus.FORBIDDEN, "This form is not from this page.")
            return
        self.server.conversation.submit(form)
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", self.server.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refused(self) -> bool:
        """Answers and is true unless address and Host are ours."""
        if self.headers.get("Host", "") != self.server.origin.removeprefix("http://"):
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, "Wrong address.")
            return True
        if not hmac.compare_digest(self.path.encode(), self.server.path.encode()):
            self._answer(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return True
        return False

    def _foreign(self) -> bool:
        """Answers and is true if the browser says that another site sent the form."""
        origin = self.headers.get("Origin", self.server.origin)
        site = self.headers.get("Sec-Fetch-Site", "same-origin")
        if origin != self.server.origin or site != "same-origin":
            self._answer(HTTPStatus.FORBIDDEN, "Forms of other pages are not taken.")
            return True
        return False

    def _form(self) -> dict[str, str] | None:
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        length = self.headers.get("Content-Length", "")
        if kind != "application/x-www-form-urlencoded" or not (
            length.isascii() and length.isdigit()
        ):
            self._answer(HTTPStatus.BAD_REQUEST, "This is not a form.")
            return None
        if len(length) > 6 or int(length) > MAX_FORM_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This form is too large.")
            return None
        try:
            text = self.rfile.read(int(length)).decode("utf-8")
            fields = parse_qs(text, keep_blank_values=True, max_num_fields=16)
        except ValueError:
            self._answer(HTTPStatus.BAD_REQUEST, "This form cannot be read.")
            return None
        return {name: values[-1] for name, values in fields.items()}

    def _answer(self, status: HTTPStatus, page: str, nonce: str = "") -> None:
        data = page.encode("utf-8", "replace")
        kind = "text/html" if nonce else "text/plain"
        style = f"style-src 'nonce-{nonce}'; " if nonce else ""
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(data))),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "same-origin"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            (
                "Content-Security-Policy",
                f"default-src 'none'; {style}form-action 'self'; frame-ancestors 'none'; "
                "base-uri 'none'",
            ),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def run_dialog(
    client: Client,
    product: str,
    eula: Eula,
    *,
    show: Callable[[str], object] = webbrowser.open,
    timeout_seconds: float = 900.0,
) -> bool:
    """Shows the dialog and waits for its end; whether the program is activated afterwards.

    `show` is handed the page's address and brings it before the person's eyes.
    """
    conversation = Conversation(client, product, eula)
    with DialogServer(conversation) as server:
        worker = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        worker.start()
        try:
            show(server.url)
            conversation.over.wait(timeout_seconds)
        finally:
            server.shutdown()
            worker.join(GOODBYE_SECONDS)
    return isinstance(conversation.state, Activated)


def read_app(folder: Path) -> tuple[str, Eula]:
    """Product and license agreement of the modelseal.toml in `folder`; raises ModelMissing."""
    try:
        described = tomllib.loads((folder / "modelseal.toml").read_text(encoding="utf-8"))
        data = (folder / described["eula"]["path"]).read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        eula = Eula(data.decode("utf-8"), digest)
        return str(described["product"]), eula
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelMissing(
            f"modelseal.toml in {folder}, or the agreement it names, cannot be read: {error}",
            "Install the program again.",
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Activates the program whose modelseal.toml lies in a folder (default: the current one)."""
    parser = argparse.ArgumentParser(prog="python -m face_fusion.activation_dialog")
    parser.add_argument("--app", type=Path, default=Path(), metavar="DIR")
    app = parser.parse_args(arguments).app
    try:
        product, eula = read_app(app)
        client = make_client(app)
    except FaceFusionError as error:
        print(f"face-fusion: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130

    def show(url: str) -> None:
        print(f"Activate in your browser: {url}", file=sys.stderr, flush=True)
        webbrowser.open(url)

    return 0 if run_dialog(client, product, eula, show=show) else 3


if __name__ == "__main__":
    sys.exit(main())
