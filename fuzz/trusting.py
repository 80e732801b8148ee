"""A trust that lists one key for everything, and that key: what is composed here is signed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fuzz.harness import vector
from modelseal.crypto.signing import SigningKey, VerifyKey
from modelseal.errors import TokenKeyUnknown
from modelseal.strict_json import unb64u

SIGNER = SigningKey.from_pkcs8(unb64u(vector("tokens/keys.json")["signing"]["Ed25519"]["pkcs8"]))


@dataclass(frozen=True, slots=True)
class OneKey:
    """Everything is signed by ``key``, at any time."""

    product: str
    server_id: str
    key: VerifyKey

    def verify_keys(self, use: str, kid: str, at: datetime) -> tuple[VerifyKey, ...]:
        """The key, when it is meant."""
        if kid != self.key.kid:
            raise TokenKeyUnknown("not listed")
        return (self.key,)


_TOLD = vector("tokens/valid.json")["trust"]
TRUST = OneKey(_TOLD["product"], _TOLD["server_id"], SIGNER.verify_key())
