"""A license key as a person types it."""

from __future__ import annotations

from collections.abc import Iterable

from fuzz.harness import vector
from modelseal.license import license_key

MAX_BYTES = 128
MISUSE = True  # what is mistyped is its user's mistake, and told so


def seeds() -> Iterable[bytes]:
    """The vectors."""
    told = vector("tokens/license_keys.json")
    for each in (*told["valid"], *told["typed"], *told["mistyped"]):
        yield (each.get("text") or each["typed"]).encode()


def check(data: bytes) -> None:
    """What is accepted is printed in the form that reads as the same key."""
    raw = license_key.parse(data.decode("utf-8", "replace"))
    assert license_key.parse(license_key.format_key(raw)) == raw
