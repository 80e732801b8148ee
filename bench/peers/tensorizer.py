"""CoreWeave's tensorizer with libsodium's XSalsa20-Poly1305, into torch."""

from __future__ import annotations

import os
from pathlib import Path

from bench.peers import Cannot, Open, key_beside, released

TITLE = "tensorizer"
REMARK = "its own format, into torch; tensors are numpy views of it"


def released_as() -> str:
    """What is measured."""
    told = released("tensorizer")
    from tensorizer import _crypt

    if not _crypt.available:
        raise Cannot("libsodium is not installed: apt-get install libsodium23")
    return told


def protect(plain: Path, target: Path) -> None:
    """A random key."""
    from safetensors.torch import load_file
    from tensorizer import EncryptionParams, TensorSerializer

    key_beside(target).write_bytes(os.urandom(32))
    params = EncryptionParams(key=key_beside(target).read_bytes())
    serializer = TensorSerializer(str(target), encryption=params)
    serializer.write_state_dict(load_file(plain))
    serializer.close()


def opener(target: Path) -> Open:
    """Its deserializer on the processor, every tensor read."""
    from tensorizer import DecryptionParams, TensorDeserializer

    params = DecryptionParams.from_key(key_beside(target).read_bytes())

    def run() -> object:
        with TensorDeserializer(str(target), device="cpu", encryption=params) as opened:
            return {name: tensor.detach().numpy() for name, tensor in opened.items()}

    return run
