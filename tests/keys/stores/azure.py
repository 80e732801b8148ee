"""Azure Key Vault over HTTPS, with its challenge, and a managed identity that gives out tokens."""

from __future__ import annotations

import base64
import json
import os
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "a-managed-identitys-token"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


@dataclass
class Version:
    """One version of a key."""

    kind: str
    operations: list[str]
    key: Any
    ident: str = field(default_factory=lambda: os.urandom(16).hex())


class KeyVault:
    """One vault. ``status`` answers every call with that; ``variables`` lead a client to it."""

    def __init__(self, folder: Path) -> None:
        self.keys: dict[str, list[Version]] = {}
        self.calls: list[tuple[str, str]] = []
        self.status: int | None = None
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(bundle))
        self._vault = self._serve(context)
        self._identity = self._serve(None)
        self.url = f"https://127.0.0.1:{self._vault.server_address[1]}"
        self.variables = {
            "REQUESTS_CA_BUNDLE": str(bundle),
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self._identity.server_address[1]}/msi/token",
            "IDENTITY_HEADER": "a-secret-of-the-platform",
        }

    def uri(self, name: str, options: str = "") -> str:
        """The key URI of the key ``name``."""
        return f"azurekv:{self.url}/keys/{name}{options}"

    def close(self) -> None:
        """Afterwards nobody answers."""
        for server in (self._vault, self._identity):
            server.shutdown()
            server.server_close()

    def _serve(self, context: ssl.SSLContext | None) -> ThreadingHTTPServer:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.handle_call()

            def do_POST(self) -> None:
                self.handle_call()

            def handle_call(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = fake.respond(
                    self.command, self.path, json.loads(body or b"{}"), dict(self.headers.items())
                )
                data = json.dumps(answer).encode()
                self.send_response(status)
                if status == 401:  # the domain of 127.0.0.1 is 0.0.1
                    where = fake.url.replace("127.", "", 1)
                    told = f'Bearer authorization="https://login.example/t", resource="{where}"'
                    self.send_header("WWW-Authenticate", told)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def respond(
        self, method: str, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> tuple[int, Any]:
        """Status and content of the answer to one call."""
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[0] == "msi":
            ends = str(int(time.time()) + 3600)
            return 200, {"access_token": TOKEN, "expires_on": ends, "token_type": "Bearer"}
        self.calls.append((method, "/".join(parts)))
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"error": {"code": "Unauthorized"}}
        if self.status is not None:
            return self.status, {"error": {"code": "AsTheTestAsked"}}
        name, more = parts[1], parts[2:]
        if more == ["create"]:
            return self._create(name, body)
        wanted = more[0] if more else ""
        found = [each for each in self.keys.get(name, []) if wanted in ("", each.ident)]
        if not found:
            return 404, {"error": {"code": "KeyNotFound"}}
        if len(more) < 2:
            return 200, self._bundle(name, found[-1])
        return self._operate(name, more[1], found[-1], body)

    def _create(self, name: str, body: dict[str, Any]) -> tuple[int, Any]:
        if body["kty"] == "oct-HSM":
            key: Any = os.urandom(32)
        else:
            key = rsa.generate_private_key(65537, body["key_size"])
        made = Version(body["kty"], body["key_ops"], key)
        self.keys.setdefault(name, []).append(made)
        return 200, self._bundle(name, made)

    def _bundle(self, name: str, version: Version) -> dict[str, Any]:
        shown = {
            "kid": f"{self.url}/keys/{name}/{version.ident}",
            "kty": version.kind,
            "key_ops": version.operations,
        }
        if version.kind != "oct-HSM":
            numbers = version.key.public_key().public_numbers()
            shown["n"] = _b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big"))
            shown["e"] = _b64(numbers.e.to_bytes(3, "big"))
        return {"key": shown, "attributes": {"enabled": True, "created": 1, "updated": 1}}

    def _operate(
        self, name: str, what: str, version: Version, body: dict[str, Any]
    ) -> tuple[int, Any]:
        try:
            done = self._crypt(what, version, body)
        except (ValueError, KeyError, InvalidTag):
            return 400, {"error": {"code": "BadParameter"}}
        return 200, {"kid": f"{self.url}/keys/{name}/{version.ident}", **done}

    def _crypt(self, what: str, version: Version, body: dict[str, Any]) -> dict[str, str]:
        value = _unb64(body["value"])
        if version.kind == "oct-HSM":
            return self._gcm(what, AESGCM(version.key), value, body)
        if what == "wrapkey":
            done = version.key.public_key().encrypt(value, _OAEP)
        elif what == "unwrapkey":
            done = version.key.decrypt(value, _OAEP)
        else:
            done = version.key.sign(value, _PSS, Prehashed(hashes.SHA256()))
        return {"value": _b64(done)}

    def _gcm(self, what: str, key: AESGCM, value: bytes, body: dict[str, Any]) -> dict[str, str]:
        if body["alg"] != "A256GCM":
            raise ValueError
        aad = _unb64(body["aad"])
        if what == "encrypt":
            nonce = os.urandom(12)
            made = key.encrypt(nonce, value, aad)
            return {"value": _b64(made[:-16]), "iv": _b64(nonce), "tag": _b64(made[-16:])}
        return {"value": _b64(key.decrypt(_unb64(body["iv"]), value + _unb64(body["tag"]), aad))}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
