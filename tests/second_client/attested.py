"""Attested key release: keys for evidence (protocol.md, section 4.6.1)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

from . import datakeys, hpke, questions
from .datakeys import DataKeys
from .device import Device
from .encoding import b64u, cbor, expect, refuse, unb64u

_BAD = "answer_invalid"
_SHORT = frozenset({"tpm2", "azure-vtpm", "nvidia", "android", "psa"})
Claims = dict[str, Any]
Collect = Callable[[Callable[[str], bytes]], list[tuple[str, list[bytes]]]]
"""Is handed what each kind has to bind, gives pieces of evidence by kind."""


def transcript(claims: Claims, token: str) -> bytes:
    """What all evidence binds, before it is hashed."""
    kem = unb64u(claims["kem"][0]["pub"], _BAD)
    want = sorted((unb64u(wish["file"], _BAD), sorted(wish["sections"])) for wish in claims["want"])
    said = {
        "suite": hpke.SUITE,
        "server": claims["aud"],
        "server_key": claims["server_key"],
        "nonce": claims["server_nonce"],
        "license": claims["lic"],
        "device": claims["sub"],
        "jkt": claims["iss"],
        "signature": unb64u(token.rpartition(".")[2], _BAD),
        "request": hashlib.sha256(token.encode()).digest(),
        "kem": [hpke.kem_thumbprint(kem)],
        "want": [[file, sections] for file, sections in want],
        "level": claims["level"],
        "seq": claims["seq"],
    }
    return cbor(["modelseal/attested-release/v1", said])


def release(
    device: Device,
    want: list[tuple[bytes, list[int]]],
    level: int,
    collect: Collect,
    beside: list[bytes],
) -> DataKeys:
    """The keys of exactly what is wanted, proved by what `collect` brings; kept in memory."""
    lease = device.lease or refuse("not_activated", "no lease")
    place = f"/v1/devices/{lease['sub']}/key-releases"
    about = {"sub": lease["sub"], "lic": lease["lic"]}
    asked = questions.fresh("nonce", lease)
    given = device._ask("POST", f"{place}:nonce", device._claims(asked, **about))
    listed = [key.kid for key in device.keys.of("lease", device.clock())]
    expect(given["server_key"] in listed, "token_key_unknown", "a key that the trust lacks")
    question = questions.fresh("attest", lease)
    claims = device._claims(
        question, **about, level=level, server_nonce=given["nonce"],
        server_key=given["server_key"],
        want=[{"file": b64u(file), "sections": parts} for file, parts in want],
    )  # fmt: skip
    token = device.key.token(claims)
    whole = transcript(claims, token)
    digest = hashlib.sha256(whole).digest()
    found = collect(lambda kind: digest if kind in _SHORT else hashlib.sha512(whole).digest())
    body = {
        "request": token,
        "evidence": [{"kind": kind, "parts": [_base64(p) for p in parts]} for kind, parts in found],
        "endorsements": [_base64(item) for item in beside],
    }
    answer = device._ask_json("POST", f"{place}:attest", claims, json.dumps(body).encode())
    made = device._read(answer["release"], "release+jwt")
    device._mine(made, question, lease["sub"])
    proved = made.get("attested") or refuse(_BAD, "keys without a proof")
    expect(unb64u(proved["transcript"], _BAD) == digest, _BAD, "of another transcript")
    expect((made["lease"], made["level"]) == (lease["jti"], level), _BAD, "another lease or level")
    keys = datakeys.opened(made, questions.kem_of(question), question["nonce"])
    expect(set(keys) == {(f, s) for f, parts in want for s in parts}, _BAD, "other keys")
    device.released |= keys
    return keys


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
