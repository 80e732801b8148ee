"""cryptotensors: safetensors with each tensor encrypted, loaded by an extension in Rust."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from bench.peers import Open, key_beside, released
from modelseal.crypto.signing import SigningKey
from modelseal.strict_json import unb64u

TITLE = "cryptotensors"
REMARK = "tensors encrypted one by one; names, shapes and sizes stay readable"


def released_as() -> str:
    """What is measured."""
    return released("cryptotensors")


def protect(plain: Path, target: Path) -> None:
    """AES-256-GCM and an Ed25519 signature, its defaults for the rest."""
    import cryptotensors.numpy
    import safetensors.numpy

    keys = _keys()
    key_beside(target).write_text(json.dumps(keys))
    loaded = safetensors.numpy.load_file(plain)
    config = {"enc_key": keys[0], "sign_key": keys[1]}
    cryptotensors.numpy.save_file(loaded, str(target), config=config)


def opener(target: Path) -> Open:
    """Its own ``load_file`` for numpy."""
    import cryptotensors
    import cryptotensors.numpy

    cryptotensors.register_direct_key_provider(keys=json.loads(key_beside(target).read_text()))
    return lambda: cryptotensors.numpy.load_file(str(target))


def _keys() -> list[dict[str, Any]]:
    signer = SigningKey.generate("Ed25519")
    seed = signer.to_pkcs8()[-32:]
    return [
        {"kty": "oct", "alg": "aes256gcm", "kid": "e", "k": _b64(os.urandom(32))},
        {"kty": "okp", "alg": "ed25519", "kid": "s", "crv": "Ed25519", "d": _b64(seed),
         "x": _b64(unb64u(signer.jwk["x"]))},
    ]  # fmt: skip


def _b64(data: bytes) -> str:  # with padding, unlike a JWK
    return base64.b64encode(data).decode()
