"""Signing keys in a token: Ed25519, ES256, RS256, made there, never to leave it.

What comes out is a ``SigningKey`` whose private half is the token. Each signature is verified
before it is handed out: a token that errs would give its key away, or sign what no one accepts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from modelseal.crypto.signing import SigningKey
from modelseal.errors import ConfigInvalid, InputMissing, KeyStoreUnavailable, OutputExists
from modelseal.keys import limits
from modelseal.keys.limits import Ask
from modelseal.keys.pkcs11 import module as modules
from modelseal.keys.pkcs11 import uri as uris
from modelseal.keys.pkcs11.token import Token, logged_in
from modelseal.keys.pkcs11.uri import TokenUri
from modelseal.keys.reference import Reference

ALGORITHMS = ("Ed25519", "ES256", "RS256")
_RSA_BITS = 3072
_ID_BYTES = 16
_P256_BYTES = 32
_ED25519, _P256 = "1.3.101.112", "secp256r1"


def create_signer(
    uri_text: str,
    alg: str,
    label: str,
    *,
    ask: Ask | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> tuple[Reference, SigningKey]:
    """A fresh key ``label`` for ``alg`` in the token, and where it is from now on.

    Raises ``ConfigInvalid`` for an algorithm that no token here makes, ``OutputExists``.
    """
    parsed = uris.parse(uri_text)
    if alg not in ALGORITHMS:
        raise ConfigInvalid(f"a PKCS#11 token makes {', '.join(ALGORITHMS)} keys, not {alg}")
    if parsed.object is not None or parsed.id is not None:
        raise ConfigInvalid("the URI names the token alone: each signing key gets its own name")
    found, ident = logged_in(parsed, ask), random(_ID_BYTES)
    named = parsed.of(label, ident, "private")
    public = found.use(lambda session: _make(found, session, alg, named))
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    where = Reference(str(named), alg, spki)
    return where, SigningKey(alg, _TokenPrivate(found, named, alg, public))


def open_signer(where: Reference, *, ask: Ask | None = None) -> SigningKey:
    """The key at ``where``; it signs once, to show that it is the one whose public half is known.

    Raises ``InputMissing``, ``KeyStoreUnavailable``.
    """
    parsed = uris.parse(where.uri)
    public = load_der_public_key(where.public)
    private = _TokenPrivate(logged_in(parsed, ask), parsed, where.alg, public)
    key = SigningKey(where.alg, private)
    key.sign(b"modelseal opens a signing key")
    return key


class _TokenPrivate:
    """What ``SigningKey`` takes for a private key of ``cryptography``."""

    def __init__(self, found: Token, uri: TokenUri, alg: str, public: Any) -> None:
        self._token = found
        self._uri = uri
        self._alg = alg
        self._public = public

    def public_key(self) -> Any:
        """The public half."""
        return self._public

    def sign(self, data: bytes, *how: Any) -> bytes:
        """A signature as ``cryptography`` makes it; ``how`` is what the algorithm implies."""
        made = limits.run(
            lambda: self._token.use(lambda session: self._sign(session, data)),
            self._uri.limit_seconds,
            uri=str(self._uri),
        )
        if self._alg == "ES256":
            if len(made) != 2 * _P256_BYTES:
                raise self._token.unavailable("it signed in another form")
            halves = made[:_P256_BYTES], made[_P256_BYTES:]
            made = encode_dss_signature(*(int.from_bytes(half, "big") for half in halves))
        try:
            self._public.verify(made, data, *how)
        except InvalidSignature:
            raise self._token.unavailable("its signature does not hold") from None
        return made

    def _sign(self, session: Any, data: bytes) -> bytes:
        p11 = modules.wrapper()
        key = self._token.find(session, _template(self._uri, "PRIVATE_KEY"))
        if self._alg == "ES256":  # tokens need not have the mechanism that hashes too
            made = key.sign(hashlib.sha256(data).digest(), mechanism=p11.Mechanism.ECDSA)
        elif self._alg == "RS256":
            made = key.sign(data, mechanism=p11.Mechanism.SHA256_RSA_PKCS)
        else:
            made = key.sign(data, mechanism=p11.Mechanism.EDDSA)
        return bytes(made)

    def private_bytes(self, *_: object) -> NoReturn:
        """``KeyStoreUnavailable``: the key never leaves the token."""
        raise KeyStoreUnavailable("the key never leaves its token", uri=str(self._uri))


def _make(found: Token, session: Any, alg: str, uri: TokenUri) -> Any:
    p11 = modules.wrapper()
    names, flags = p11.Attribute, p11.MechanismFlag
    try:
        found.find(session, {**_template(uri, "PRIVATE_KEY"), names.ID: uri.id})
    except InputMissing:
        pass
    else:
        raise OutputExists("the token holds such a key already", path=str(uri))
    hidden = {names.EXTRACTABLE: False, names.SENSITIVE: True, names.PRIVATE: True}
    more = {"store": True, "label": uri.object, "id": uri.id, "private_template": hidden,
            "capabilities": flags.SIGN | flags.VERIFY}  # fmt: skip
    needed = {"Ed25519": p11.Mechanism.EDDSA, "ES256": p11.Mechanism.ECDSA,
              "RS256": p11.Mechanism.SHA256_RSA_PKCS}[alg]  # fmt: skip
    if int(needed) not in found.mechanisms(session):
        raise ConfigInvalid(f"the token has no mechanism for {alg}")
    if alg == "RS256":
        public, private = session.generate_keypair(p11.KeyType.RSA, _RSA_BITS, **more)
    else:
        from pkcs11.util.ec import encode_named_curve_parameters

        kind = p11.KeyType.EC_EDWARDS if alg == "Ed25519" else p11.KeyType.EC
        curve = encode_named_curve_parameters(_ED25519 if alg == "Ed25519" else _P256)
        domain = session.create_domain_parameters(kind, {names.EC_PARAMS: curve}, local=True)
        public, private = domain.generate_keypair(**more)
    if private[names.EXTRACTABLE] or not private[names.SENSITIVE]:
        private.destroy()
        raise found.unavailable("the token made a key that may leave it; it is removed again")
    return _public(alg, public)


def _public(alg: str, public: Any) -> Any:
    names = modules.wrapper().Attribute
    if alg == "RS256":
        e, n = (int.from_bytes(public[each], "big")
                for each in (names.PUBLIC_EXPONENT, names.MODULUS))  # fmt: skip
        return rsa.RSAPublicNumbers(e, n).public_key()
    point = bytes(public[names.EC_POINT])
    length = 32 if alg == "Ed25519" else 1 + 2 * _P256_BYTES
    # DER OCTET STRING as the standard says, or the bare point as some tokens have it.
    raw = point[2:] if len(point) == length + 2 and point[:2] == bytes([4, length]) else point
    try:
        if alg == "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(raw)
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    except ValueError:
        raise KeyStoreUnavailable("the token told no public key", uri="pkcs11") from None


def _template(uri: TokenUri, kind: str) -> dict[Any, Any]:
    p11 = modules.wrapper()
    found = {p11.Attribute.CLASS: getattr(p11.ObjectClass, kind)}
    if uri.object is not None:
        found[p11.Attribute.LABEL] = uri.object
    if uri.id is not None:
        found[p11.Attribute.ID] = uri.id
    return found
