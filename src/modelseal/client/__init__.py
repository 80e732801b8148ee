"""The device's side: activation, leases, renewal, downloads, journal. ``Client`` is the way in."""

from modelseal import structs
from modelseal.client.activation import EulaTerms, Holder, LicenseInfo
from modelseal.client.api import Client
from modelseal.client.events import Event, EventName
from modelseal.client.ports import Ports
from modelseal.client.proving import Proved
from modelseal.client.pulled import Pulled, PulledModel
from modelseal.client.renewal import Returned
from modelseal.client.standing import Standing
from modelseal.client.status import Status

structs.prepare()

__all__ = [
    "Client",
    "EulaTerms",
    "Event",
    "EventName",
    "Holder",
    "LicenseInfo",
    "Ports",
    "Proved",
    "Pulled",
    "PulledModel",
    "Returned",
    "Standing",
    "Status",
]
