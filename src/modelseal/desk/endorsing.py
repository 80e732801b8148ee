"""Endorsement bundles: made and signed in the desk, kept by a site in a folder of its own.

    desk/endorsements.json          {"number"}           the last bundle that was made
    FOLDER/bundle.mse               the bundle in force
    FOLDER/seen.json                {"number", "digest"} the newest one so far

The folder of a workspace's own server is ``server/endorsements``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from modelseal.attest.verify import bundle as bundles
from modelseal.attest.verify.bundle import Bundle, Item, Seen
from modelseal.attest.verify.registry import builtin
from modelseal.desk import lock
from modelseal.desk.workspace import Workspace
from modelseal.errors import Misuse, StateDamaged, StateNotReadable, TokenKeyUnknown
from modelseal.keys import files
from modelseal.trust import Trust, Use
from modelseal.types import check_aware, from_numeric, to_numeric

BUNDLE = "bundle.mse"
SEEN = "seen.json"
_NUMBER = "endorsements.json"
_MAX_STATE_BYTES = 4096
T = TypeVar("T")


class _Number(msgspec.Struct, frozen=True):
    number: int


class _Seen(msgspec.Struct, frozen=True):
    number: int
    digest: str


def create(
    workspace: Workspace, items: Sequence[tuple[str, bytes]], *, days: int, now: datetime
) -> tuple[Bundle, bytes]:
    """A bundle of ``items`` (name and bytes) valid for ``days``, and its signed bytes.

    Its number is one more than that of the last bundle made here. Raises ``Misuse``, also where
    no key for endorsements is listed yet.
    """
    at = from_numeric(to_numeric(check_aware(now)))
    if not 1 <= days <= bundles.MAX_LIFE.days:
        raise Misuse(f"a bundle is valid for 1 to {bundles.MAX_LIFE.days} days")
    try:
        signers = workspace.desk_signers(Use.ENDORSEMENT, at)
    except TokenKeyUnknown:
        raise Misuse(
            "no key for endorsements is listed: modelseal keys rotate signing --key endorsement"
        ) from None
    with lock.exclusive(workspace.desk / "tuf"):
        path = workspace.desk / _NUMBER
        last = _state(path, _Number)
        made = Bundle(
            product=workspace.product,
            number=1 if last is None else last.number + 1,
            issued_at=at,
            expires_at=at + timedelta(days=days),
            items=tuple(Item(name, data) for name, data in items),
            roots=pinned(),
        )
        data = bundles.write(made, signers)
        files.replace(path, msgspec.json.encode(_Number(made.number)))
    return made, data


def check(data: bytes, trust: Trust, now: datetime, last_seen: Seen | None = None) -> Bundle:
    """The bundle in ``data``, as ``trust`` vouches for it; the errors of ``bundle.read``."""
    keys = partial(trust.verify_keys, Use.ENDORSEMENT)
    return bundles.read(data, keys, now, product=trust.product, last_seen=last_seen)


def take_in(folder: Path, data: bytes, trust: Trust, now: datetime) -> Bundle:
    """Afterwards ``data`` is the bundle in force in ``folder``, and no older one ever will be.

    The number is remembered before the bundle is put in place: a crash between leaves the old
    bundle in force, and the new one can be taken in again.
    """
    taken = check(data, trust, now, seen(folder))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise files.translated(error, folder) from None
    remembered = _Seen(taken.number, taken.digest)
    files.replace(folder / SEEN, msgspec.json.encode(remembered))
    files.replace(folder / BUNDLE, data)
    return taken


def shown(bundle: Bundle) -> dict[str, Any]:
    """What a bundle says, as values to show; its files by name, length and digest."""
    return {
        "product": bundle.product,
        "number": bundle.number,
        "issued_at": bundle.issued_at,
        "expires_at": bundle.expires_at,
        "digest": bundle.digest,
        "items": [
            {
                "name": item.name,
                "size_bytes": len(item.data),
                "sha256": hashlib.sha256(item.data).hexdigest(),
            }
            for item in bundle.items
        ],
        "other_roots": sorted(k for k, found in bundle.roots.items() if found != pinned().get(k)),
    }


def seen(folder: Path) -> Seen | None:
    """The newest bundle that ``folder`` has seen; None when it has seen none."""
    found = _state(folder / SEEN, _Seen)
    return None if found is None else Seen(found.number, found.digest)


def pinned() -> dict[str, tuple[str, ...]]:
    """SHA-256 of the roots that this release pins, by evidence kind."""
    return {
        kind.name: tuple(hashlib.sha256(root).hexdigest() for root in kind.roots)
        for kind in builtin().values()
        if kind.roots
    }


def _state(path: Path, cls: type[T]) -> T | None:
    try:
        data = path.read_bytes()[: _MAX_STATE_BYTES + 1]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateNotReadable(error.strerror or "", path=str(path)) from None
    try:
        return msgspec.json.decode(data, type=cls)
    except msgspec.DecodeError:
        raise StateDamaged("not what was written there", path=str(path)) from None
