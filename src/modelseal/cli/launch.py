"""``modelseal run`` without Typer: every start of a protected program waits for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

_NAMES = {"--state": "state", "--app": "app", "--report": "report"}


def of(arguments: Sequence[str]) -> partial[int] | None:
    """What ``modelseal run`` with plain options does; None for all else, help and misuse too.

    ``daily.run`` declares the same options, and says what they are for.
    """
    if not arguments or arguments[0] != "run":
        return None
    given: dict[str, Any] = {"state": os.environ.get("MODELSEAL_STATE") or None}
    rest = list(arguments[1:])
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        name, has_value, value = word.partition("=")
        if word == "--isolated":
            given["isolated"] = True
        elif name in _NAMES and has_value and value:
            given[_NAMES[name]] = value
        elif word in _NAMES and rest and not rest[0].startswith("-") and rest[0]:
            given[_NAMES[word]] = rest.pop(0)
        else:
            return None
    if not rest:
        return None
    from modelseal.runtime import run as runner

    return partial(runner.run, rest, **given)
