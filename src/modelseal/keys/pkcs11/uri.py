"""PKCS#11 URIs (RFC 7512): which module, which token, which object, and where its PIN comes from.

    pkcs11:token=shop;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so
    pkcs11:serial=c305032d;id=%01%02?pin-source=file:/etc/modelseal/pin

Without ``pin-source`` the PIN is asked for. ``pin-value`` is refused: a URI is written into files
and logs. Vendor attributes of ours: ``x-cache-seconds``, ``x-limit-seconds`` (0: the token is
waited for however long it takes, without a thread), ``x-mechanism``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from modelseal.errors import ConfigInvalid
from modelseal.keys import options

MODULE_VARIABLE = "PKCS11_MODULE_PATH"
MECHANISMS = ("aes-gcm", "aes-key-wrap")
_PATH_NAMES = {"token", "manufacturer", "serial", "model", "object", "type", "id", "slot-id"}
_PATH_NAMES |= {"slot-description", "slot-manufacturer"}
_PATH_NAMES |= {"library-manufacturer", "library-version", "library-description"}
_QUERY_NAMES = {"pin-source", "pin-value", "module-name", "module-path"}
_VENDOR_NAMES = {"x-cache-seconds", "x-limit-seconds", "x-mechanism"}
_PATH_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*")
_TYPES = {"secret-key", "private", "public", "cert", "data"}
_MAX_ID_BYTES = 64


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A parsed URI. ``token`` are the attributes that choose a token, decoded."""

    token: Mapping[str, str]
    object: str | None
    id: bytes | None
    type: str | None
    module_path: str | None
    pin_source: Path | None
    mechanism: str | None
    cache_seconds: float
    limit_seconds: float

    def module(self) -> str:
        """The path of the module: from the URI, else from ``PKCS11_MODULE_PATH``."""
        found = self.module_path or os.environ.get(MODULE_VARIABLE, "")
        if not found:
            raise ConfigInvalid("name the token's module: ?module-path=/usr/lib/...so")
        if not Path(found).is_absolute():
            raise ConfigInvalid("the path of a PKCS#11 module is absolute")
        return found

    def of(self, label: str, ident: bytes, kind: str) -> TokenUri:
        """The URI of the object ``label`` on the same token."""
        return replace(self, object=label, id=ident, type=kind)

    def __str__(self) -> str:
        path = [f"{name}={quote(value, safe='')}" for name, value in sorted(self.token.items())]
        if self.object is not None:
            path.append(f"object={quote(self.object, safe='')}")
        if self.id is not None:
            path.append("id=" + "".join(f"%{byte:02X}" for byte in self.id))
        if self.type is not None:
            path.append(f"type={self.type}")
        query = []
        if self.module_path is not None:
            query.append(f"module-path={quote(self.module_path)}")
        if self.pin_source is not None:
            query.append(f"pin-source=file:{quote(str(self.pin_source))}")
        return "pkcs11:" + ";".join(path) + ("?" + "&".join(query) if query else "")


def parse(uri: str) -> TokenUri:
    """The parts of ``uri``; ``ConfigInvalid`` for what RFC 7512 or this page does not allow."""
    scheme, _, rest = uri.partition(":")
    path, _, query = rest.partition("?")
    if scheme != "pkcs11" or not options.is_plain(uri) or "#" in uri:
        raise _odd("this is no pkcs11 URI")
    found = _attributes(path, ";", _PATH_NAMES, _PATH_VALUE)
    asked = _attributes(query, "&", _QUERY_NAMES | _VENDOR_NAMES, _QUERY_VALUE)
    if "pin-value" in asked:
        raise _odd("a PIN never stands in a URI; use pin-source=file:PATH, or be asked")
    if "module-name" in asked:
        raise _odd("name the module by its whole path: module-path=/usr/lib/...so")
    texts = {name: _text(value) for name, value in found.items() if name != "id"}
    if texts.get("type", "secret-key") not in _TYPES:
        raise _odd("an unknown type of object")
    vendor = {name: _text(value) for name, value in asked.items() if name in _VENDOR_NAMES}
    mechanism = vendor.get("x-mechanism")
    if mechanism is not None and mechanism not in MECHANISMS:
        raise _odd(f"x-mechanism is one of {', '.join(MECHANISMS)}")
    ident = found.get("id")
    if ident is not None and not 0 < len(ident) <= _MAX_ID_BYTES:
        raise _odd("an id has 1 to 64 bytes")
    module = asked.get("module-path")
    return TokenUri(
        token={name: text for name, text in texts.items() if name not in ("object", "type")},
        object=texts.get("object"),
        id=ident,
        type=texts.get("type"),
        module_path=None if module is None else _text(module),
        pin_source=_pin_source(asked.get("pin-source")),
        mechanism=mechanism,
        cache_seconds=options.seconds(vendor, "x-cache-seconds", 0, 0, 86_400),
        limit_seconds=options.seconds(vendor, "x-limit-seconds", options.LIMIT_SECONDS, 0, 600),
    )


def _attributes(
    text: str, between: str, known: set[str], form: re.Pattern[str]
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(between) if text else []:
        name, equals, value = part.partition("=")
        if not equals or name not in known or name in found:
            raise _odd("an attribute is unknown, stands twice or has no value")
        if not form.fullmatch(value):
            raise _odd(f"the value of {name} must be percent-encoded")
        found[name] = unquote_to_bytes(value)
    return found


def _text(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise _odd("a value is no UTF-8 text") from None
    if not text or not text.isprintable():
        raise _odd("a value is empty or holds control characters")
    return text


def _pin_source(value: bytes | None) -> Path | None:
    if value is None:
        return None
    text = _text(value)
    path = text.removeprefix("file:")
    if text.startswith("|") or ("://" in path and not path.startswith("///")):
        raise _odd("pin-source is file:PATH; programs are not run")
    path = path[2:] if path.startswith("///") else path
    if not Path(path).is_absolute():
        raise _odd("the path in pin-source is absolute")
    return Path(path)


def _odd(why: str) -> ConfigInvalid:
    return ConfigInvalid(f"pkcs11: {why}")
