"""The two kinds of struct: what is asked is closed, what is answered may grow."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

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


class Answered(Struct, frozen=True, kw_only=True):
    """What the server says: a later release may add members."""
