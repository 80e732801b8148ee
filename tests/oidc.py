"""A small OpenID Connect provider over HTTPS, whose tokens another library (joserfc) signs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

CLIENT = "modelseal-cli"
KINDS: dict[str, Any] = {
    "RS256": lambda kid: RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}),
    "ES256": lambda kid: ECKey.generate_key("P-256", {"kid": kid, "use": "sig"}),
    "EdDSA": lambda kid: OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig"}),
}


class Provider:
    """``person`` signs in at once; ``claims`` stand above what a token usually says."""

    def __init__(self, folder: Path) -> None:
        from datetime import UTC, datetime, timedelta

        from modelseal.desk import tls

        begin = datetime.now(UTC) - timedelta(days=1)
        authority = tls.create_authority("provider", not_before=begin)
        pair = authority.issue(["127.0.0.1"], not_before=begin)
        self.ca = folder / "provider-ca.pem"
        self.ca.write_bytes(authority.certificate_pem)
        files = folder / "provider.pem", folder / "provider.key"
        files[0].write_bytes(pair.certificate_pem)
        files[1].write_bytes(pair.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        self.keys = {alg: make(f"{alg}-1") for alg, make in KINDS.items()}
        self.alg = "RS256"
        self.claims: dict[str, Any] = {}
        self.asked: list[str] = []
        self.jwks_status = 200
        self.device_pending = 1
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.issuer = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, *, header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        """An ID token; a claim of None is left out."""
        now = int(time.time())
        said = {
            "iss": self.issuer, "aud": CLIENT, "sub": "li", "iat": now, "exp": now + 300,
            "email": "li@example.com", "email_verified": True, "groups": ["sealers"],
            **self.claims, **claims,
        }  # fmt: skip
        used = key or self.keys[self.alg]
        head = {"alg": self.alg, "typ": "JWT", "kid": used.kid, **(header or {})}
        said = {name: value for name, value in said.items() if value is not None}
        head = {name: value for name, value in head.items() if value is not None}
        with warnings.catch_warnings():  # RFC 9864 renames EdDSA; providers have not
            warnings.simplefilter("ignore")
            return str(jwt.encode(head, said, used, algorithms=[head["alg"]]))

    def rotate(self, alg: str) -> None:
        self.keys[alg] = KINDS[alg](f"{alg}-{os.urandom(4).hex()}")

    def get(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "device_authorization_endpoint": f"{self.issuer}/device",
                "jwks_uri": f"{self.issuer}/keys",
                "authorization_response_iss_parameter_supported": True,
            }
        if path == "/keys":
            return self.jwks_status, {"keys": [key.as_dict(False) for key in self.keys.values()]}
        if path == "/authorize":
            return self._authorize(query)
        return 404, {}

    def post(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        self.asked.append(path)
        if form.get("client_id") != CLIENT:
            return 401, {"error": "invalid_client"}
        if path == "/device":
            return 200, {
                "device_code": "d" * 20, "user_code": "WDJB-MJHT", "expires_in": 60, "interval": 1,
                "verification_uri": f"{self.issuer}/type",
            }  # fmt: skip
        if path != "/token":
            return 404, {}
        if form["grant_type"] == "authorization_code":
            return self._exchange(form)
        self.device_pending -= 1
        if self.device_pending >= 0:
            return 400, {"error": "authorization_pending"}
        return 200, {"id_token": self.token(), "token_type": "Bearer", "access_token": "a"}

    def _authorize(self, query: dict[str, str]) -> tuple[int, Any]:
        assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT and "openid" in query["scope"].split()
        code = os.urandom(16).hex()
        self._codes[code] = query
        back = urlencode({"code": code, "state": query["state"], "iss": self.issuer})
        return 302, f"{query['redirect_uri']}?{back}"

    def _exchange(self, form: dict[str, str]) -> tuple[int, Any]:
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        if asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return 200, {
            "id_token": self.token(nonce=asked["nonce"]), "token_type": "Bearer",
            "access_token": "a",
        }  # fmt: skip


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._answer(*provider.get(parts.path, dict(parse_qsl(parts.query))))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(*provider.post(urlsplit(self.path).path, dict(parse_qsl(body))))

        def _answer(self, status: int, found: Any) -> None:
            body = b"" if status == 302 else json.dumps(found).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", found)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
