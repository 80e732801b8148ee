"""A second client, written from ``docs/spec/`` alone: it shares no line with ``modelseal``.

``cryptography`` for Ed25519 and HPKE, ``cbor2`` for CBOR. It trusts the key list in ``trust.json``
as it stands; how that list is verified is ``docs/spec/trust.md``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import uuid
import zlib
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ed25519, mlkem, x25519

SUITE_NAME = "MLKEM768-X25519-HKDF-SHA256-A256GCM"
SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
USES = {"license+jwt": "license", "lease+jwt": "lease", "denial+jwt": "lease",
        "release+jwt": "lease", "statuslist+jwt": "status"}  # fmt: skip


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(text: str) -> bytes:
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert b64u(data) == text, "not canonical"
    return data


def canonical(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def thumbprint(jwk: dict[str, str]) -> str:
    return b64u(hashlib.sha256(canonical(jwk)).digest())


def info(label: str, values: dict[str, Any]) -> bytes:
    return cbor2.dumps(["modelseal", label, values], canonical=True)


def license_key_bytes(text: str) -> bytes:
    """tokens.md, section 12; the check symbols are left to the server here."""
    groups = text.split("-")[1:]
    number = 0
    for symbol in "".join(group[:4] for group in groups):
        number = number << 5 | CROCKFORD.index(symbol)
    return number.to_bytes(10, "big")


class Trust:
    """The keys of ``trust.json`` by use."""

    def __init__(self, data: bytes) -> None:
        listed = json.loads(data)["keys"]["list"]
        self.product, self.server_id, self.keys = (
            listed["product"], listed["server_id"], listed["keys"],
        )  # fmt: skip

    def signed(self, token: str, typ: str) -> dict[str, Any]:
        """The claims of a token with one Ed25519 signature; tokens.md, section 2."""
        head, body, signature = token.split(".")
        header = json.loads(raw(head))
        assert set(header) == {"alg", "kid", "typ"} and header["typ"] == typ
        claims: dict[str, Any] = json.loads(raw(body))
        assert canonical(header) == raw(head) and canonical(claims) == raw(body)
        key = next(k for k in self.keys if k["use"] == USES[typ] and k["kid"] == header["kid"])
        assert key["not_before"] <= claims["iat"] and thumbprint(key["jwk"]) == key["kid"]
        assert header["alg"] == key["alg"] == "Ed25519"
        public = ed25519.Ed25519PublicKey.from_public_bytes(raw(key["jwk"]["x"]))
        public.verify(raw(signature), f"{head}.{body}".encode())
        assert claims["iss"] == self.server_id
        assert {claims.get(n, self.product) for n in ("aud", "product")} == {self.product}
        return claims

    def sealing_key(self) -> tuple[str, Any]:
        key = next(k for k in self.keys if k["use"] == "sealing")
        public = raw(key["jwk"]["pub"])
        return key["kid"], hpke.MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184]),
            x25519.X25519PublicKey.from_public_bytes(public[1184:]),
        )


class Kem:
    """A KEM key pair of a question: 64 bytes ML-KEM seed, 32 bytes X25519."""

    def __init__(self, private: bytes) -> None:
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(private[:64])
        ecdh = x25519.X25519PrivateKey.from_private_bytes(private[64:])
        self._private = hpke.MLKEM768X25519PrivateKey(kem, ecdh)
        public = kem.public_key().public_bytes_raw() + ecdh.public_key().public_bytes_raw()
        self.member = {"suite": SUITE_NAME, "pub": b64u(public)}
        self.kid = thumbprint({"kty": "AKP", "alg": SUITE_NAME, "pub": b64u(public)})

    def data_keys(self, claims: dict[str, Any]) -> dict[tuple[bytes, int], bytes]:
        """The data keys in a lease or a release; tokens.md, section 10."""
        found: dict[tuple[bytes, int], bytes] = {}
        released = "lease" in claims
        for sealed in claims["keys"]:
            if sealed["recipient"] != self.kid:
                continue
            values = {
                "product": claims["product"], "license": claims["lic"], "device": claims["sub"],
                "lease": claims["lease"] if released else claims["jti"], "seq": claims["seq"],
                "exp": claims["exp"], "level": sealed["level"], "jkt": claims["cnf"]["jkt"],
            }  # fmt: skip
            if released:
                values["nonce"] = claims["request_nonce"]
            label = "release" if released else "lease"
            plain = SUITE.decrypt(raw(sealed["ct"]), self._private, info(label, values))
            for file_id, section, key in cbor2.loads(plain):
                found[file_id, section] = key
        return found


@dataclass
class Device:
    """One device: what it is, what it holds, and the question it has open."""

    trust: Trust
    key: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    device_id: str | None = None
    license_id: str | None = None
    seq: int = 0
    prev: str | None = None
    pending: dict[str, Any] = field(default_factory=dict)

    @property
    def jwk(self) -> dict[str, str]:
        public = self.key.public_key().public_bytes_raw()
        return {"kty": "OKP", "crv": "Ed25519", "x": b64u(public)}

    @property
    def jkt(self) -> str:
        return thumbprint(self.jwk)

    def sign(self, claims: dict[str, Any]) -> str:
        header = {"alg": "Ed25519", "kid": self.jkt, "typ": "request+jwt"}
        text = f"{b64u(canonical(header))}.{b64u(canonical(claims))}"
        return f"{text}.{b64u(self.key.sign(text.encode()))}"

    def ask(self, op: str, now: int, kem: Kem | None, **more: Any) -> str:
        """A fresh question; ``docs/spec/protocol.md``, section 4."""
        nonce = b64u(os.urandom(32))
        claims: dict[str, Any] = {
            "iss": self.jkt, "aud": self.trust.server_id, "product": self.trust.product,
            "jti": f"req_{uuid.uuid4()}", "iat": now, "op": op, "nonce": nonce, "jwk": self.jwk,
            "clock": {"wall": now, "monotonic_seconds": 1}, "seq": self.seq,
        }  # fmt: skip
        known = {"sub": self.device_id, "lic": self.license_id, "prev": self.prev}
        claims |= {name: value for name, value in known.items() if value is not None}
        if kem is not None:
            claims["kem"] = [kem.member]
        if "license_key" in more:
            more["license_key"] = self.sealed_key(more["license_key"], nonce)
        self.pending = claims | more
        return self.sign(self.pending)

    def sealed_key(self, text: str, nonce: str) -> dict[str, str]:
        kid, public = self.trust.sealing_key()
        values = {"server": self.trust.server_id, "product": self.trust.product,
                  "jkt": self.jkt, "nonce": nonce}  # fmt: skip
        sealed = SUITE.encrypt(license_key_bytes(text), public, info("license-key", values))
        return {"recipient": kid, "suite": SUITE_NAME, "ct": b64u(sealed)}

    def accept(self, token: str, typ: str) -> dict[str, Any]:
        """A signed answer to the pending question and to no other; tokens.md, section 13."""
        claims, asked = self.trust.signed(token, typ), self.pending
        assert claims["request_nonce"] == asked["nonce"] and claims["cnf"] == {"jkt": self.jkt}
        first = asked["op"] in ("activate", "trial", "lookup")
        if not first:
            assert claims["sub"] == self.device_id
        if typ == "release+jwt":
            assert claims["seq"] == asked.get("seq", 0)
            return claims
        if first and typ == "denial+jwt":
            assert claims["seq"] == 0
            return claims
        assert claims["seq"] > (0 if first else asked.get("seq", 0))
        self.device_id, self.seq, self.prev = claims["sub"], claims["seq"], claims["jti"]
        self.license_id = claims.get("lic", self.license_id)
        return claims


def status_at(claims: dict[str, Any], index: int) -> int:
    """The entry of a status list; tokens.md, section 9."""
    bits = zlib.decompress(raw(claims["status_list"]["lst"]))
    return bits[index // 4] >> 2 * (index % 4) & 3
