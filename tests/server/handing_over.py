"""How a device hands over to another signing key, by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from tests.server.world import Computer

from modelseal.crypto.signing import Signer, SigningKey
from modelseal.license import handover
from modelseal.license.claims import HandoverClaims, LeaseClaims
from modelseal.strict_json import b64u
from modelseal.types import to_numeric


def successor(old: Computer) -> Computer:
    """The same computer with a new ES256 key, as a TPM makes one."""
    return replace(old.copy(), key=SigningKey.generate("ES256"), traits=old.traits)


def token(old: Computer, new: Computer, asked: str, by: Signer | None = None, **other: Any) -> str:
    """What the old key signs of the new one; ``other`` lies about something."""
    known: dict[str, Any] = {
        "iss": old.key.kid,
        "aud": old.shop.trust.server_id,
        "product": old.shop.trust.product,
        "sub": old.device_id,
        "iat": to_numeric(old.shop.clock()),
        "nonce": asked,
        "jkt": new.key.kid,
    }
    return handover.sign(HandoverClaims(**{**known, **other}), by or old.key)


def move(old: Computer, new: Computer, **more: Any) -> LeaseClaims:
    nonce = more.pop("nonce", None) or b64u(os.urandom(32))
    return new.renew(nonce=nonce, handover=token(old, new, nonce), **more)
