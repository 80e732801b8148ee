"""Where a browser comes back to: a socket on loopback that takes one answer (RFC 8252, 7.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

from modelseal import texts
from modelseal.errors import AddressInUse, SignInRefused

_PATH = "/callback"
_REQUEST_SECONDS = 5.0
Answer = Mapping[str, str]


class Redirect:
    """Listens on 127.0.0.1 while the block lasts; ``url`` is its address."""

    def __init__(self) -> None:
        try:
            self._server = _Server(("127.0.0.1", 0), _Handler)
        except OSError as error:
            raise AddressInUse(f"no place on loopback: {type(error).__name__}") from None
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{_PATH}"

    def __enter__(self) -> Redirect:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.server_close()

    def wait(self, ours: Callable[[Answer], bool], seconds: float) -> Answer:
        """The first answer that is ``ours``, others get 400; ``SignInRefused`` when none came."""
        ends = time.monotonic() + seconds
        found: list[Answer] = []
        self._server.judge = ours
        self._server.found = found
        while not found:
            left = ends - time.monotonic()
            if left <= 0:
                raise SignInRefused("nobody signed in in time")
            self._server.timeout = min(left, 1.0)
            self._server.handle_request()
        return found[0]


class _Server(HTTPServer):
    judge: Callable[[Answer], bool]
    found: list[Answer]

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: whoever asks oddly gets no answer, and the terminal is not theirs."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_SECONDS
    server: _Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=16)
        answer = dict(pairs)
        good = parts.path == _PATH and len(answer) == len(pairs) and self.server.judge(answer)
        name = "signed_in_page" if good else "signed_in_page_foreign"
        body = texts.said(name).encode()
        self.send_response(200 if good else 400)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)
        if good:
            self.server.found.append(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a code would stand in it."""
