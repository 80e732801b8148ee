"""Writes ``vectors/airgap/``: responses, codes and parts.

    python tools/make_airgap_vectors.py

The files are made here from ``docs/spec/air-gap.md`` alone, with ``cryptography``, ``cbor2`` and
the standard library; ``tests/airgap/test_vectors.py`` compares modelseal with them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FOLDER = Path(__file__).resolve().parent.parent / "vectors" / "airgap"
MAGIC = bytes.fromhex("894D53410D0A1A0A")
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NONCE = "bm9uY2Ugb2YgdGhlIHJlcXVlc3QgaW4gdGhlIHZlY3Q"
WHO = {
    "server": "srv_01890a5d-ac96-774b-bcce-b302099a8057",
    "product": "facefusion",
    "jkt": "dGh1bWJwcmludCBvZiB0aGUgZGV2aWNlIGtleSBoZXI",
    "nonce": NONCE,
    "event_id": "evt_01890a5d-ac96-774b-bcce-b302099a8058",
}
TRUST = {"roots": [b'{"root":2}'], "targets": b"{}", "keys_role": b"{}", "key_list": b"{}"}


def cbor(value: object) -> bytes:
    """Deterministic CBOR."""
    return cbor2.dumps(value, canonical=True)


def b64u(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b32(data: bytes) -> str:
    """base32 without padding."""
    return base64.b32encode(data).decode().rstrip("=")


def times_a(value: int, power: int) -> int:
    """``value`` times a to the ``power`` in GF(32), a^5 = a^2 + 1."""
    for _ in range(power):
        value = value << 1 ^ (0b100101 if value & 16 else 0)
    return value


def code_text(number: int) -> str:
    """The code of 105 bits."""
    groups = []
    for place in range(7):
        data = [number >> 15 * (6 - place) >> 5 * (2 - i) & 31 for i in range(3)]
        check = place + 1
        for power, symbol in enumerate(data, start=1):
            check ^= times_a(symbol, power)
        groups.append("".join(CROCKFORD[value] for value in (*data, check)))
    return "-".join(groups)


def response(body: dict[str, Any], *, version: int = 1) -> bytes:
    """The file of one response."""
    head = MAGIC + bytes([version]) + cbor(body)
    return head + hashlib.sha256(head).digest()


def responses() -> dict[str, Any]:
    """Files that must be read, and files that must be refused."""
    ahead = {"place": 1, "seq": 8, "starts_at": 1800604800, "ends_at": 1801209600}
    good = {
        "a lease": {**WHO, "op": "renew", "lease": "a.lease.token"},
        "activation with everything": {
            **WHO, "op": "activate", "lease": "a.lease.token", "license": "a.license.token",
            "bundle": b"bundle", "status": "a.list.token", "trust": TRUST,
            "next": [{**ahead, "sealed": b"sealed"}],
        },
        "a denial": {**WHO, "op": "renew", "denial": "a.denial.token"},
        "a refused return": {**WHO, "op": "return", "denial": "a.denial.token"},
        "a seat": {**WHO, "op": "return", "seat_free_at": 1800000000},
    }  # fmt: skip
    lease = good["a lease"]
    whole = response(lease)
    bad = {
        "cut": whole[:-1],
        "longer": whole + b"\0",
        "one bit": bytes([*whole[:40], whole[40] ^ 1, *whole[41:]]),
        "other magic": b"\x89MSL" + whole[4:],
        "version 2": response(lease, version=2),
        "empty": b"",
        "no answer": response({**WHO, "op": "renew"}),
        "two answers": response({**lease, "denial": "a.denial.token"}),
        "a lease for a return": response({**lease, "op": "return"}),
        "a seat for a renewal": response({**WHO, "op": "renew", "seat_free_at": 1800000000}),
        "another operation": response({**lease, "op": "lookup"}),
        "unknown member": response({**lease, "more": 1}),
        "null written": response({**lease, "license": None}),
        "seat as text": response({**WHO, "op": "return", "seat_free_at": "1800000000"}),
        "place 0": response({**lease, "next": [{**ahead, "place": 0, "sealed": b"x"}]}),
        "a bundle without a lease": response({**good["a denial"], "bundle": b"x"}),
        "a list as body": MAGIC + b"\1\x80" + hashlib.sha256(MAGIC + b"\1\x80").digest(),
    }
    return {
        "valid": [
            {"name": name, "file": response(body).hex(), "body": _plain(body)}
            for name, body in good.items()
        ],
        "refused": [
            {"name": name, "file": data.hex(), "code": "response_malformed"}
            for name, data in bad.items()
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def codes() -> dict[str, Any]:
    """Codes, how people type them, and a lease under one."""
    drawn = int.from_bytes(hashlib.sha256(b"modelseal code vector").digest()[:14], "big") >> 7
    numbers = [0, 2**105 - 1, 1, 2**104, drawn]
    text = code_text(drawn)
    nonce = b64u(hashlib.sha256(cbor(["modelseal", "next", NONCE, 1])).digest())
    binding = {
        "server": WHO["server"], "product": WHO["product"],
        "device": "dev_01890a5d-ac96-774b-bcce-b302099a8059", "seq": 8, "nonce": nonce,
    }  # fmt: skip
    info = cbor(["modelseal", "lease-code", binding])
    key = HKDF(hashes.SHA256(), 32, None, info).derive(drawn.to_bytes(14, "big"))
    token = "the.lease.token"
    swapped = text[1] + text[0] + text[2:]
    return {
        "codes": [{"number": f"{n:028x}", "code": code_text(n)} for n in numbers],
        "typed": [
            {"typed": typed, "code": text}
            for typed in (text.lower(), text.replace("-", ""), text.replace("-", " "))
        ],
        "mistyped": [
            {"typed": swapped, "group": 1},
            {"typed": text[:-1] + ("0" if text[-1] != "0" else "1"), "group": 7},
            {"typed": "U" + text[1:], "group": 1},
            {"typed": text[:-1], "group": None},
            {"typed": "", "group": None},
        ],
        "nonces": [{"nonce": NONCE, "place": 1, "request_nonce": nonce}],
        "sealed": [
            {
                "code": text,
                "binding": binding,
                "token": token,
                "sealed": AESGCM(key).encrypt(bytes(12), token.encode(), info).hex(),
            }
        ],
    }


def parts() -> dict[str, Any]:
    """A file as lines, and lines that are refused."""
    data = hashlib.shake_256(b"modelseal parts vector").digest(700)
    body = b32(zlib.compress(data, 9))
    pieces = [body[at : at + 420] for at in range(0, len(body), 420)]
    name = b32(hashlib.sha256(b"modelseal parts\0" + data).digest()[:5])

    def line(number: int, piece: str, of: str = name, count: int = len(pieces)) -> str:
        said = f"MSQ1:{of}:{number}/{count}"
        check = b32(hashlib.sha256(f"{said}:{piece}".encode()).digest()[:5])[:7]
        return f"{said}:{check}:{piece}"

    lines = [line(number, piece) for number, piece in enumerate(pieces, start=1)]
    wrong = lines[0][:-1] + ("A" if lines[0][-1] != "A" else "B")
    return {
        "file": data.hex(),
        "lines": lines,
        "refused": [
            {"name": "a wrong symbol", "lines": [wrong, *lines[1:]], "code": "part_damaged"},
            {"name": "one missing", "lines": lines[1:], "code": "parts_missing"},
            {
                "name": "another set",
                "lines": [lines[0], line(2, pieces[1], of="AAAAAAAA"), lines[2]],
                "code": "part_foreign",
            },
            {"name": "number 0", "lines": [line(0, pieces[0])], "code": "part_damaged"},
            {
                "name": "another file under the same name",
                "lines": [line(1, b32(zlib.compress(b"other")), count=1)],
                "code": "part_damaged",
            },
        ],
    }


def main() -> None:
    """Writes the three files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, value in (("responses", responses()), ("codes", codes()), ("parts", parts())):
        text = json.dumps(value, indent=1, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
