"""HPKE base mode with a P-256 key that lives in hardware: the layer round ``MLKEM768_X25519``.

``P256PublicKey.seal`` and ``P256PrivateKey.open`` undo each other under the same ``info``. The
hardware decides whether it is opened, the layer inside keeps it secret from whoever can one day
compute elliptic curves backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec

from modelseal.crypto import jwk as jwks
from modelseal.crypto.jwk import Jwk
from modelseal.errors import SealedKeyInvalid, TokenAlgorithm, TokenMalformed
from modelseal.strict_json import b64u

OVERHEAD_BYTES = 65 + 16
_POINT_BYTES = 32
_SUITE = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

Exchange = Callable[[bytes, bytes], bytes]
"""Both coordinates of a point to the x coordinate of its product with the private key."""


def point_jwk(x: bytes, y: bytes) -> Jwk:
    """The JWK of a P-256 point."""
    return {"kty": "EC", "crv": "P-256", "x": b64u(x), "y": b64u(y)}


class P256PublicKey:
    """The public half of a key in hardware."""

    __slots__ = ("jwk", "key", "kid")

    def __init__(self, jwk: Mapping[str, object]) -> None:
        self.jwk: Jwk = jwks.check(jwk)
        if (self.jwk.get("kty"), self.jwk.get("crv")) != ("EC", "P-256"):
            raise TokenAlgorithm("a key in hardware is on P-256")
        x, y = jwks.member(self.jwk, "x"), jwks.member(self.jwk, "y")
        if len(x) != _POINT_BYTES or len(y) != _POINT_BYTES:
            raise TokenMalformed("a coordinate of P-256 has 32 bytes")
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
        )
        try:
            self.key = numbers.public_key()
        except ValueError:
            raise TokenMalformed("the JWK holds no point of P-256") from None
        self.kid = jwks.thumbprint(self.jwk)

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """``plaintext`` sealed to this key under ``info`` (81 bytes longer)."""
        return _SUITE.encrypt(plaintext, self.key, info)


class P256PrivateKey:
    """A key whose scalar stays where it is: ``exchange`` asks the hardware.

    What the hardware raises leaves as it is, everything else that fails as ``SealedKeyInvalid``.
    """

    __slots__ = ("_exchange", "_public", "jwk", "kid")

    def __init__(self, exchange: Exchange, jwk: Mapping[str, object]) -> None:
        public = P256PublicKey(jwk)
        self.jwk, self.kid = public.jwk, public.kid
        self._public, self._exchange = public.key, exchange

    def open(self, ciphertext: bytes, info: bytes) -> bytes:
        """The plaintext; ``SealedKeyInvalid`` when it was sealed to another key or ``info``."""
        if len(ciphertext) < OVERHEAD_BYTES:
            raise SealedKeyInvalid("shorter than any sealed key")
        asked = _Asked(self._public, self._exchange)
        try:
            return _SUITE.decrypt(ciphertext, asked, info)
        except Exception:  # noqa: BLE001 - the library makes one error of everything
            if asked.failure is not None:
                raise asked.failure from None
            raise SealedKeyInvalid("sealed for another key or another purpose") from None

    def __repr__(self) -> str:
        return f"P256PrivateKey(kid={self.kid[:8]}…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key cannot be pickled or copied")


class _Asked(ec.EllipticCurvePrivateKey):
    """The library's view of the key for one opening; it remembers what the hardware refused."""

    def __init__(self, public: ec.EllipticCurvePublicKey, exchange: Exchange) -> None:
        self._public, self._exchange = public, exchange
        self.failure: Exception | None = None

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        numbers = peer_public_key.public_numbers()
        try:
            return self._exchange(
                numbers.x.to_bytes(_POINT_BYTES, "big"), numbers.y.to_bytes(_POINT_BYTES, "big")
            )
        except Exception as error:
            self.failure = error
            raise

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def sign(self, *_args: Any) -> bytes:
        raise NotImplementedError

    def private_numbers(self) -> NoReturn:
        raise NotImplementedError

    def private_bytes(self, *_args: Any) -> bytes:
        raise NotImplementedError

    def __copy__(self) -> NoReturn:
        raise TypeError("a private key cannot be pickled or copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a private key cannot be pickled or copied")
