"""Signed heads: C2SP tlog-checkpoint in a C2SP signed note."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.audit.world import ORIGIN, key

from modelseal.audit import Checkpoint, checkpoint
from modelseal.crypto.signing import SigningKey, VerifyKey
from modelseal.errors import AuditBroken, Misuse
from modelseal.strict_json import b64u

HEAD = Checkpoint(ORIGIN, 20852163, bytes(range(32)))
NOTE = checkpoint.sign(HEAD, key())
KEYS = [key().verify_key()]


def test_a_known_signed_note_verifies_under_its_published_key_id() -> None:
    """Origin: the example of golang.org/x/mod/sumdb/note (package documentation)."""
    name, number = "PeterNeumann", "c74f20a3"
    encoded = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    raw = base64.b64decode(encoded)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64u(raw[1:])}
    assert checkpoint.key_id(name, jwk).hex() == number
    public = VerifyKey.from_jwk(jwk)
    assert checkpoint.verifier_key(name, public) == f"{name}+{number}+{encoded}"
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    signature = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert signature[:4].hex() == number
    public.verify(signature[4:], text.encode())


def test_the_text_has_the_form_of_the_specification() -> None:
    text, signature = NOTE.split("\n\n")
    assert text.split("\n") == [ORIGIN, "20852163", base64.b64encode(bytes(range(32))).decode()]
    assert signature.startswith(f"— {ORIGIN} ") and signature.endswith("\n")


@given(size=st.integers(0, 2**62), root=st.binary(min_size=32, max_size=32))
def test_verifying_gives_back_the_signed_checkpoint(size: int, root: bytes) -> None:
    head = Checkpoint(ORIGIN, size, root)
    assert checkpoint.verify(checkpoint.sign(head, key()), KEYS, ORIGIN) == head


def test_lines_of_witnesses_and_retired_keys_are_ignored() -> None:
    other = checkpoint.sign(HEAD, key(9)).split("\n\n")[1]
    witness = "— witness.example/w " + base64.b64encode(b"abcd" + bytes(72)).decode() + "\n"
    assert checkpoint.verify(NOTE + other + witness, KEYS) == HEAD
    assert checkpoint.verify(NOTE.encode(), [*KEYS, key(7).verify_key()]) == HEAD


def _reparted(note: str, change: str) -> str:
    text, lines = note.split("\n\n")
    origin, size, root = text.split("\n")
    raw = base64.b64decode(lines.split(" ")[2])
    made = {
        "size": f"{origin}\n20852164\n{root}\n\n{lines}",
        "leading zero": f"{origin}\n020852163\n{root}\n\n{lines}",
        "root": f"{origin}\n{size}\n{base64.b64encode(bytes(32)).decode()}\n\n{lines}",
        "short root": f"{origin}\n{size}\nAAAA\n\n{lines}",
        "no signature": f"{text}\n\n",
        "no gap": f"{text}\n{lines}",
        "no last newline": note[:-1],
        "control": note.replace("20852163", "2085216\t3"),
        "carriage return": note.replace("\n", "\r\n"),
        "too many": note + lines * 100,
        "flipped": f"{text}\n\n— {origin} {base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()}\n",  # noqa: E501
        "padded": note.replace("=\n", "==\n"),
        "hyphen": note.replace("—", "-"),
        "bad line": note + "hello\n",
        "huge": note.replace(ORIGIN, "x" * 70000),
        "short signature": f"{text}\n\n— {origin} AAAA\n",
        "loose base64": NOTE.replace(root, root[:-2] + chr(ord(root[-2]) + 1) + "="),
        "plus in name": f"{text}\n\n{lines.replace(ORIGIN, 'a+b')}",
        "other name": f"{text}\n\n{lines.replace(ORIGIN, 'else.example/log')}",
    }
    return made[change]


@pytest.mark.parametrize(
    "change",
    [
        "size", "leading zero", "root", "short root", "no signature", "no gap", "no last newline",
        "control", "carriage return", "too many", "flipped", "padded", "hyphen", "bad line",
        "huge", "other name", "short signature", "loose base64", "plus in name",
    ],
)  # fmt: skip
def test_an_altered_note_is_refused(change: str) -> None:
    with pytest.raises(AuditBroken) as caught:
        checkpoint.verify(_reparted(NOTE, change), KEYS)
    assert caught.value.params["fault"] == "checkpoint"


def test_a_note_of_another_key_or_another_log_is_refused() -> None:
    for keys, origin in (([key(2).verify_key()], None), ([], None), (KEYS, "else.example/log")):
        with pytest.raises(AuditBroken):
            checkpoint.verify(NOTE, keys, origin)
    with pytest.raises(AuditBroken):
        checkpoint.verify(b"\xff\xfe", KEYS)
    with pytest.raises(AuditBroken):
        checkpoint.verify("\ud800\n\n", KEYS)


@given(st.text(max_size=200))
def test_random_text_is_no_checkpoint(text: str) -> None:
    with pytest.raises(AuditBroken):
        checkpoint.verify(text, KEYS)


def test_only_ed25519_signs_and_only_a_plain_origin_is_written() -> None:
    with pytest.raises(Misuse):
        checkpoint.sign(HEAD, SigningKey.generate("ES256"))
    for origin in ("", "two words", "a+b", "line\nbreak"):
        with pytest.raises(Misuse):
            checkpoint.sign(Checkpoint(origin, 1, bytes(32)), key())


def test_a_key_of_another_kind_has_no_key_id() -> None:
    with pytest.raises(Misuse):
        checkpoint.key_id(ORIGIN, {"kty": "RSA", "n": "AQ", "e": "AQAB"})
