"""Key provider for PKCS#11 tokens: HSMs, smart cards. Level L1, declared unless the token attests.

    pkcs11:token=shop;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pin

URIs as in RFC 7512, see ``uri``. ``create`` makes an AES-256 key in the token that never leaves it.
Signing keys in a token: ``signing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelseal.keys.layered import LayeredProvider
from modelseal.keys.pkcs11 import kek, uri
from modelseal.keys.pkcs11.signing import create_signer, open_signer
from modelseal.keys.pkcs11.token import logged_in

__all__ = ["create", "create_signer", "open_provider", "open_signer"]

if TYPE_CHECKING:
    from pathlib import Path

    from modelseal.keys.provider import Ask


def open_provider(uri_text: str, *, ask: Ask | None = None, base: Path | None = None
                  ) -> LayeredProvider:  # fmt: skip
    """The key in the token that the URI names.

    Raises ``InputMissing`` when there is none, ``PassphraseWrong`` for a refused PIN,
    ``KeyStoreUnavailable`` when the token is not there or the key may leave it.
    """
    parsed = uri.parse(uri_text)
    return _provider(uri_text, parsed, kek.TokenKek(logged_in(parsed, ask), parsed))


def create(uri_text: str, *, ask: Ask | None = None, base: Path | None = None) -> LayeredProvider:
    """A fresh key in the token; ``OutputExists`` when it holds one of that name."""
    parsed = uri.parse(uri_text)
    found = logged_in(parsed, ask)
    kek.create(found, parsed)
    return _provider(uri_text, parsed, kek.TokenKek(found, parsed))


def _provider(uri_text: str, parsed: uri.TokenUri, key: kek.TokenKek) -> LayeredProvider:
    return LayeredProvider(
        uri_text, key, cache_seconds=parsed.cache_seconds, store_seconds=parsed.limit_seconds
    )
