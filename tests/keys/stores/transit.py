"""The transit engine of Vault over HTTP, as much of it as wrapping keys takes."""

from __future__ import annotations

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Transit:
    """One Vault with an engine at ``transit``. ``tokens`` are those that it takes just now."""

    def __init__(self) -> None:
        self.keys: dict[tuple[str, str], list[bytes]] = {}
        self.settings: dict[tuple[str, str], dict[str, Any]] = {}
        self.delay = threading.Event()
        self.reset()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.handle_call()

            def do_POST(self) -> None:
                self.handle_call()

            def handle_call(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}") if length else {}
                fake.delay.wait(20)
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, answer = fake.respond(self.command, self.path, body, headers)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                if status == 307:
                    self.send_header("Location", f"{fake.elsewhere}{self.path}")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def reset(self) -> None:
        """Afterwards it answers as it should; its keys stay."""
        self.tokens = {"root-token"}
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        self.status: int | None = None
        self.elsewhere: str | None = None
        self.answer: bytes | None = None
        self.delay.set()

    def uri(self, name: str, options: str = "") -> str:
        """The key URI of the key ``name``."""
        return f"vault:{self.url}/transit/{name}{options}"

    def close(self) -> None:
        """Afterwards nobody answers at the address."""
        self.delay.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def respond(
        self, method: str, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> tuple[int, object]:
        """Status and content of the answer to one call."""
        self.calls.append((method, path, headers))
        if self.elsewhere is not None:
            return 307, {}
        if self.status is not None:
            return self.status, {"errors": ["Vault is sealed"]}
        if headers.get("x-vault-token") not in self.tokens:
            return 403, {"errors": ["permission denied", "invalid token"]}
        if self.answer is not None:
            return 200, self.answer
        parts = path.strip("/").split("/")
        if parts[:2] != ["v1", "transit"] or len(parts) != 4:
            return 404, {"errors": ["no handler for route"]}
        place = (headers.get("x-vault-namespace", ""), parts[3])
        return self._act(method, parts[2], place, body)

    def _act(
        self, method: str, what: str, place: tuple[str, str], body: dict[str, Any]
    ) -> tuple[int, object]:
        if what == "keys" and method == "POST":
            self.keys.setdefault(place, [os.urandom(32)])
            self.settings.setdefault(place, {"type": body["type"], "exportable": False})
            return 204, b""
        if place not in self.keys:
            return (404 if what == "keys" else 400), {"errors": ["encryption key not found"]}
        if what == "keys":
            return 200, {"data": {"name": place[1], **self.settings[place]}}
        return self._crypt(what, self.keys[place], body)

    def _crypt(self, what: str, keys: list[bytes], body: dict[str, Any]) -> tuple[int, object]:
        aad = base64.b64decode(body.get("associated_data", ""))
        if what == "encrypt":
            nonce = os.urandom(12)
            made = nonce + AESGCM(keys[-1]).encrypt(nonce, base64.b64decode(body["plaintext"]), aad)
            text = f"vault:v{len(keys)}:{base64.b64encode(made).decode()}"
            return 200, {"data": {"ciphertext": text, "key_version": len(keys)}}
        try:
            vault, version, text = body["ciphertext"].split(":")
            if vault != "vault" or version[:1] != "v" or not 1 <= int(version[1:]) <= len(keys):
                raise ValueError
            made = base64.b64decode(text, validate=True)
            plain = AESGCM(keys[int(version[1:]) - 1]).decrypt(made[:12], made[12:], aad)
        except (ValueError, InvalidTag):
            return 400, {"errors": ["invalid ciphertext: cipher: message authentication failed"]}
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}
