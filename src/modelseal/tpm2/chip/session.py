"""Sessions: who may use an object, and that nobody on the wire reads or alters it (part 1, 19-21).

A session is salted: its key comes from a secret encrypted to a key of the TPM, so that whoever
listens between processor and TPM sees neither secrets nor a way to change commands. The response's
HMAC proves that the TPM with that key answered.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelseal.errors import KeyStoreUnavailable
from modelseal.tpm2.wire.codec import Reader, sized, u8, u16, u32
from modelseal.tpm2.wire.codes import Alg, Command, Hierarchy
from modelseal.tpm2.wire.public import Public
from modelseal.tpm2.wire.secrets import cfb_decrypt, cfb_encrypt, kdfa, secret_for

if TYPE_CHECKING:
    from modelseal.tpm2.chip.tpm import Ref, Tpm

_CONTINUE, _DECRYPT, _ENCRYPT = 0x01, 0x20, 0x40
_HMAC, _POLICY = 0x00, 0x01
_NONCE_BYTES = 16
_AES_BITS = 128


@dataclass(slots=True)
class Session:
    """A session of this connection. ``policy`` sessions authorize by assertions, others by HMAC."""

    tpm: Tpm
    handle: int
    key: bytes
    nonce_tpm: bytes
    nonce_caller: bytes
    policy: bool

    def use(
        self, auth_value: bytes = b"", *, hide: bool = False, secret_answer: bool = False
    ) -> Authorization:
        """This session as an authorization of one command.

        ``hide`` encrypts the command's first parameter, ``secret_answer`` the response's.
        """
        return Authorization(self, auth_value, hide, secret_answer)


@dataclass(frozen=True, slots=True)
class Authorization:
    """One entry of a command's authorization area; without a session it is a password."""

    session: Session | None = None
    auth_value: bytes = b""
    hidden: bool = False
    secret_answer: bool = False

    def hide(self, parameters: bytes) -> bytes:
        """Called once per command, first: a fresh nonce, and the first parameter encrypted."""
        session = self.session
        if session is None:
            return parameters
        session.nonce_caller = session.tpm.random(_NONCE_BYTES)
        if not self.hidden:
            return parameters
        length = int.from_bytes(parameters[:2], "big")
        first, rest = parameters[2 : 2 + length], parameters[2 + length :]
        key, iv = self._cipher(session.nonce_caller, session.nonce_tpm)
        return sized(cfb_encrypt(key, iv, first)) + rest

    def command_area(self, cp_hash: bytes) -> bytes:
        """TPMS_AUTH_COMMAND."""
        session = self.session
        if session is None:
            head = u32(Hierarchy.PASSWORD_SESSION) + sized(b"") + u8(_CONTINUE)
            return head + sized(self.auth_value)
        mac = self._mac(cp_hash, session.nonce_caller, session.nonce_tpm, self._attributes())
        head = u32(session.handle) + sized(session.nonce_caller) + u8(self._attributes())
        return head + sized(mac)

    def check_response(self, reader: Reader, rp_hash: bytes) -> None:
        """Reads TPMS_AUTH_RESPONSE; ``KeyStoreUnavailable`` when its HMAC does not hold."""
        nonce, attributes, mac = reader.sized(64), reader.u8(), reader.sized(64)
        session = self.session
        if session is None:
            return
        session.nonce_tpm = nonce
        if not hmac.compare_digest(
            mac, self._mac(rp_hash, nonce, session.nonce_caller, attributes)
        ):
            raise KeyStoreUnavailable("somebody between here and the TPM altered its answer")

    def show(self, answer: bytes) -> bytes:
        """The response's parameters, the first of them decrypted."""
        session = self.session
        if session is None or not self.secret_answer:
            return answer
        reader = Reader(answer)
        first, rest = reader.sized(), reader.rest()
        key, iv = self._cipher(session.nonce_tpm, session.nonce_caller)
        return sized(cfb_decrypt(key, iv, first)) + rest

    def _attributes(self) -> int:
        hide = _DECRYPT if self.hidden else 0
        return _CONTINUE | hide | (_ENCRYPT if self.secret_answer else 0)

    def _secret(self) -> bytes:
        return (self.session.key if self.session else b"") + self.auth_value

    def _mac(self, p_hash: bytes, newer: bytes, older: bytes, attributes: int) -> bytes:
        secret = self._secret()
        if not secret and self.session is not None and self.session.policy:
            return b""  # an unsalted policy session proves itself by its policy alone
        return hmac.digest(secret, p_hash + newer + older + u8(attributes), hashlib.sha256)

    def _cipher(self, newer: bytes, older: bytes) -> tuple[bytes, bytes]:
        made = kdfa(Alg.SHA256, self._secret(), b"CFB", newer, older, _AES_BITS + 128)
        return made[: _AES_BITS // 8], made[_AES_BITS // 8 :]


PASSWORD = Authorization()
"""The empty password."""


@contextlib.contextmanager
def hmac_session(tpm: Tpm, salt_key: Ref, public: Public) -> Iterator[Session]:
    """A session salted to the loaded key ``salt_key``, flushed at the end.

    Whoever passes a ``public`` that he knows from before is sure that this TPM answers.
    """
    session = _start(tpm, _HMAC, salt_key, public)
    with tpm.flushing(session.handle):
        yield session


@contextlib.contextmanager
def policy_session(
    tpm: Tpm, salt_key: Ref | None = None, public: Public | None = None
) -> Iterator[Session]:
    """A policy session with no assertion yet, salted where ``salt_key`` is given."""
    session = _start(tpm, _POLICY, salt_key, public)
    with tpm.flushing(session.handle):
        yield session


def _start(tpm: Tpm, kind: int, salt_key: Ref | None, public: Public | None) -> Session:
    from modelseal.tpm2.chip.tpm import Ref

    nobody = Ref.fixed(Hierarchy.NULL)
    salt, encrypted = b"", b""
    if salt_key is not None and public is not None:
        salt, encrypted = secret_for(public, b"SECRET", tpm.random)
    nonce = tpm.random(_NONCE_BYTES)
    parameters = sized(nonce) + sized(encrypted) + u8(kind)
    parameters += u16(Alg.AES) + u16(_AES_BITS) + u16(Alg.CFB) + u16(Alg.SHA256)
    reply = tpm.execute(
        Command.START_AUTH_SESSION,
        (salt_key or nobody, nobody),
        parameters,
        answer_handles=1,
    )
    nonce_tpm = reply.parameters.sized(64)
    key = kdfa(Alg.SHA256, salt, b"ATH", nonce_tpm, nonce, 256) if salt else b""
    return Session(tpm, reply.handles[0], key, nonce_tpm, nonce, kind == _POLICY)
