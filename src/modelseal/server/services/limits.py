"""Request limits: token buckets in the memory of this process, by network prefix and license.

They damp floods and guessing; no rule of licensing rests on them, so a restart or a second process
may forget them (that is, they fail open).
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from modelseal.errors import RateLimited

MAX_BUCKETS = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """``burst`` at once, then ``per_second`` on average."""

    name: str
    burst: int
    per_second: float


NETWORK = Limit("network", 600, 60.0)
ACTIVATION = Limit("activation", 60, 1.0)
GUESSING = Limit("guessing", 30, 0.2)
RENEWAL = Limit("renewal", 60, 1.0)
RELEASE = Limit("release", 240, 4.0)


class Limiter:
    """The buckets of one process; at most ``MAX_BUCKETS``, the longest unused go first."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[tuple[str, str], tuple[float, datetime]] = OrderedDict()
        self._guard = threading.Lock()

    def take(self, limit: Limit, who: str, now: datetime) -> None:
        """One request more of ``who``; ``RateLimited`` (param ``retry_after_seconds``)."""
        with self._guard:
            left, since = self._buckets.pop((limit.name, who), (float(limit.burst), now))
            passed = max(0.0, (now - since).total_seconds())
            left = min(float(limit.burst), left + passed * limit.per_second)
            allowed = left >= 1.0
            self._buckets[(limit.name, who)] = (left - 1.0 if allowed else left, now)
            while len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        if not allowed:
            wait = max(1, int((1.0 - left) / limit.per_second) + 1)
            raise RateLimited(
                f"too many requests ({limit.name})", limit=limit.name, retry_after_seconds=wait
            )


def prefix(address: str | None) -> str:
    """The network of an address as limits count it: IPv4 /32, IPv6 /56."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    if mapped is not None:
        return str(mapped)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, 56), strict=False))
    return str(ip)
