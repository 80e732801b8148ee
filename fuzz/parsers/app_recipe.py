"""App recipes: a file that lies beside the program."""

from __future__ import annotations

from collections.abc import Iterable

from modelseal.runtime import recipes
from modelseal.runtime.recipes import force

MISUSE = True


def seeds() -> Iterable[bytes]:
    """The recipes that come with modelseal."""
    for recipe in force.shipped().values():
        yield recipes.encode(recipe)[:4096]


def check(data: bytes) -> None:
    """What is accepted says the same when it is written again."""
    found = recipes.decode(data)
    assert recipes.decode(recipes.encode(found)) == found
