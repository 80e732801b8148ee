"""What the server says about itself: discovery, public keys, numbers."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from modelseal import __version__
from modelseal.server.services.context import Context
from modelseal.server.services.log import Log
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import schema
from modelseal.trust import Use

PROTOCOL = 1
_SHOWN = (Use.LICENSE, Use.LEASE, Use.STATUS, Use.CHECKPOINT, Use.SEALING)


class Discovery(Struct, frozen=True, kw_only=True):
    """``/.well-known/modelseal``. Names and versions; nothing here is trusted."""

    server_id: str
    product: str
    version: str
    protocol: int
    time: datetime
    root_version: int
    keys_version: int
    public_url: str | None


class About:
    """Discovery and numbers. Counts of calls are of this process since its start."""

    def __init__(self, context: Context, log: Log) -> None:
        self._context = context
        self._log = log
        self._calls: Counter[tuple[str, int]] = Counter()
        self._guard = threading.Lock()

    def discovery(self) -> Discovery:
        """Who this is."""
        context, trust = self._context, self._context.trust
        return Discovery(
            server_id=context.server_id,
            product=context.product,
            version=__version__,
            protocol=PROTOCOL,
            time=context.now().replace(microsecond=0),
            root_version=trust.root_version,
            keys_version=trust.keys_version,
            public_url=context.config.public_url,
        )

    def jwks(self) -> dict[str, Any]:
        """The listed keys as a JWK set (RFC 7517)."""
        now, keys = self._context.now(), []
        for use in _SHOWN:
            for key in self._context.trust.keys(use):
                if key.valid_at(now):
                    kind = "enc" if use is Use.SEALING else "sig"
                    keys.append({**key.jwk, "kid": key.kid, "alg": key.alg, "use": kind})
        return {"keys": keys}

    def count(self, route: str, status: int) -> None:
        """One more call was answered."""
        with self._guard:
            self._calls[(route, status)] += 1

    def metrics(self) -> str:
        """Prometheus text, version 0.0.4."""

        def look(tx: Connection) -> tuple[dict[str, int], dict[str, int]]:
            return license_store.count_by_state(tx), device_store.count_by_state(tx)

        licenses, devices = self._context.store.read(look)
        now = self._context.now()
        lines = [
            *_gauge("modelseal_up", "1 while the server answers", [("", 1)]),
            *_gauge(
                "modelseal_info", "Version and schema",
                [(f'version="{__version__}",schema="{schema.HEAD}"', 1)],
            ),
            *_gauge(
                "modelseal_licenses", "Licenses by state",
                [(f'state="{state}"', n) for state, n in sorted(licenses.items())],
            ),
            *_gauge(
                "modelseal_devices", "Devices by state",
                [(f'state="{state}"', n) for state, n in sorted(devices.items())],
            ),
            *_gauge(
                "modelseal_events_waiting", "Audit events without a place in the log",
                [("", self._log.waiting())],
            ),
            *_gauge("modelseal_key_age_seconds", "Age of the newest key", self._ages(now)),
        ]  # fmt: skip
        with self._guard:
            calls = sorted(self._calls.items())
        lines += [
            "# HELP modelseal_requests_total Answers",
            "# TYPE modelseal_requests_total counter",
        ]
        for (route, status), number in calls:
            lines.append(f'modelseal_requests_total{{route="{route}",status="{status}"}} {number}')
        return "\n".join(lines) + "\n"

    def _ages(self, now: datetime) -> list[tuple[str, int]]:
        ages = []
        for use in _SHOWN:
            starts = [k.not_before for k in self._context.trust.keys(use) if k.valid_at(now)]
            if starts:
                age = int((now - max(starts)).total_seconds())
                ages.append((f'use="{use.value}"', age))
        return ages


def _gauge(name: str, help_text: str, values: list[tuple[str, int]]) -> list[str]:
    lines = [f"# HELP {name} {help_text}", f"# TYPE {name} gauge"]
    for labels, value in values:
        lines.append(f"{name}{{{labels}}} {value}" if labels else f"{name} {value}")
    return lines
