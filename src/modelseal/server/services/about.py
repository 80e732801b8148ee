"""What the server says about itself: discovery, public keys, numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, cast

from msgspec import Struct
from sqlalchemy import Connection

from modelseal import __version__
from modelseal.errors import Unavailable
from modelseal.server.services import addresses, counts
from modelseal.server.services.context import Context
from modelseal.server.services.counts import Counts, Numbers
from modelseal.server.services.log import Log
from modelseal.server.store import devices as device_store
from modelseal.server.store import licenses as license_store
from modelseal.server.store import schema
from modelseal.server.store import webhooks as webhook_store
from modelseal.trust import Use

PROTOCOL = 1
OLD_KEY_SECONDS = 90 * 86400
SHORT_CERTIFICATE = timedelta(days=30)
T = TypeVar("T")
_SHOWN = (
    *(Use.LICENSE, Use.LEASE, Use.STATUS, Use.CHECKPOINT),
    *(Use.ATTESTATION, Use.SEALING),
)


class Ending(Protocol):
    """Something that ends: the certificate, where this process ends TLS itself."""

    @property
    def ends_at(self) -> datetime | None:
        """When; None where it cannot be told."""
        ...


class Fellows(Protocol):
    """The processes that serve one address together, as one of them sees it."""

    @property
    def number(self) -> int:
        """Which of them this one is, from 0."""
        ...

    def beat(self) -> None:
        """This process is alive."""
        ...

    def before(self) -> Numbers | None:
        """What those that were killed in this one's place had counted."""
        ...

    def tell(self, numbers: Numbers) -> None:
        """The others may read these numbers of this process."""
        ...

    def told(self) -> list[Numbers]:
        """What each of them told, at most a second ago."""
        ...

    def up(self) -> tuple[int, int]:
        """How many serve now, of how many."""
        ...

    def complete(self) -> bool:
        """True once all of them have served."""
        ...


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
    """Discovery and numbers. Counts of calls are of the processes at this address since its start.

    ``serve_with`` makes them more than this one.
    """

    def __init__(self, context: Context, log: Log) -> None:
        self._context = context
        self._log = log
        self._counts = Counts()
        self._telling = threading.Lock()
        self._fellows: Fellows | None = None
        self._counting = threading.Lock()
        self._kept: tuple[float, Any] | None = None
        self.certificate: Ending | None = None
        self._watching = addresses.networks(context.config.metrics_networks, "metrics_networks")

    def may_watch(self, address: str | None) -> bool:
        """True for who is near enough to read ``metrics``."""
        return addresses.may_watch(address, self._watching)

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

    def count(self, route: str, status: int, seconds: float = 0.0) -> None:
        """One more call was answered, after ``seconds``."""
        self._counts.count(route, status, seconds)

    def serve_with(self, fellows: Fellows) -> None:
        """This process is one of several; to be said before it answers anything."""
        self._fellows, self._counts = fellows, Counts(fellows.before())

    def tell(self) -> None:
        """Another process that is asked for numbers knows those of this one."""
        with self._telling:
            if self._fellows is not None:
                self._fellows.tell(self._counts.numbers())

    def beat(self) -> None:
        """Whoever started this process sees that it is alive."""
        if self._fellows is not None:
            self._fellows.beat()

    @property
    def is_first(self) -> bool:
        """True in the process that says what has to be said once for all of them."""
        return self._fellows is None or self._fellows.number == 0

    def check_complete(self) -> None:
        """Returns once all processes have served; raises ``Unavailable`` before."""
        if self._fellows is not None and not self._fellows.complete():
            raise Unavailable("not all worker processes have started yet")

    def reminders(self) -> list[str]:
        """What an operator has to do about keys and certificate before long, in sentences."""
        now = self._context.now()
        found = [
            f"the {use} key is {seconds // 86400} days old: run `modelseal keys rotate signing`"
            for use, seconds in self._ages(now)
            if seconds > OLD_KEY_SECONDS
        ]
        ends_at = None if self.certificate is None else self.certificate.ends_at
        if ends_at is not None and (left := ends_at - now) < SHORT_CERTIFICATE:
            found.append(
                f"the certificate ends in {max(left.days, 0)} days: `modelseal keys rotate tls`"
            )
        return found

    def metrics(self) -> str:
        """Prometheus text, version 0.0.4."""

        def look(tx: Connection) -> tuple[dict[str, int], ...]:
            return (
                license_store.count_by_state(tx),
                device_store.count_by_state(tx),
                webhook_store.counts(tx),
            )

        licenses, devices, messages = self._counted(look)
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
            *_gauge(
                "modelseal_webhook_messages", "Messages to webhooks by state",
                [(f'state="{state}"', n) for state, n in sorted(messages.items())],
            ),
            *_gauge(
                "modelseal_key_age_seconds", "Age of the newest key",
                [(f'use="{use}"', age) for use, age in self._ages(now)],
            ),
            *self._certificate_lines(now),
        ]  # fmt: skip
        if self._fellows is not None:
            up, wanted = self._fellows.up()
            lines += _gauge(
                "modelseal_workers", "Processes at this address",
                [('state="up"', up), ('state="wanted"', wanted)],
            )  # fmt: skip
        lines += counts.lines(counts.total(self._told()))
        return "\n".join(lines) + "\n"

    def _told(self) -> list[Numbers]:
        """Of each process what all of them read, so that no sum is below one told before."""
        if self._fellows is None:
            return [self._counts.numbers()]
        self.tell()
        return self._fellows.told()

    def _counted(self, look: Callable[[Connection], T]) -> T:
        """What ``look`` counts; kept for a hundred times as long as counting took."""
        with self._counting:
            kept = self._kept
            if kept is None or time.monotonic() >= kept[0]:
                began = time.monotonic()
                found = self._context.store.read(look)
                over = time.monotonic()
                self._kept = kept = (over + 100 * (over - began), found)
            return cast("T", kept[1])

    def _certificate_lines(self, now: datetime) -> list[str]:
        ends_at = None if self.certificate is None else self.certificate.ends_at
        if ends_at is None:
            return []
        left = int((ends_at - now).total_seconds())
        return _gauge(
            "modelseal_certificate_seconds_left", "Until the TLS certificate ends", [("", left)]
        )

    def _ages(self, now: datetime) -> list[tuple[str, int]]:
        ages = []
        for use in _SHOWN:
            starts = [k.not_before for k in self._context.trust.keys(use) if k.valid_at(now)]
            if starts:
                age = int((now - max(starts)).total_seconds())
                ages.append((use.value, age))
        return ages


def _gauge(name: str, help_text: str, values: list[tuple[str, int]]) -> list[str]:
    lines = [f"# HELP {name} {help_text}", f"# TYPE {name} gauge"]
    for labels, value in values:
        lines.append(f"{name}{{{labels}}} {value}" if labels else f"{name} {value}")
    return lines
