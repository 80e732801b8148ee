"""Column types that mean the same on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from sqlalchemy import BigInteger, Integer, LargeBinary, SmallInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from modelseal.errors import InternalError
from modelseal.server.store import packing
from modelseal.types import check_aware

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_HALF = 1 << 31


class _Direct(TypeDecorator[T]):
    """A conversion with no layer between it and the driver: every value of every row takes it."""

    def stored(self, value: T | None) -> Any:
        """What stands in the column for ``value``; None for None."""
        raise NotImplementedError

    def read(self, value: Any) -> T | None:
        """What ``stored`` was given."""
        raise NotImplementedError

    def bind_processor(self, dialect: Dialect) -> Callable[[T | None], Any]:
        return self.stored

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], T | None]:
        return self.read


class Instant(_Direct[datetime]):
    """An aware UTC instant, stored as whole microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def stored(self, value: datetime | None) -> int | None:
        return None if value is None else (check_aware(value) - _EPOCH) // _MICROSECOND

    def read(self, value: int | None) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Second(_Direct[datetime]):
    """An aware UTC instant, rounded down to a second, from 1970 to 2106: four bytes."""

    impl = Integer
    cache_ok = True

    def stored(self, value: datetime | None) -> int | None:
        return None if value is None else (check_aware(value) - _EPOCH) // _SECOND - _HALF

    def read(self, value: int | None) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(seconds=value + _HALF)


class Id(_Direct[str]):
    """An id as its bytes (``packing.pack_id``); ``prefix`` is the kind that takes fewest."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def stored(self, value: str | None) -> bytes | None:
        return None if value is None else packing.pack_id(value, self.prefix)

    def read(self, value: bytes | None) -> str | None:
        return None if value is None else packing.unpack_id(value, self.prefix)


class Word(_Direct[str]):
    """One of a few words, stored as its place among them."""

    impl = SmallInteger
    cache_ok = True

    def __init__(self, *words: str) -> None:
        super().__init__()
        self.words = words

    def stored(self, value: str | None) -> int | None:
        if value is None:
            return None
        if value not in self.words:
            raise InternalError("a word that the column does not know", word=value[:64])
        return self.words.index(value)

    def read(self, value: int | None) -> str | None:
        return None if value is None else self.words[value]


class KeyJwk(_Direct[dict[str, str]]):
    """A packed public key, read as its JWK."""

    impl = LargeBinary
    cache_ok = True

    def read(self, value: bytes | None) -> dict[str, str] | None:
        return None if value is None else packing.unpack_jwk(value)


class KeyThumbprint(_Direct[str]):
    """A packed public key, read as its thumbprint."""

    impl = LargeBinary
    cache_ok = True

    def read(self, value: bytes | None) -> str | None:
        return None if value is None else packing.unpack_jkt(value)


class Json(_Direct[Any]):
    """A plain JSON value, stored as text."""

    impl = Text
    cache_ok = True

    def stored(self, value: Any) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def read(self, value: str | None) -> Any:
        return None if value is None else msgspec.json.decode(value)
