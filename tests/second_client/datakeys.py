"""Data keys: out of leases, releases and bundles; which sections they may open."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import hpke
from .encoding import cbor, expect, refuse, unb64u, uncbor

DataKeys = dict[tuple[bytes, int], bytes]
Variants = dict[tuple[bytes, int], list[tuple[bytes, bytes]]]
_BAD = "sealed_key_invalid"
_MAGIC = bytes.fromhex("894d53420d0a1a0a01")
_CAP = 1 << 20


def opened(token: dict[str, Any], kem: hpke.KemKey, nonce: str | None = None) -> DataKeys:
    """All keys of a lease, or with the question's nonce of a release, by file and section."""
    found: DataKeys = {}
    for entry in token["keys"]:
        expect(entry["suite"] == hpke.SUITE, _BAD, "another suite")
        if entry["recipient"] != kem.kid:
            continue
        values = {
            "product": token["product"],
            "license": token["lic"],
            "device": token["sub"],
            "lease": token["lease"] if nonce else token["jti"],
            "seq": token["seq"],
            "exp": token["exp"],
            "level": entry["level"],
            "jkt": token["cnf"]["jkt"],
        }
        label, proved = "release" if nonce else "lease", token.get("attested")
        if nonce and proved:
            label = "attested-release"
            values |= {name: unb64u(proved[name], _BAD) for name in ("transcript", "result")}
        if nonce:
            values["nonce"] = nonce
        rows = uncbor(kem.open(unb64u(entry["ct"], _BAD), label, values), _BAD)
        expect(isinstance(rows, list) and len(rows) <= 64, _BAD, "no list of keys")
        for row in rows:
            shape = isinstance(row, list) and [type(v) for v in row] == [bytes, int, bytes]
            expect(shape, _BAD, "no key")
            file, section, key = row
            good = len(file) == len(key) == 32 and -1 <= section < 2**32
            expect(good and (file, section) not in found, _BAD, "no key, or twice")
            found[file, section] = key
    return found


def bundle(data: bytes, digest: str, keys: DataKeys, token: dict[str, Any]) -> Variants:
    """What a bundle holds: its data keys join `keys`, its variants come back."""
    expect(len(data) <= _CAP and data.startswith(_MAGIC), _BAD, "no bundle")
    expect(hashlib.sha256(data).digest() == unb64u(digest, _BAD), _BAD, "another bundle")
    key = keys.get((hashlib.sha256(data).digest(), -1)) or refuse(_BAD, "no bundle key")
    about = cbor(["modelseal", "key-bundle", 1, token["product"], token["lic"]])
    try:
        plain = AESGCM(key).decrypt(data[9:21], data[21:], about)
    except InvalidTag:
        refuse(_BAD, "the bundle does not open")
    value = uncbor(plain, _BAD)
    expect(isinstance(value, dict) and set(value) == {"keys", "variants"}, _BAD, "members")
    for file, section, data_key in value["keys"]:
        keys[file, section] = data_key
    rows = value["variants"]
    return {(file, s): [(label, k) for label, k in pairs] for file, s, pairs in rows}


def granted(license_: dict[str, Any], lease: dict[str, Any], now: int) -> set[str]:
    """What both tokens grant now to a device of the lease's level."""

    def of(token: dict[str, Any]) -> set[str]:
        return {
            entry["id"]
            for entry in token["ent"]
            if now < entry.get("exp", now + 1) and entry.get("min_level", 0) <= lease["level"]
        }

    expect(max(license_["nbf"], lease["nbf"]) <= now + 300, "license_not_yet_valid", "not begun")
    expect(now < license_["exp"], "license_expired", "the license has ended")
    expect(now < lease["exp"], "lease_expired", "the lease has ended")
    return of(license_) & of(lease)


def satisfied(texts: Iterable[str], have: set[str]) -> bool:
    """Whether one alternative of a section's expression lies wholly in what is granted."""
    return any(set(text.split("+")) <= have for text in texts)
