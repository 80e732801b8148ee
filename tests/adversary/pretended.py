"""The server's part, played by who attacks the client: every question is answered with yes.

It signs nothing, for it has no key: its tokens name the pinned keys and carry noise as signatures,
for a client whose checks were cut out. The data keys it seals are as random as the real ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

DAY = 86400


class Pretended:
    """A ``Transport`` to nobody."""

    def __init__(self, trust: Any, model: str) -> None:
        from modelseal import container
        from modelseal.runtime.source import FileSource

        self._trust = trust
        with contextlib.closing(FileSource(model)) as source:
            self._file = container.parse(source)
        self._data = {number: os.urandom(32) for number in range(len(self._file.header.sections))}
        self._seq = 0

    def exchange(self, method: str, path: str, *, body: bytes | None = None, **_more: Any) -> Any:
        """A lease, a license or a release for whatever was asked; nothing else is here."""
        from modelseal.client.transport import Answer

        if method == "GET" or body is None:
            return Answer(404, {"content-type": "application/problem+json"}, b"{}")
        asked = self._asked(body)
        told: dict[str, Any] = {"event_id": "evt_1", "device_id": "dev_1"}
        if asked["op"] == "release":
            told["release"] = self._token("release+jwt", self._common(asked, "release"))
        else:
            self._seq = asked.get("seq", 0) + 1
            told["lease"] = self._token("lease+jwt", self._common(asked, "lease"))
            told["license"] = self._token("license+jwt", self._license(asked))
        return Answer(200, {"content-type": "application/json"}, json.dumps(told).encode())

    def stream(self, *_words: Any, **_more: Any) -> Any:
        """Nothing is here to download."""
        raise OSError("nothing is here")

    def close(self) -> None:
        """Nothing is open."""

    def _asked(self, body: bytes) -> dict[str, Any]:
        from modelseal.license import jws

        return jws.parse(body, max_bytes=1 << 18).payload

    def _token(self, typ: str, claims: dict[str, Any]) -> str:
        from modelseal.strict_json import b64u, encode

        use = "license" if typ == "license+jwt" else "lease"
        from modelseal.trust import Use

        keys = self._trust.keys(Use(use))
        parts = [{"alg": key.alg, "kid": key.kid, "typ": typ} for key in keys[:1]]
        return ".".join([b64u(encode(parts[0])), b64u(encode(claims)), b64u(os.urandom(64))])

    def _license(self, asked: dict[str, Any]) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self._trust.server_id, "aud": self._trust.product, "sub": "lic_1",
            "jti": "lic_2", "iat": now, "nbf": now, "exp": now + 300 * DAY,
            "product": self._trust.product, "plan": "all", "pv": 1, "ent": self._ent(),
            "cnf": {"jkt": asked["iss"]}, "lease_max_seconds": 7 * DAY,
            "status": {"idx": 1, "uri": "/v1/status-lists/1"},
        }  # fmt: skip

    def _common(self, asked: dict[str, Any], kind: str) -> dict[str, Any]:
        now = int(time.time())
        seq = self._seq if kind == "lease" else asked.get("seq", 0)
        claims: dict[str, Any] = {
            "iss": self._trust.server_id, "aud": self._trust.product, "sub": "dev_1",
            "lic": "lic_1", "product": self._trust.product, "jti": f"lea_{seq}", "iat": now,
            "exp": now + 7 * DAY, "seq": seq, "request_nonce": asked["nonce"],
            "cnf": {"jkt": asked["iss"]}, "level": 5,
        }  # fmt: skip
        if kind == "release":
            claims |= {"jti": "rel_1", "lease": asked.get("prev") or "lea_1"}
        else:
            claims |= {"pv": 1, "nbf": now, "renew_after_at": now + DAY, "ent": self._ent()}
            claims |= {"enforcement": "software", "status": {"idx": 1, "uri": "/v1/status-lists/1"}}
        claims["keys"] = self._keys(asked, claims, kind)
        return claims

    def _ent(self) -> list[dict[str, str]]:
        return [{"id": "face.restore"}, {"id": "face.swap"}]

    def _keys(self, asked: dict[str, Any], claims: dict[str, Any], kind: str) -> list[Any]:
        import msgspec

        from modelseal.crypto.hpke import KemPublicKey
        from modelseal.license import lease_keys

        kem = asked["kem"][0]
        public = KemPublicKey({"kty": "AKP", "alg": kem["suite"], "pub": kem["pub"]})
        binding = lease_keys.Binding(
            kind, claims["product"], claims["lic"], claims["sub"],
            claims["lease"] if kind == "release" else claims["jti"], claims["seq"], claims["exp"],
            claims["level"], claims["cnf"]["jkt"], asked["nonce"] if kind == "release" else None,
        )  # fmt: skip
        data = {(self._file.file_id, number): key for number, key in self._data.items()}
        return [msgspec.to_builtins(lease_keys.seal(data, public, binding))]
