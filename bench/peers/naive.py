"""What one writes first: the file read, decrypted by one call of AES-256-GCM, handed over."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.peers import Open, key_beside, released, tensors

TITLE = "whole-file AES-GCM"
REMARK = "at most 2 GiB; nothing is signed"


def released_as() -> str:
    """What is measured."""
    return released("cryptography")


def protect(plain: Path, target: Path) -> None:
    """Nonce and ciphertext."""
    key, nonce = os.urandom(32), os.urandom(12)
    key_beside(target).write_bytes(key)
    target.write_bytes(nonce + AESGCM(key).encrypt(nonce, plain.read_bytes(), None))


def opener(target: Path) -> Open:
    """Read, decrypt, parse."""
    cipher = AESGCM(key_beside(target).read_bytes())

    def run() -> object:
        data = target.read_bytes()
        return tensors(cipher.decrypt(data[:12], data[12:], None))

    return run
