"""Files of the desk and the device: records, backups, wrapped keys, envelopes, plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fuzz.harness import refusable, vector
from modelseal.desk import archive, records
from modelseal.device import _wrapped
from modelseal.keys import envelope
from modelseal.license import plans

MAX_BYTES = 1 << 13
MISUSE = True  # a plan is written by hand
_READERS: list[Callable[[bytes], object]] = [
    archive.decode,
    lambda data: records._parse(data, "a record"),
    lambda data: envelope.open_(bytes(32), data, {"purpose": "p"}),
]


def seeds() -> Iterable[bytes]:
    """The vectors of keys and devices, a plan."""
    told = vector("keys/manifest.json")
    yield bytes.fromhex(told["model_record"]["hex"])
    yield bytes.fromhex(told["envelope"]["wrapped"])
    for each in vector("device/wrapped.json")["cases"]:
        yield bytes.fromhex(each["file"])
    yield plans.encode(plans.parse({"entitlements": [{"id": "face.swap"}], "seats": 2}))


def check(data: bytes) -> None:
    """Each reader refuses or accepts; plans and wrapped keys are written the same way."""
    for reader in _READERS:
        with refusable():
            reader(data)
    with refusable():
        assert _wrapped.dump(_wrapped.load(data)) == data
    plan = plans.parse(data)
    assert plans.parse(plans.encode(plan)) == plan
