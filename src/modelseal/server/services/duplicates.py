"""A signed request that arrives twice: it was signed once, so the second time proves nothing.

Every answered sending is remembered by two hashes. A question is who asks and under which nonce;
a sending of it has a ``jti`` of its own, so that a copy that asks a pending question is no
duplicate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from sqlalchemy import Connection

from modelseal.errors import RequestReplayed
from modelseal.license.claims import RequestClaims
from modelseal.server.store import requests as store
from modelseal.server.store.rows import DeviceRow
from modelseal.server.store.together import Group

_BYTES = 16
_MAX_SENDINGS = 64
_NEW = "new questions"


def refuse(
    tx: Connection, claims: RequestClaims, device: DeviceRow | None, group: Group | None = None
) -> None:
    """Returns unless this sending was answered before; ``RequestReplayed`` then.

    From a place that a lease has left behind a sending that was overtaken counts too: its question
    was answered, and it was signed before a sending that was. Ask only where a request is not the
    one the newest lease answered. ``group`` may remember what is not written yet.
    """
    if group is not None and group.known(_waiting(claims)):
        group.write()
    elif group is not None and _question(claims) in (group.known(_NEW) or ()):
        group.known(_NEW).remove(_question(claims))
        return
    known = store.answered(tx, _question(claims), _request(claims))
    left = device is not None and claims.seq < (device.lease_seq or 0)
    overtaken = left and claims.iat < (known.newest_signed_at or 0)
    if known.this or overtaken:
        device_id = None if device is None else device.device_id
        raise RequestReplayed("answered before", device=device_id)


def remember(tx: Connection, claims: RequestClaims, group: Group | None = None) -> None:
    """This sending is answered in this transaction, at the latest before it ends."""
    if group is None:
        remember_all(tx, [claims])
    else:
        group.once(_waiting(claims), lambda: True)
        group.later(remember_all, [claims])


def know(group: Group, new: Iterable[bytes]) -> None:
    """The group knows that no sending of the questions ``new`` was answered; each is told once."""
    group.once(_NEW, lambda: set(new))


def _waiting(claims: RequestClaims) -> tuple[str, str, str]:
    return ("answered", claims.iss, claims.nonce)


def remember_all(tx: Connection, asked: Iterable[RequestClaims]) -> None:
    """The same for several."""
    store.add(tx, [(_question(claims), _request(claims), claims.iat) for claims in asked])


def remember_repetition(tx: Connection, claims: RequestClaims) -> None:
    """The same, for one more sending of a question. No event bounds these, so a number does."""
    if store.answered(tx, _question(claims), _request(claims)).sendings < _MAX_SENDINGS:
        remember(tx, claims)


def marks(claims: RequestClaims) -> tuple[bytes, bytes]:
    """What a question and this sending of it are remembered by."""
    return _question(claims), _request(claims)


def _question(claims: RequestClaims) -> bytes:
    return _short(f"{claims.iss}|{claims.nonce}")


def _request(claims: RequestClaims) -> bytes:
    return _short(f"{claims.jti}|{claims.op}|{claims.iat}")


def _short(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:_BYTES]
