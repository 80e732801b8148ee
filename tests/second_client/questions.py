"""The requests a device signs (tokens.md, section 8)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import hpke, licensekey
from .encoding import b64u, unb64u
from .signing import DeviceKey
from .trust import KeyList

Claims = dict[str, Any]


def fresh(op: str, last: Claims | None) -> Claims:
    """A new question from the place in the chain that `last`, the newest answer, is."""
    return {
        "op": op,
        "nonce": b64u(secrets.token_bytes(32)),
        "kem": b64u(hpke.KemKey.fresh().private),
        "seq": (last or {}).get("seq", 0),
        "prev": (last or {}).get("jti"),
    }


def kem_of(question: Claims) -> hpke.KemKey:
    """The private key its answer is sealed to."""
    return hpke.KemKey(unb64u(question["kem"], "state_damaged"))


def claims(question: Claims, key: DeviceKey, keys: KeyList, now: int, **more: Any) -> Claims:
    """The claims of a request; what is None is left out."""
    made = {
        "iss": key.kid,
        "aud": keys.server_id,
        "product": keys.product,
        "jti": f"req_{uuid.uuid4()}",
        "iat": now,
        "op": question["op"],
        "nonce": question["nonce"],
        "jwk": key.jwk,
        "clock": {"wall": now, "monotonic_seconds": 0},
        "seq": question["seq"] or None,
        "prev": question["prev"],
        "kem": [{"suite": hpke.SUITE, "pub": b64u(kem_of(question).public)}],
        **more,
    }
    if question["op"] in ("lookup", "nonce"):
        del made["kem"]
    return {name: value for name, value in made.items() if value is not None}


def sealed_license_key(
    text: str, question: Claims, key: DeviceKey, keys: KeyList, now: int
) -> dict[str, str]:
    """A license key that the server alone can read, for this one question."""
    sealing = keys.sealing(now)
    values: dict[str, object] = {
        "server": keys.server_id,
        "product": keys.product,
        "jkt": key.kid,
        "nonce": question["nonce"],
    }
    public = unb64u(sealing.jwk["pub"], "trust_malformed")
    ct = hpke.seal(public, licensekey.parse(text), "license-key", values)
    return {"recipient": sealing.kid, "suite": hpke.SUITE, "ct": b64u(ct)}


def traits(salt: bytes, machine_id: Path = Path("/etc/machine-id")) -> Claims:
    """The one trait this client reads, as a digest; the others it does not look for."""
    key = HKDF(SHA256(), 32, None, b"modelseal trait digest v1").derive(salt)
    text = machine_id.read_text("ascii").strip() if machine_id.exists() else ""
    if len(text) != 32:
        return {"missing": [{"kind": "machine_id", "why": "absent"}]}
    value = bytes.fromhex(text)
    digest = hmac.new(key, b"machine_id\x00" + value, hashlib.sha256).digest()
    return {"traits": [{"kind": "machine_id", "digest": int.from_bytes(digest[:4], "big")}]}
