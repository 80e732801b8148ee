"""Request limits: token buckets in the memory of this process, by network prefix, license and key.

They damp floods and guessing; no rule of licensing rests on them, so a restart or a second process
may forget them (that is, they fail open).
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from modelseal.errors import RateLimited

MAX_BUCKETS = 100_000
_LONGEST_WAIT_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Limit:
    """``burst`` at once, then ``per_second`` on average."""

    name: str
    burst: int
    per_second: float


NETWORK = Limit("network", 600, 60.0)
ACTIVATION = Limit("activation", 300, 5.0)
KEY = Limit("key", 60, 1.0)
LICENSE = Limit("license", 3000, 300.0)
GUESSING = Limit("guessing", 30, 0.2)
RENEWAL = Limit("renewal", 60, 1.0)
RELEASE = Limit("release", 240, 4.0)
PUBLIC = Limit("public", 2400, 240.0)


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


class Pace:
    """So many heartbeats a second are the mean; at most twice as many are let in.

    After an outage everybody asks at once. Whoever comes above the pace is told a moment of its
    own (``Retry-After``), one after another at the mean: those who come back and those whose time
    it is anyway are twice the mean together. The lease that is running covers the wait.
    """

    _BURST_SECONDS = 0.25

    def __init__(self, mean_per_second: float | None) -> None:
        self._mean = mean_per_second
        self._guard = threading.Lock()
        self._free_at = 0.0
        self._told = 0.0

    def take(self, now: datetime) -> None:
        """One heartbeat more; ``RateLimited`` with the moment when this one is let in."""
        if self._mean is None:
            return
        at = now.timestamp()
        with self._guard:
            if at < self._free_at - 2 * _LONGEST_WAIT_SECONDS:  # the clock was set back
                self._free_at = self._told = at
            free_at = max(self._free_at, at - self._BURST_SECONDS)
            if free_at <= at:
                self._free_at = free_at + 1 / (2 * self._mean)
                return
            self._told = min(max(self._told, at), at + _LONGEST_WAIT_SECONDS) + 1 / self._mean
            wait = max(1, round(self._told - at))
        raise RateLimited("many devices come back at once", limit="pace", retry_after_seconds=wait)


_MAPPED = bytes(10) + b"\xff\xff"


def prefix(address: str | None) -> str:
    """The network of an address as limits count it: IPv4 /32, IPv6 /56."""
    given = address or ""
    try:  # the system reads what is plain in a fortieth of the time that ``ipaddress`` takes
        if ":" not in given:
            socket.inet_pton(socket.AF_INET, given)
            return given
        packed = socket.inet_pton(socket.AF_INET6, given)
        if packed.startswith(_MAPPED):
            return socket.inet_ntop(socket.AF_INET, packed[12:])
        return socket.inet_ntop(socket.AF_INET6, packed[:7] + bytes(9)) + "/56"
    except (OSError, ValueError):
        return _slowly(given)


def _slowly(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    if mapped is not None:
        return str(mapped)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, 56), strict=False))
    return str(ip)
