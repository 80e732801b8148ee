"""A device gets another signing key: the old one hands over, the new one asks.

No seat is spent and nothing else changes: same device, same chain, one lease further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from modelseal.audit import EventKind
from modelseal.errors import Conflict, TokenClaims
from modelseal.license import handover
from modelseal.license.claims import RequestClaims
from modelseal.license.facts import Chain
from modelseal.server.services import recorder
from modelseal.server.services.context import Context
from modelseal.server.store import devices as device_store
from modelseal.server.store.rows import DeviceRow


@dataclass(frozen=True, slots=True)
class Asking:
    """The device as the key that signed the request knows it, and the key it followed if any."""

    device: DeviceRow
    followed: str | None = None

    def values(self) -> dict[str, object]:
        """What is written over the row when a lease is given."""
        if self.followed is None:
            return {}
        return {"jkt": self.device.jkt, "jwk": self.device.jwk}

    def check(self, chain: Chain) -> None:
        """A key is handed over by a question of its own, from the device's place in the chain."""
        if self.followed is not None and chain is Chain.REPEAT:
            raise TokenClaims("this question was answered to the device's old key")


def asking(context: Context, tx: Connection, claims: RequestClaims, device: DeviceRow) -> Asking:
    """Who asks: the enrolled key, or one to which it hands over in this request.

    Raises ``TokenClaims`` and other token errors for anybody else, ``Conflict`` when the new key
    is another device's.
    """
    if claims.iss == device.jkt:
        return Asking(device)
    handover.read(claims, server_id=context.server_id, old=device.jwk)
    if device_store.by_key(tx, device.license_id, claims.iss) is not None:
        raise Conflict("the new key is another device's")
    return Asking(replace(device, jkt=claims.iss, jwk=dict(claims.jwk)), device.jkt)


def record(
    context: Context, tx: Connection, asked: Asking, claims: RequestClaims, now: datetime
) -> None:
    """The change stands in the log, where there was one."""
    if asked.followed is None:
        return
    device = asked.device
    recorder.record(
        tx, recorder.fresh(context, now), EventKind.DEVICE_REKEYED, at=now,
        actor=f"device:{device.device_id}",
        subjects={"license": device.license_id, "device": device.device_id, "key": claims.iss},
        params={"followed": asked.followed},
    )  # fmt: skip
