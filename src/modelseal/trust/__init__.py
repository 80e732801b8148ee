"""Pinned trust: ``trust.json``, its verification and its way forward. Pure.

``parse`` and ``update`` are what everybody calls; ``metadata`` verifies TUF documents,
``keylist`` reads the target ``keys``; ``writing`` (imports python-tuf) signs both.
"""

from modelseal.trust.keylist import DESK_USES, KeyList, TrustedKey, Use
from modelseal.trust.pinned import MAX_BYTES, TYP, Trust, check_history, compose, parse, update

__all__ = [
    "DESK_USES",
    "MAX_BYTES",
    "TYP",
    "KeyList",
    "Trust",
    "TrustedKey",
    "Use",
    "check_history",
    "compose",
    "parse",
    "update",
]
