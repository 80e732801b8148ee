"""A key-encryption key in a token: AES-256, made there, never to leave it.

Two mechanisms, named in what they wrap: AES-GCM with the shown context as associated data, and
AES key wrap (RFC 3394). RSA-OAEP is not used: SoftHSM 2.6.1 has it with SHA-1 only. Nothing is
done in software instead of a mechanism that the token lacks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from modelseal import cbor
from modelseal.errors import (
    ConfigInvalid,
    InputMissing,
    KeyStoreUnavailable,
    OutputExists,
    WrappedKeyInvalid,
)
from modelseal.keys.layered import KEY_BYTES, Bound
from modelseal.keys.pkcs11 import module as modules
from modelseal.keys.pkcs11.token import Token
from modelseal.keys.pkcs11.uri import TokenUri
from modelseal.types import Level

GCM, KEY_WRAP = 1, 2
_NONCE_BYTES = 12
_TAG_BYTES = 16
_ID_BYTES = 16
_GCM_BYTES = 1 + _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
_KEY_WRAP_BYTES = 1 + KEY_BYTES + 8


class TokenKek:
    """See the module; a ``KeyStore``. The token's own claim of L1 counts as declared."""

    kind = "pkcs11"
    level = Level.L1

    def __init__(
        self, token: Token, uri: TokenUri, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._token = token
        self._uri = uri
        self._random = random
        self._mechanism, self.identity, self._facts = token.use(self._examine)

    def wrap_key(self, key: bytes, bound: Bound) -> bytes:
        """The 32-byte ``key`` wrapped in the token; the first byte names the mechanism."""
        act = self._wrap_gcm if self._mechanism == GCM else self._wrap_key
        return bytes([self._mechanism]) + self._token.use(lambda s: act(s, key, _aad(bound)))

    def unwrap_key(self, wrapped: bytes, bound: Bound) -> bytes:
        """The key again; by the mechanism that wrapped it."""
        if wrapped[:1] == bytes([GCM]) and len(wrapped) == _GCM_BYTES:
            act: Any = self._unwrap_gcm
        elif wrapped[:1] == bytes([KEY_WRAP]) and len(wrapped) == _KEY_WRAP_BYTES:
            act = self._unwrap_key
        else:
            raise WrappedKeyInvalid("wrapped by no mechanism that is known here")
        return bytes(self._token.use(lambda s: act(s, wrapped[1:], _aad(bound))))

    def describe(self) -> Mapping[str, object]:
        """The token, the mechanism, and what the token says of the key."""
        return {**self._facts, "mechanism": "aes-gcm" if self._mechanism == GCM else "aes-key-wrap"}

    def _key(self, session: Any) -> Any:
        return self._token.find(session, template(self._uri))

    def _examine(self, session: Any) -> tuple[int, bytes, dict[str, object]]:
        p11 = modules.wrapper()
        key, names = self._key(session), p11.Attribute
        if key[names.EXTRACTABLE] or not key[names.SENSITIVE]:
            raise self._token.unavailable("the key may leave the token; it is not used")
        if key[names.VALUE_LEN] != KEY_BYTES:
            raise ConfigInvalid("the key in the token is no AES-256 key")
        mechanism = choose(self._uri, self._token.mechanisms(session))
        for name in (names.ENCRYPT, names.DECRYPT) if mechanism == GCM else (
            names.WRAP, names.UNWRAP
        ):  # fmt: skip
            if not key[name]:
                raise ConfigInvalid(f"the key in the token is not for {name.name.lower()}")
        try:
            check = bytes(key[names.CHECK_VALUE])
        except p11.PKCS11Error:
            check = b""
        facts = {
            "token": session.token.label,
            "serial": session.token.serial.decode("utf-8", "replace").strip(),
            "made_in_token": bool(key[names.LOCAL]),
        }
        return mechanism, bytes(key[names.ID]) + b"\0" + check, facts

    def _wrap_gcm(self, session: Any, key: bytes, aad: bytes) -> bytes:
        p11, nonce = modules.wrapper(), self._random(_NONCE_BYTES)
        how = p11.GCMParams(nonce, aad, 8 * _TAG_BYTES)
        made: bytes = self._key(session).encrypt(
            key, mechanism=p11.Mechanism.AES_GCM, mechanism_param=how
        )
        return nonce + made

    def _unwrap_gcm(self, session: Any, wrapped: bytes, aad: bytes) -> bytes:
        p11, kek = modules.wrapper(), self._key(session)
        how = p11.GCMParams(wrapped[:_NONCE_BYTES], aad, 8 * _TAG_BYTES)
        opened: bytes = self._tried(kek, lambda: kek.decrypt(
            wrapped[_NONCE_BYTES:], mechanism=p11.Mechanism.AES_GCM, mechanism_param=how
        ))  # fmt: skip
        return opened

    def _wrap_key(self, session: Any, key: bytes, _aad: bytes) -> bytes:
        p11 = modules.wrapper()
        given = session.create_object({**_passing(), p11.Attribute.VALUE: key})
        try:
            made: bytes = self._key(session).wrap_key(given, mechanism=p11.Mechanism.AES_KEY_WRAP)
        finally:
            given.destroy()
        return made

    def _unwrap_key(self, session: Any, wrapped: bytes, _aad: bytes) -> bytes:
        p11, kek = modules.wrapper(), self._key(session)
        found = self._tried(kek, lambda: kek.unwrap_key(
            p11.ObjectClass.SECRET_KEY, p11.KeyType.AES, wrapped,
            mechanism=p11.Mechanism.AES_KEY_WRAP, template=_passing(),
        ))  # fmt: skip
        try:
            value: bytes = found[p11.Attribute.VALUE]
        finally:
            found.destroy()
        return value

    def _tried(self, kek: Any, act: Callable[[], Any]) -> Any:
        """What ``act`` gives. Tokens say in many ways that bytes do not open: SoftHSM says
        CKR_GENERAL_ERROR, as it does for a token that is gone; so the token is asked again.
        """
        p11 = modules.wrapper()
        try:
            return act()
        except p11.PKCS11Error:
            if not self._token.works(kek):
                raise
            raise WrappedKeyInvalid("the token cannot open it: altered, or moved") from None


def create(token: Token, uri: TokenUri, random: Callable[[int], bytes] = os.urandom) -> None:
    """Afterwards the token holds a fresh key ``uri``; ``OutputExists`` when there is one."""
    if uri.object is None:
        raise ConfigInvalid("name the new key: pkcs11:token=...;object=NAME")
    token.use(lambda session: _create(token, session, uri, random))


def _create(token: Token, session: Any, uri: TokenUri, random: Callable[[int], bytes]) -> None:
    p11 = modules.wrapper()
    names, flags = p11.Attribute, p11.MechanismFlag
    try:
        token.find(session, template(uri))
    except InputMissing:
        pass
    else:
        raise OutputExists("the token holds such a key already", path=str(uri))
    gcm = choose(uri, token.mechanisms(session)) == GCM
    made = session.generate_key(
        p11.KeyType.AES, 8 * KEY_BYTES, label=uri.object, id=uri.id or random(_ID_BYTES),
        store=True,
        capabilities=flags.ENCRYPT | flags.DECRYPT if gcm else flags.WRAP | flags.UNWRAP,
        template={names.EXTRACTABLE: False, names.SENSITIVE: True, names.PRIVATE: True},
    )  # fmt: skip
    if made[names.EXTRACTABLE] or not made[names.SENSITIVE]:
        made.destroy()
        raise token.unavailable("the token made a key that may leave it; it is removed again")


def choose(uri: TokenUri, there: frozenset[int]) -> int:
    """The mechanism: the one that ``uri`` names, else AES-GCM, else AES key wrap."""
    p11 = modules.wrapper()
    both = {GCM: p11.Mechanism.AES_GCM, KEY_WRAP: p11.Mechanism.AES_KEY_WRAP}
    wanted = [GCM, KEY_WRAP]
    if uri.mechanism is not None:
        wanted = [GCM if uri.mechanism == "aes-gcm" else KEY_WRAP]
    for each in wanted:
        if int(both[each]) in there:
            return each
    raise KeyStoreUnavailable("the token has no mechanism to wrap keys with: AES-GCM, AES key wrap",
                              uri=str(uri))  # fmt: skip


def template(uri: TokenUri) -> dict[Any, Any]:
    """The attributes by which the key of ``uri`` is found."""
    p11 = modules.wrapper()
    names = p11.Attribute
    if uri.object is None and uri.id is None:
        raise ConfigInvalid("the pkcs11 URI names no key: add object=NAME or id=...")
    if uri.type not in (None, "secret-key"):
        raise ConfigInvalid("a key-encryption key in a token is of type=secret-key")
    found = {names.CLASS: p11.ObjectClass.SECRET_KEY, names.KEY_TYPE: p11.KeyType.AES}
    if uri.object is not None:
        found[names.LABEL] = uri.object
    if uri.id is not None:
        found[names.ID] = uri.id
    return found


def _passing() -> dict[Any, Any]:
    """A key that is in the token for one call, in order to be wrapped or read."""
    p11 = modules.wrapper()
    names = p11.Attribute
    return {
        names.CLASS: p11.ObjectClass.SECRET_KEY, names.KEY_TYPE: p11.KeyType.AES,
        names.TOKEN: False, names.EXTRACTABLE: True, names.SENSITIVE: False,
    }  # fmt: skip


def _aad(bound: Bound) -> bytes:
    return b"modelseal working key v1" + cbor.encode(dict(bound))
