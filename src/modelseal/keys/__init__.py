"""Key providers by URI, and the server's online keys that one of them wraps.

``open_provider("file:kek.key", base=folder)`` and ``create`` find the provider by its scheme;
``KeyProvider`` is the contract, ``tests/keys`` its suite.
"""

from modelseal.keys.dispatch import create, erase, open_provider, schemes
from modelseal.keys.online import OnlineKeys
from modelseal.keys.provider import Ask, KeyProvider
from modelseal.keys.ring import KeyRing

__all__ = [
    "Ask",
    "KeyProvider",
    "KeyRing",
    "OnlineKeys",
    "create",
    "erase",
    "open_provider",
    "schemes",
]
