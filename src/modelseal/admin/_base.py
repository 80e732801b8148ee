"""The two kinds of struct: what is asked is closed, what is answered may grow."""

from __future__ import annotations

from typing import Annotated, TypeVar

from msgspec import Meta, Struct, ValidationError, convert, to_builtins

from modelseal.errors import Misuse

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Label = Annotated[str, Meta(max_length=64)]
Reason = Annotated[str, Meta(max_length=512)]
Customer = Annotated[str, Meta(min_length=1, max_length=254)]
Seconds = Annotated[int, Meta(ge=1, le=100 * 366 * 86400)]
Seats = Annotated[int, Meta(ge=1, le=1_000_000)]
Digest = Annotated[str, Meta(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")]
Metadata = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=64)],
        Annotated[str, Meta(max_length=512)],
    ],
    Meta(max_length=32),
]


class Asked(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What a caller sends: an unknown member is refused."""


A = TypeVar("A", bound=Asked)


def checked(asked: A) -> A:
    """``asked`` itself, every member within its limits; ``Misuse`` names the one that is not.

    A struct that came over the wire was checked while it was read; one made in process was not.
    """
    try:
        return convert(to_builtins(asked), type(asked))
    except (ValidationError, OverflowError) as error:
        what, _, where = str(error).partition(" - at `$.")
        raise Misuse(f"{where.rstrip('`') or 'a member'}: {what}") from None


def check_count(value: int, what: str) -> None:
    """Returns for 0 to 2^53 - 1, what a token and a database can hold; ``Misuse`` otherwise."""
    if not 0 <= value < 2**53:
        raise Misuse(f"{what} is a count")


class Answered(Struct, frozen=True, kw_only=True):
    """What the server says: a later release may add members."""
