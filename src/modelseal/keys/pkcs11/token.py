"""A token that one is logged in to, and opens again when it was gone: removed, reset, forked.

All who name the same token share one connection, because a process is logged in once. A PIN that
was typed is kept in locked memory for the next time; one from ``pin-source`` is read again. A PIN
that the token refused is never tried twice: tokens lock after a few wrong ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from modelseal.errors import (
    ConfigInvalid,
    InputMissing,
    KeyStoreUnavailable,
    ModelsealError,
    PassphraseWrong,
    SecretNeeded,
)
from modelseal.keys import files
from modelseal.keys.limits import Ask
from modelseal.keys.pkcs11 import module as modules
from modelseal.keys.pkcs11.module import Module, named
from modelseal.keys.pkcs11.uri import TokenUri
from modelseal.memory import SecretBytes

T = TypeVar("T")
_MAX_PIN_BYTES = 256
_CHOOSERS = {"token": "label", "manufacturer": "manufacturer_id", "model": "model"}


class _GoneError(Exception):
    """The token is not there; the module may have to be started anew to see it."""


class Token:
    """See the module."""

    def __init__(self, uri: TokenUri) -> None:
        self._uri = uri
        self._module = modules.module(uri.module())
        self._session: Any = None
        self._number = -1
        self._pin: SecretBytes | None = None
        self._refused = False
        self._found: dict[object, Any] = {}

    def log_in(self, uri: TokenUri, ask: Ask | None) -> None:
        """Afterwards there is a session; asks for the PIN where no file holds it and none is known.

        Raises ``PassphraseWrong`` and ``KeyStoreUnavailable``.
        """
        self._uri = uri
        if uri.pin_source is None and self._pin is None:
            if ask is None:
                raise self._secret_needed()
            text = ask(f"PIN of the token {self.name}: ").encode()
            if not 0 < len(text) <= _MAX_PIN_BYTES:
                raise PassphraseWrong("a PIN has 1 to 256 bytes")
            self._pin = SecretBytes(text)
        self._refused = False
        self.use(lambda _session: None)

    @property
    def name(self) -> str:
        """What a person calls the token."""
        return next(iter(self._uri.token.values()), "?")

    def use(self, act: Callable[[Any], T]) -> T:
        """What ``act`` makes of a session; when the token was gone, once more on a new session.

        ``act`` raises errors of ours for what it understands. Others of the wrapper mean that the
        session no longer works.
        """
        errors = modules.wrapper()
        held: Module = self._module
        with held.lock:
            held.library()
            again: tuple[Callable[[], None], ...] = (self._drop, held.reload)
            for prepare in again:
                try:
                    return act(self._opened())
                except (errors.PKCS11Error, _GoneError):
                    self._drop()
                    prepare()
            try:
                return act(self._opened())
            except _GoneError:
                raise self.unavailable("the token is not there") from None
            except errors.PKCS11Error as error:
                self._drop()
                raise self.unavailable(f"the token fails: {named(error)}") from None

    def find(self, session: Any, wanted: dict[Any, Any]) -> Any:
        """The only object with the attributes ``wanted``.

        Raises ``InputMissing`` when there is none and ``ConfigInvalid`` when there are several.
        """
        name = tuple(sorted((int(key), value) for key, value in wanted.items()))
        if name not in self._found:
            objects = list(session.get_objects(wanted))
            if not objects:
                raise InputMissing("the token holds no such key", path=str(self._uri))
            if len(objects) > 1:
                raise ConfigInvalid("the token holds several such keys; name one with id=")
            self._found[name] = objects[0]
        return self._found[name]

    def works(self, key: Any) -> bool:
        """True when the token still answers for ``key``."""
        errors = modules.wrapper()
        try:
            return isinstance(key[errors.Attribute.ID], bytes)
        except errors.PKCS11Error:
            return False

    def mechanisms(self, session: Any) -> frozenset[int]:
        """The numbers of the mechanisms that the token has."""
        return frozenset(int(each) for each in session.token.slot.get_mechanisms())

    def unavailable(self, why: str) -> KeyStoreUnavailable:
        """The error that says ``why`` this token cannot be used."""
        return KeyStoreUnavailable(why, uri=f"pkcs11 token {self.name}")

    def _secret_needed(self) -> SecretNeeded:
        return SecretNeeded("its PIN is needed and nobody can be asked",
                            uri=f"pkcs11 token {self.name}")  # fmt: skip

    def _opened(self) -> Any:
        if self._session is None or self._number != self._module.number:
            self._drop()
            self._session = self._log_in(self._chosen())
            self._number = self._module.number
        return self._session

    def _drop(self) -> None:
        """The session is left alone: closing it would log out whoever shares the token."""
        self._session = None
        self._found.clear()

    def _chosen(self) -> Any:
        errors = modules.wrapper()
        fitting = []
        for slot in self._module.library().get_slots(token_present=True):
            try:
                token = slot.get_token()
            except (errors.TokenNotPresent, errors.TokenNotRecognised):
                continue
            if self._fits(slot, token):
                fitting.append(token)
        if not fitting:
            raise _GoneError
        if len(fitting) > 1:
            raise ConfigInvalid("several tokens fit the pkcs11 URI; name one with serial=")
        return fitting[0]

    def _fits(self, slot: Any, token: Any) -> bool:
        wanted = self._uri.token
        library = self._module.library()
        there = {name: getattr(token, member) for name, member in _CHOOSERS.items()}
        there |= {
            "serial": token.serial.decode("utf-8", "replace").strip(),
            "slot-id": str(slot.slot_id),
            "slot-description": slot.slot_description,
            "slot-manufacturer": slot.manufacturer_id,
            "library-manufacturer": library.manufacturer_id,
            "library-description": library.library_description,
            "library-version": ".".join(map(str, library.library_version)),
        }
        return all(str(there[name]).strip() == value for name, value in wanted.items())

    def _log_in(self, token: Any) -> Any:
        errors = modules.wrapper()
        if self._refused:
            raise self.unavailable("it refused the PIN before; it is not tried again")
        try:
            return token.open(rw=True, user_pin=self._known_pin())
        except errors.UserAlreadyLoggedIn:
            return token.open(rw=True)
        except (errors.PinIncorrect, errors.PinInvalid, errors.PinLenRange):
            self._pin, self._refused = None, True
            raise PassphraseWrong("the token refused the PIN") from None
        except (errors.PinLocked, errors.PinExpired, errors.UserPinNotInitialized) as error:
            self._pin, self._refused = None, True
            raise self.unavailable(f"the token lets nobody in: {named(error)}") from None

    def _known_pin(self) -> str:
        if self._uri.pin_source is not None:
            data = files.read_secret(self._uri.pin_source, max_bytes=_MAX_PIN_BYTES)
            data = data.removesuffix(b"\n").removesuffix(b"\r")
        elif self._pin is not None:
            data = self._pin.reveal()
        else:
            raise self._secret_needed()
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise PassphraseWrong("a PIN is UTF-8 text") from None


_tokens: dict[object, Token] = {}
_guard = threading.Lock()


def logged_in(uri: TokenUri, ask: Ask | None) -> Token:
    """The token of ``uri``, logged in to, the same for all who name it so."""
    modules.wrapper()
    name = (uri.module(), tuple(sorted(uri.token.items())), uri.pin_source)
    with _guard:
        found = _tokens.get(name) or Token(uri)
    try:
        found.log_in(uri, ask)
    except ModelsealError:
        with _guard:
            _tokens.pop(name, None)
        raise
    with _guard:
        return _tokens.setdefault(name, found)
