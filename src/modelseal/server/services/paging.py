"""Keyset pages: the cursor names the last item, opaque to the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from modelseal.admin import Page
from modelseal.errors import Misuse
from modelseal.server.services.context import Context
from modelseal.strict_json import JsonInvalid, b64u, unb64u

T = TypeVar("T")
PAGE_ITEMS = 100


def encode(key: str) -> str:
    """The cursor after the item with ``key``."""
    return b64u(b"1:" + key.encode())


def decode(cursor: str | None) -> str:
    """The key in ``cursor``; empty for None; ``Misuse`` for a text we never gave out."""
    if cursor is None:
        return ""
    try:
        raw = unb64u(cursor) if len(cursor) <= 256 else b""
        text = raw.decode("utf-8")
    except (JsonInvalid, UnicodeDecodeError):
        text = ""
    if not text.startswith("1:"):
        raise Misuse("this cursor was not given out here")
    return text[2:]


def page_of(
    context: Context,
    cursor: str | None,
    query: Callable[..., list[T]],
    key: Callable[[T], str],
    *args: Any,
    **kwargs: Any,
) -> Page[T]:
    """One page of ``query(tx, after, limit, ...)``."""
    after = decode(cursor)
    rows = context.store.read(query, after, PAGE_ITEMS + 1, *args, **kwargs)
    more = len(rows) > PAGE_ITEMS
    items = rows[:PAGE_ITEMS]
    return Page(items=items, next_cursor=encode(key(items[-1])) if more else None)
