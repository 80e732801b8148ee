"""The options behind the ``?`` of a key URI, and what an endpoint may be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from modelseal.errors import ConfigInvalid
from modelseal.hosts import is_loopback

MAX_URI_CHARACTERS = 2048
CACHE_SECONDS = 300.0
LIMIT_SECONDS = 10.0
_MAX_CACHE_SECONDS = 86_400.0
_MAX_LIMIT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class StoreUri:
    """A key URI ``scheme:name?option=value&...``, percent-decoded.

    ``cache_seconds``: how long an unwrapped working key may stay in memory. ``limit_seconds``: how
    long the store may take for one answer.
    """

    uri: str
    name: str
    options: Mapping[str, str]
    cache_seconds: float
    limit_seconds: float


def parse(uri: str, scheme: str, known: Collection[str] = ()) -> StoreUri:
    """The parts of ``uri``; ``ConfigInvalid`` for an option not in ``known`` or an odd value.

    ``cache_seconds`` (0 to 86400) and ``limit_seconds`` (1 to 600) are always known.
    """
    head, _, rest = uri.partition(":")
    name, _, query = rest.partition("?")
    if head != scheme or not name or not is_plain(uri) or "#" in uri:
        raise ConfigInvalid(f"this is no {scheme} key URI", uri=scheme)
    found: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        option, equals, value = pair.partition("=")
        if option not in {*known, "cache_seconds", "limit_seconds"} or not equals:
            raise ConfigInvalid(f"a {scheme} key URI has no option of this name", uri=scheme)
        if option in found:
            raise ConfigInvalid(f"{option} stands twice in the key URI", uri=scheme)
        found[option] = unquote(value)
    return StoreUri(
        uri=uri,
        name=unquote(name),
        options={key: value for key, value in found.items() if key in known},
        cache_seconds=seconds(found, "cache_seconds", CACHE_SECONDS, 0, _MAX_CACHE_SECONDS),
        limit_seconds=seconds(found, "limit_seconds", LIMIT_SECONDS, 1, _MAX_LIMIT_SECONDS),
    )


def seconds(
    found: Mapping[str, str], name: str, default: float, least: float, most: float
) -> float:
    """The number of seconds that the option ``name`` holds, between ``least`` and ``most``."""
    text = found.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= most:
        raise ConfigInvalid(f"{name} is a whole number from {least:g} to {most:g}")
    return float(text[:9])


def is_plain(text: str) -> bool:
    """True when ``text`` is short, printable ASCII without blanks, as a URI is."""
    return len(text) <= MAX_URI_CHARACTERS and all("!" <= letter <= "~" for letter in text)


def check_endpoint(url: str) -> SplitResult:
    """The parts of ``url``: HTTPS, or plain HTTP to this computer; never with a password in it."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigInvalid("the address of a key store is no URL") from None
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        raise ConfigInvalid("the address of a key store names a host and no user")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigInvalid("a key store is reached by https; http only on this computer")
    return parts
