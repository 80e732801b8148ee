"""The recovery passphrase and the kit on which it is printed.

``generate`` makes 140 random bits as seven groups of five Crockford base32 symbols, the last of
each a check symbol over its group and place, so that a typing error is located.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from modelseal.errors import PassphraseWrong
from modelseal.types import check_aware

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NAME = "recovery-kit.txt"
PREFIX = "MSR"
GROUPS = 7
SYMBOLS_PER_GROUP = 4
_ALIASES = str.maketrans({"O": "0", "I": "1", "L": "1"})


def generate(random: Callable[[int], bytes]) -> str:
    """A fresh recovery passphrase like ``MSR-7K2QF-…`` (140 random bits)."""
    symbols = [ALPHABET[byte & 31] for byte in random(GROUPS * SYMBOLS_PER_GROUP)]
    groups = [
        "".join(symbols[start : start + SYMBOLS_PER_GROUP])
        for start in range(0, len(symbols), SYMBOLS_PER_GROUP)
    ]
    checked = [group + _check_symbol(place, group) for place, group in enumerate(groups)]
    return "-".join([PREFIX, *checked])


def normalise(text: str) -> str:
    """The passphrase that ``text`` means: lower case, spaces and O, I, L are forgiven.

    Raises ``PassphraseWrong``, naming the first wrong ``group``, when it is mistyped.
    """
    plain = "".join(char for char in text.upper() if char.isalnum())
    body = plain.removeprefix(PREFIX).translate(_ALIASES)
    size = SYMBOLS_PER_GROUP + 1
    if len(body) != GROUPS * size:
        raise PassphraseWrong(f"a recovery passphrase has {GROUPS} groups of {size} symbols")
    groups = [body[start : start + size] for start in range(0, len(body), size)]
    for place, group in enumerate(groups):
        known = all(char in ALPHABET for char in group)
        if not known or _check_symbol(place, group[:-1]) != group[-1]:
            raise PassphraseWrong(f"group {place + 1} is mistyped", group=place + 1)
    return "-".join([PREFIX, *groups])


def read_passphrase(home: Path) -> str | None:
    """The passphrase in ``recovery-kit.txt``; None once the kit was removed."""
    try:
        lines = (home / NAME).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = [line.strip() for line in lines if line.strip().startswith(f"{PREFIX}-")]
    return normalise(found[0]) if found else None


def render(passphrase: str, *, product: str, server_id: str, created_at: datetime) -> str:
    """The text of ``recovery-kit.txt``: to be printed, put away and removed from the disk."""
    made = check_aware(created_at).strftime("%Y-%m-%d %H:%M UTC")
    return f"""\
modelseal recovery kit
======================

Product:  {product}
Server:   {server_id}
Made:     {made}

Recovery passphrase:

    {passphrase}

What it is for
  It opens the file that "modelseal keys backup FILE" writes. With both you get back every
  key of this product: the root, publisher and recovery keys, the data keys of all sealed
  models, the server's signing keys and its key-encryption key. Without them, a lost disk
  means that sealed models can never be opened or published again.

What to do now
  1. Print this page, or copy the passphrase by hand, twice. Keep the copies apart, away
     from this computer. Case does not matter; the letters I, L, O and U are not used.
  2. modelseal keys backup backup.msbackup --home DIR
     Keep that file somewhere else than this computer.
  3. modelseal keys recovery-test backup.msbackup --home DIR
     Type the passphrase from the paper. It proves that paper and file belong together.
  4. Delete this file. "modelseal doctor" reminds you until steps 3 and 4 are done.

When a disk is lost
  modelseal keys restore backup.msbackup --home NEWDIR

Whoever has this passphrase and a backup file has all keys. Treat both like a safe's key.
"""


def _check_symbol(place: int, group: str) -> str:
    digest = hashlib.sha256(f"modelseal recovery {place} {group}".encode()).digest()
    return ALPHABET[digest[0] & 31]
