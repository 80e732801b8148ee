"""What the client needs from the outside world, in one place, so that tests hand in their own.

Nothing else in ``client`` asks for the time, for randomness or for the computer's traits.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modelseal.client.folder import Folder

if TYPE_CHECKING:
    from modelseal.attest.collect import Collector
    from modelseal.client.tpm import DeviceTpm
    from modelseal.client.transport import Transport, TransportSettings
    from modelseal.collect import Surroundings
    from modelseal.device import Traits


def _now() -> datetime:
    return datetime.now(UTC)


def _read_traits() -> Traits:
    from modelseal import collect

    return collect.read()


def _read_surroundings() -> Surroundings:
    from modelseal import collect

    return collect.surroundings()


def _open_tpm(address: str) -> DeviceTpm:
    from modelseal.client.tpm import DeviceTpm

    return DeviceTpm(address)


def _collectors() -> Mapping[str, Callable[[], Collector]]:
    from modelseal.attest import collect

    return collect.collectors()


def _open_transport(settings: TransportSettings) -> Transport:
    from modelseal.client.transport import HttpTransport

    return HttpTransport(settings)


@dataclass(frozen=True)
class Ports:
    """The client's surroundings; the defaults are the real ones.

    ``now`` is aware UTC, ``monotonic`` seconds that never go back (since boot where the system
    tells), ``random(n)`` n secret bytes, ``traits`` reads the computer, ``surroundings`` tells
    whether it is virtual or a container, ``tpm`` names the TPM at an address, ``collectors`` are
    what can make it prove what it is, by name, ``folder`` opens a
    state folder, ``wait(event, seconds)`` sleeps until the event is set or the time is over.
    """

    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[int], bytes] = os.urandom
    traits: Callable[[], Traits] = _read_traits
    surroundings: Callable[[], Surroundings] = _read_surroundings
    transport: Callable[[TransportSettings], Transport] = _open_transport
    tpm: Callable[[str], DeviceTpm] = _open_tpm
    collectors: Callable[[], Mapping[str, Callable[[], Collector]]] = _collectors
    folder: Callable[[Path], Folder] = Folder
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    sleep: Callable[[float], None] = time.sleep
    wait: Callable[[threading.Event, float], bool] = field(
        default=lambda event, seconds: event.wait(seconds)
    )
